"""Crossing of exponential averages. Idea, source and parameters: docs/strategies/ema_cross.md."""

from __future__ import annotations

from math import isnan
from typing import Any

from libs.common.quant.indicators import ema, ema_state
from libs.common.strategy import Strategy, integer
from libs.common.strategy.definition import Params as Chosen


class EmaCross(Strategy):
    """Long while the fast exponential average is above the slow one, flat or short otherwise."""

    class Params:
        """Windows in bars."""

        fast = integer(12, low=2, high=500, meaning="window of the fast average, bars")
        slow = integer(26, low=3, high=1000, meaning="window of the slow average, bars")
        short = integer(0, low=0, high=1, meaning="1: sell short below, 0: stay flat")

    class State:
        """The two averages."""

        fast = ema_state()
        slow = ema_state()

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return five slow windows: the seed has less than e^-8 of the weight by then."""
        return 5 * int(params["slow"])

    @staticmethod
    def constraint(params: Chosen) -> str | None:
        """Return a complaint unless fast < slow."""
        if params["fast"] < params["slow"]:
            return None
        return f"fast ({params['fast']}) must be less than slow ({params['slow']})"

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Compare the averages once both are defined."""
        fast = ema(state.fast, bar.close, params.fast)
        slow = ema(state.slow, bar.close, params.slow)
        if not isnan(slow):
            out.target = 1.0 if fast > slow else -1.0 * params.short
