"""Compile the strategies and the kernels of a backtest: `python -m infra.containers.compile_ahead`.

A step of the image's build. What Numba compiles goes to NUMBA_CACHE_DIR, whose copy in a container
spares it a minute at each start. On another kind of processor the copy does not fit, and the
container compiles for itself, as it would without.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from libs.common.backtest.data import History
from libs.common.backtest.run import choices_of, run_backtest
from libs.common.backtest.spec import BacktestSpec, Choice
from libs.common.domain.timeframes import Timeframe
from libs.common.quant.simulation.records import BAR
from libs.common.strategy.registry import Registry, load_directories

STRATEGIES = Path(__file__).resolve().parents[2] / "strategies"
DAY_NS = 86_400_000_000_000
BARS = 300
STRATEGY = "sma_cross"
SYMBOL = "MADE"


def compile_strategies(folder: Path) -> Registry:
    """Compile every step in `folder`; raises the StrategyFileError of one that is refused."""
    registry = load_directories([folder])
    for refusal in registry.refused:
        raise refusal
    return registry


def compile_kernels(registry: Registry) -> None:
    """Run one small backtest, on a price that goes up and down."""
    bars = np.zeros(BARS, BAR)
    bars["ts"] = np.arange(BARS) * DAY_NS
    price = 100.0 + 10.0 * np.sin(np.arange(BARS) / 10.0)
    for name in ("open", "high", "low", "close"):
        bars[name] = price
    bars["volume"] = 1e6
    spec = BacktestSpec(strategies=(Choice(class_name=STRATEGY, symbols=(SYMBOL,)),))
    history = History(Timeframe.DAY, {SYMBOL: bars}, "made for the compiler")
    run_backtest(spec, history, choices_of(spec, registry))


def main() -> int:
    """Compile everything; return the exit code."""
    registry = compile_strategies(STRATEGIES)
    compile_kernels(registry)
    print(f"compiled {len(registry.strategies)} strategies and the kernels of a backtest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
