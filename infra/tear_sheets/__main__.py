"""`python -m infra.tear_sheets [NAME …] [--minutes FILE]`: make the tear sheets anew."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from infra.tear_sheets.cases import ROOT, STRATEGIES, WITHOUT, Case, built_in, case_of
from infra.tear_sheets.page import page, row, with_rows
from infra.tear_sheets.picture import picture
from libs.common.backtest.result import BacktestResult
from libs.common.backtest.run import choices_of, read_history, reader_of, run_backtest
from libs.common.backtest.spec import BacktestSpec
from libs.common.strategy.registry import Registry, load_directories

PAGES: Final = ROOT / "docs" / "strategies"
SHEETS: Final = PAGES / "tear-sheets"
INDEX: Final = PAGES / "README.md"
HELD: Final = "equal_weight"


def main() -> None:
    """Make the named tear sheets, or all of them."""
    parser = argparse.ArgumentParser(prog="tear_sheets")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--minutes", type=Path, help="Parquet or CSV file of one-minute bars")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(built_in()))
    if unknown:
        sys.exit(f"no built-in strategy is called {', '.join(unknown)}")
    registry = load_directories([STRATEGIES])
    for refused in registry.refused:
        sys.exit(str(refused))
    SHEETS.mkdir(exist_ok=True)
    rows: dict[str, str] = {}
    for name in given.names or built_in():
        if name in WITHOUT:
            print(f"{name}: none: {WITHOUT[name]}")
            continue
        case = case_of(name)
        if case.minutes and given.minutes is None:
            print(f"{name}: left as it is; it wants one-minute bars, name them with --minutes")
            continue
        rows[name] = make(name, case, registry, given.minutes if case.minutes else None)
    index = INDEX.read_text(encoding="utf-8")
    INDEX.write_text(with_rows(index, rows), encoding="utf-8")


def make(name: str, case: Case, registry: Registry, bars: Path | None) -> str:
    """Write one tear sheet and its picture; return its line in the index."""
    own = run(case.spec(name, bars), registry)
    other = run(
        Case(case.symbols, case.start, case.end, minutes=case.minutes).spec(HELD, bars), registry
    )
    curves = (own.outcome.ts, own.outcome.equity, other.outcome.ts, other.outcome.equity)
    (SHEETS / f"{name}.svg").write_text(picture(*curves, "equal weights"), encoding="utf-8")
    (SHEETS / f"{name}.md").write_text(page(name, case, own, other), encoding="utf-8")
    print(f"{name}: Sharpe {own.metrics.sharpe:.2f}, {len(own.outcome.trades):,} trades")
    return row(name, case, own)


def run(spec: BacktestSpec, registry: Registry) -> BacktestResult:
    """Return the result of one run."""
    chosen = choices_of(spec, registry)
    return run_backtest(spec, read_history(spec, chosen, reader_of(spec)), chosen)


if __name__ == "__main__":
    main()
