"""W2 in interpreted Python: as a PythonStrategy, and as a plain loop without orders and books."""

from __future__ import annotations

import numpy as np

from benchmarks.workloads import HUNDRED, MODELS, Result
from libs.common.quant.simulation.execute import execute
from libs.common.quant.simulation.market import Market
from libs.common.quant.simulation.sleeves import Sleeve
from libs.common.strategy import PythonStrategy
from libs.common.strategy.python import Bar, Decision
from libs.common.strategy.python_runner import PythonRunner


class PlainCross(PythonStrategy):
    """The crossover with two running sums."""

    class State:
        """Sums of the last 10 and 30 closes, and these closes."""

        fast = 0.0
        slow = 0.0
        closes: list[float] = []  # noqa: RUF012

    def step(self, bar: Bar, out: Decision) -> None:
        """Compare the averages once both are defined."""
        state, close = self.state, bar.close
        closes = state.closes
        closes.append(close)
        state.fast += close
        state.slow += close
        if len(closes) > 10:
            state.fast -= closes[-11]
        if len(closes) > 30:
            state.slow -= closes.pop(0)
        if len(closes) == 30:
            out.target = 1.0 if state.fast / 10 > state.slow / 30 else 0.0


def interpreted(market: Market) -> Result:
    """Decide in Python, execute in the kernel, on the market's one symbol."""
    (symbol,), (bars,) = market.symbols, market.bars
    signals = PythonRunner(PlainCross.definition, {}, symbol).decide({symbol: bars})
    outcome = execute(market, [Sleeve("plain_cross", signals, HUNDRED)], MODELS)
    return Result(len(outcome.fills), float(outcome.equity[-1]))


def plain_loop(bars: np.ndarray) -> Result:
    """Decide and trade in one Python loop: cash and position in two variables, a curve."""
    cash, held, want, fills = 1e7, 0.0, 0.0, 0
    fast = slow = equity = 0.0
    closes: list[float] = []
    curve: list[float] = []
    for opened, close in zip(bars["open"].tolist(), bars["close"].tolist(), strict=True):
        if want != held:
            cash -= (want - held) * opened + abs(want - held) * opened * 0.001
            held = want
            fills += 1
        closes.append(close)
        fast += close
        slow += close
        if len(closes) > 10:
            fast -= closes[-11]
        if len(closes) > 30:
            slow -= closes.pop(0)
        if len(closes) == 30:
            want = 100.0 if fast / 10 > slow / 30 else 0.0
        equity = cash + held * close
        curve.append(equity)
    return Result(fills, equity)
