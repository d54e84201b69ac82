"""Dual momentum. Idea, source and parameters: docs/strategies/dual_momentum.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.quant.monthly import close_of, months_state, see_all
from libs.common.strategy import CrossStrategy, integer
from libs.common.strategy.definition import Params as Chosen


class DualMomentum(CrossStrategy):
    """All in the best risky asset if it beat the safe one over the last year, else in the safe one.

    The last symbol of the universe is the safe one.
    """

    universe_min = 2
    universe_max = 50

    class Params:
        """Months."""

        lookback = integer(12, low=1, high=36, meaning="months over which returns are compared")
        months = integer(1, low=1, high=12, meaning="months from one choice to the next")

    class State:
        """Closes of months, and the month of the last choice."""

        closes = months_state(50, 40)
        month = np.int64

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return the days of the months looked back on, and one more month."""
        return 23 * (int(params["lookback"]) + 2)

    @staticmethod
    def step(state: Any, bars: Any, params: Any, out: Any) -> None:
        """Choose on a month's first bar."""
        month = see_all(state.closes, bars)
        if state.month == 0:
            state.month = month
        if month < state.month + params.months:
            return
        safe = len(bars) - 1
        best, greatest = -1, -np.inf
        hurdle = np.nan
        for i in range(len(bars)):
            gain = close_of(state.closes, i, month - 1) / close_of(
                state.closes, i, month - 1 - params.lookback
            )
            if i == safe:
                hurdle = gain
            elif gain > greatest:
                best, greatest = i, gain
        if best < 0 or not hurdle > 0.0:
            return
        state.month = month
        chosen = best if greatest > hurdle else safe
        for i in range(len(bars)):
            out[i].target = 1.0 if i == chosen else 0.0
