"""Moving-average crossover. Idea, source and parameters: docs/strategies/sma_cross.md."""

from __future__ import annotations

from math import isnan
from typing import Any

from libs.common.quant.indicators import sma, sma_state
from libs.common.strategy import Strategy, integer
from libs.common.strategy.definition import Params as Chosen


class SmaCross(Strategy):
    """Long while the fast moving average is above the slow one, flat otherwise."""

    class Params:
        """Windows in bars."""

        fast = integer(10, low=2, high=200, meaning="window of the fast average, bars")
        slow = integer(30, low=5, high=400, meaning="window of the slow average, bars")

    class State:
        """The two averages."""

        fast = sma_state(max_window=200)
        slow = sma_state(max_window=400)

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return the slow window: both averages are exact from there on."""
        return int(params["slow"])

    @staticmethod
    def constraint(params: Chosen) -> str | None:
        """Return a complaint unless fast < slow."""
        if params["fast"] < params["slow"]:
            return None
        return f"fast ({params['fast']}) must be less than slow ({params['slow']})"

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Compare the averages once both are defined."""
        fast = sma(state.fast, bar.close, params.fast)
        slow = sma(state.slow, bar.close, params.slow)
        if not isnan(slow):
            out.target = 1.0 if fast > slow else 0.0
