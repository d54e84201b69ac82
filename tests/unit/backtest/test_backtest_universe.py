"""Strategies on a universe whose symbols begin late, have holes, or end early."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.common.backtest.errors import DataError
from libs.common.backtest.result import BacktestResult
from libs.common.backtest.run import choices_of, read_history, reader_of, run_backtest
from libs.common.backtest.shelf import load_named
from libs.common.backtest.spec import spec_of

BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
MOMENTUM = {"formation": 1, "skip": 0, "share": 0.5, "short": 1}


def run(folder: Path, name: str, symbols: list[str], **wish: Any) -> BacktestResult:
    params = wish.pop("params", {})
    choice = {"class_name": name, "symbols": symbols, "params": params}
    source = {"kind": "file", "path": str(folder)}
    spec = spec_of({"strategies": [choice], "source": source, "gap_days_max": 30, **wish})
    chosen = choices_of(spec, load_named([name], [BUILT_IN]))
    return run_backtest(spec, read_history(spec, chosen, reader_of(spec)), chosen)


def write(folder: Path, symbol: str, rows: list[tuple[str, float, float]]) -> None:
    """Write bars of (day, open, close)."""
    lines = [f"{day},{o},{max(o, c)},{min(o, c)},{c},1000000" for day, o, c in rows]
    text = "\n".join(["date,open,high,low,close,volume", *lines])
    (folder / f"{symbol}.csv").write_text(text + "\n")


def fills_of(result: BacktestResult) -> list[tuple[str, str, float, float]]:
    return [
        (result.symbols[f["symbol"]], str(np.datetime64(int(f["ts"]), "ns"))[5:10],
         float(f["side"] * f["quantity"]), float(f["price"]))
        for f in result.outcome.fills
    ]  # fmt: skip


def test_what_is_decided_in_a_hole_is_traded_after_it_by_hand(tmp_path: Path) -> None:
    days = ["01-29", "01-30", "01-31", "02-01", "02-02", "02-05", "02-06"]
    write(tmp_path, "A", [(f"2024-{day}", 10, 10) for day in days])
    late = [("01-31", 20, 20), ("02-02", 20, 25), ("02-05", 25, 25), ("02-06", 25, 25)]
    write(tmp_path, "B", [(f"2024-{day}", o, c) for day, o, c in late])
    result = run(tmp_path, "equal_weight", ["A", "B"], cash=1000.0)
    assert fills_of(result) == [
        ("A", "01-30", 100.0, 10.0),
        # B begins on 31 January: half of 1000 each; A sells at its next open, B buys at its own.
        ("A", "02-01", -50.0, 10.0),
        ("B", "02-02", 25.0, 20.0),
        # February is rebalanced on the 1st, when B has no bar: with its next, on the 2nd, equity is
        # 500 + 25 x 25 = 1125, half of it 22 shares.
        ("B", "02-05", -3.0, 25.0),
    ]
    assert result.outcome.equity[-1] == 1125.0
    assert "B: 1 bars are missing that other symbols have" in result.notes
    assert any(note.startswith("B: bars begin at 2024-01-31") for note in result.notes)


def test_a_hole_on_the_first_day_of_the_run_loses_no_decision(tmp_path: Path) -> None:
    days = [str(np.datetime64("2023-10-02") + d) for d in range(140)]
    rising = [(day, 100 + i, 100 + i) for i, day in enumerate(days)]
    write(tmp_path, "UP", [row for row in rising if row[0] not in ("2024-01-31", "2024-02-01")])
    write(tmp_path, "DOWN", [(day, 300 - i, 300 - i) for i, day in enumerate(days)])
    wish = {"params": MOMENTUM, "start": "2024-02-01", "cash": 100_000.0}
    result = run(tmp_path, "cross_sectional_momentum", ["UP", "DOWN"], **wish)
    # Decided on 1 February; UP hears it on the 2nd and is bought on the 3rd.
    assert [(s, day) for s, day, *_ in fills_of(result)] == [("DOWN", "02-02"), ("UP", "02-03")]
    assert result.signals["cross_sectional_momentum"]["UP"]["index"].tolist() == [0]


@pytest.fixture(scope="module")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Six symbols over 260 days: holes in all, three begin late, one ends early."""
    folder, draw = tmp_path_factory.mktemp("ragged"), np.random.default_rng(40)
    begin, spans = dt.date(2023, 1, 2), [(0, 260), (0, 260), (30, 260), (150, 260), (0, 170),
                                         (200, 260)]  # fmt: skip
    for k, (first, last) in enumerate(spans):
        closes = 50.0 * np.exp(np.cumsum(draw.normal(0.0, 0.02, 260)))
        opens = closes * np.exp(draw.normal(0.0, 0.005, 260))
        there = [i for i in range(first, last) if i == first or draw.random() > 0.15]
        rows = [(f"{begin + dt.timedelta(i)}", float(opens[i]), float(closes[i])) for i in there]
        write(folder, f"S{k}", rows)
    return folder, [f"S{k}" for k in range(len(spans))]


@pytest.mark.parametrize(
    ("name", "params"), [("equal_weight", {}), ("cross_sectional_momentum", MOMENTUM)]
)
def test_what_comes_later_never_changes_a_run_on_ragged_bars(
    ragged: tuple[Path, list[str]], name: str, params: dict[str, Any]
) -> None:
    folder, symbols = ragged
    limited = {"limits": {"position_share_max": 0.9}, "latency": {"ns": 1}}
    wish = {"params": params, "start": "2023-01-02", "models": limited}
    whole = run(folder, name, symbols, **wish)
    assert {int(s) for s in whole.outcome.fills["symbol"]} == set(range(len(symbols)))
    begun = {s: min(day for x, day, *_ in fills_of(whole) if x == s) for s in symbols}
    assert begun["S3"] > "06-01"
    for end in ("2023-07-31", "2023-08-01", "2023-08-03", "2023-09-02"):
        part = run(folder, name, symbols, **wish, end=end)
        n = len(part.outcome.ts)
        np.testing.assert_array_equal(part.outcome.equity, whole.outcome.equity[:n])
        assert (
            part.outcome.fills.tobytes() == whole.outcome.fills[: len(part.outcome.fills)].tobytes()
        )


def test_a_universe_needs_times_for_its_warm_up_but_not_each_symbol(
    ragged: tuple[Path, list[str]],
) -> None:
    folder, _ = ragged
    # 60 bars of S5 are fewer than the 69 of the warm-up.
    result = run(folder, "cross_sectional_momentum", ["S0", "S1", "S5"], params=MOMENTUM)
    assert any(note.startswith("S5: bars begin at") for note in result.notes)
    with pytest.raises(DataError, match=r"the universe has bars at \d+ times, but cross_sectional"):
        run(folder, "cross_sectional_momentum", ["S0", "S1"], params=MOMENTUM, end="2023-02-20")


def test_bars_that_end_early_are_noted(ragged: tuple[Path, list[str]]) -> None:
    folder, _ = ragged
    result = run(folder, "equal_weight", ["S0", "S4"])
    (note,) = [note for note in result.notes if note.startswith("S4: bars end at 2023-06-")]
    assert "a position held then stays at the last price" in note
