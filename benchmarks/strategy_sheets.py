"""Tear sheets of the built-in strategies on the installed sample of real prices.

`python -m benchmarks.strategy_sheets FOLDER [NAME …]` runs each with default parameters over the
daily closes of twenty S&P 500 shares, 2000 to 2022, 5 bps of slippage on each execution, writes
FOLDER/NAME/report.html, and prints the table of docs/strategies/README.md. Strategies that need
minutes, currencies, a safe asset or markets that never close have no prices there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from libs.common.backtest.kept import write_report
from libs.common.backtest.result import BacktestResult
from libs.common.backtest.run import choices_of, read_history, reader_of, run_backtest
from libs.common.backtest.sample import sample_symbols
from libs.common.backtest.shelf import load_named
from libs.common.backtest.spec import BacktestSpec, Choice

BUILT_IN: Final = Path(__file__).resolve().parents[1] / "strategies"
NAMES: Final = (
    "sma_cross", "ema_cross", "macd_adx_trend", "donchian_breakout", "time_series_momentum",
    "volatility_breakout", "rsi_reversion", "bollinger_reversion", "volatility_target",
    "regime_hold", "cross_sectional_momentum", "equal_weight", "pairs",
)  # fmt: skip
PAIR: Final = ("KO", "PEP")
START: Final = "2000-01-01"
SLIPPAGE: Final = {"slippage": {"method": "bps", "figure": 5.0}}


def run(name: str) -> BacktestResult:
    """Return the backtest of one strategy."""
    symbols = PAIR if name == "pairs" else sample_symbols()
    choice = Choice(class_name=name, symbols=tuple(symbols))
    spec = BacktestSpec(strategies=(choice,), start=START, models=SLIPPAGE)
    chosen = choices_of(spec, load_named([name], [BUILT_IN]))
    return run_backtest(spec, read_history(spec, chosen, reader_of(spec)), chosen)


def row(name: str, result: BacktestResult) -> str:
    """Return the line of the table."""
    found = result.metrics
    figures = (
        f"{found.cagr:.1%}", f"{found.annual_volatility:.1%}", f"{found.sharpe:.2f}",
        f"{found.max_drawdown:.0%}", f"{len(result.outcome.trades):,}",
    )  # fmt: skip
    return f"| [`{name}`]({name}.md) | " + " | ".join(figures) + " |"


def main() -> None:
    """Write the sheets and print the table."""
    folder, *names = sys.argv[1:]
    print("| strategy | CAGR | volatility | Sharpe | max drawdown | trades |")
    print("|---|---|---|---|---|---|")
    for name in names or NAMES:
        result = run(name)
        result.save(Path(folder) / name)
        write_report(result, Path(folder) / name)
        print(row(name, result), flush=True)


if __name__ == "__main__":
    main()
