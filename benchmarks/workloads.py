"""The workloads of the backtest benchmark: W1 to W4, their data and how this project runs them.

W1 and W2: long while SMA(10) > SMA(30) else flat, 100 shares, filled at the next open, 0.1 %
a side; one million and 50 000 bars. W3: 200 pairs of windows on W2. W4: 100 symbols of 5 000 bars
at equal weight, sized anew every 21 bars, in fractions of a share: vectorbt and bt know no whole
lots that a target is cut to (with them 228 changes of less than a share fall away, 23 572 fills
instead of 23 800, and the final equity is 1 815 of 13 024 841 lower). Prices: NumPy seed 7,
geometric random walk, rounded to six decimals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from libs.common.quant.simulation.execute import execute
from libs.common.quant.simulation.market import Market
from libs.common.quant.simulation.models import Commission, Models
from libs.common.quant.simulation.records import BAR
from libs.common.quant.simulation.sleeves import Method, Sizing, Sleeve
from libs.common.strategy import Runner, Strategy
from strategies.sma_cross import SmaCross

MODELS: Final = Models(cash=1e7, commission=Commission(percent=0.001))
HUNDRED: Final = Sizing(Method.FIXED_QUANTITY, 100.0)
RUNS: Final = 200
CORES: Final = 2
BATCH: Final = 5
FRACTION: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Result:
    """What a run is held against a peer by. `equity` is summed where there are many runs."""

    fills: int
    equity: float


class EqualWeight(Strategy):
    """Always invested, sized anew every 21 bars."""

    class State:
        """Bars seen."""

        seen = np.int64

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Ask for the same share again on every 21st bar."""
        state.seen += 1
        if state.seen % 21 == 0:
            out.target = 1.0
            out.rebalance = 1.0


def walks(count: int, symbols: int = 1, sigma: float = 0.0005) -> dict[str, np.ndarray]:
    """Return the bars of each symbol."""
    draw = np.random.default_rng(7)
    found = {}
    for k in range(symbols):
        close = 100.0 * np.exp(np.cumsum(draw.normal(0.0, sigma, count)))
        gap = np.exp(draw.normal(0.0, sigma / 5, count))
        bars = np.zeros(count, BAR)
        bars["ts"] = np.arange(1, count + 1) * (60 if symbols == 1 else 86_400) * 10**9
        bars["open"] = np.round(np.append(100.0, close[:-1]) * gap, 6)
        bars["close"] = np.round(close, 6)
        bars["high"] = np.maximum(bars["open"], bars["close"])
        bars["low"] = np.minimum(bars["open"], bars["close"])
        bars["volume"] = 1e6
        found[f"S{k:03}"] = bars
    return found


def crossover(market: Market, params: Mapping[str, object]) -> Result:
    """Decide and execute the crossover on the market's one symbol."""
    (symbol,), (bars,) = market.symbols, market.bars
    signals = Runner(SmaCross.definition, params, symbol).decide({symbol: bars})
    outcome = execute(market, [Sleeve("sma_cross", signals, HUNDRED)], MODELS)
    return Result(len(outcome.fills), float(outcome.equity[-1]))


def pairs(count: int) -> list[dict[str, object]]:
    """Return so many pairs of windows, 20 fast ones with each slow one."""
    slow = range(30, 30 + 10 * -(-count // 20), 10)
    return [{"fast": f, "slow": s} for f in range(5, 25) for s in slow][:count]


def sweep(market: Market, chosen: Sequence[Mapping[str, object]]) -> Result:
    """Run pairs of windows on two threads, some at a time, as `tradewind sweep` does."""

    def some(batch: Sequence[Mapping[str, object]]) -> list[Result]:
        return [crossover(market, pair) for pair in batch]

    batches = [chosen[k : k + BATCH] for k in range(0, len(chosen), BATCH)]
    with ThreadPoolExecutor(CORES) as pool:
        found = [result for batch in pool.map(some, batches) for result in batch]
    return Result(sum(r.fills for r in found), sum(r.equity for r in found))


def basket(data: Mapping[str, np.ndarray]) -> Market:
    """Return a market in fractions of a share."""
    return Market.of(data, lots=dict.fromkeys(data, FRACTION))


def monthly(market: Market) -> Result:
    """Decide and execute the equal weight on all symbols of one account."""
    signals = {}
    for symbol, bars in zip(market.symbols, market.bars, strict=True):
        signals |= Runner(EqualWeight.definition, {}, symbol).decide({symbol: bars})
    weight = Sizing(Method.PERCENT_OF_EQUITY, 0.99 / len(market.symbols))
    outcome = execute(market, [Sleeve("equal_weight", signals, weight)], MODELS)
    return Result(len(outcome.fills), float(outcome.equity[-1]))
