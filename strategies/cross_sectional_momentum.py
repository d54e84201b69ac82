"""Winners over losers. Idea, source, parameters: docs/strategies/cross_sectional_momentum.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.quant.monthly import close_of, months_state, see_all
from libs.common.strategy import CrossStrategy, integer, number
from libs.common.strategy.definition import Params as Chosen


class CrossSectionalMomentum(CrossStrategy):
    """Each month long the best of the last year, short or without the worst."""

    universe_min = 2
    universe_max = 500

    class Params:
        """Months, and the part of the universe on each side."""

        formation = integer(12, low=1, high=36, meaning="months over which returns are compared")
        skip = integer(1, low=0, high=3, meaning="latest months left out of the comparison")
        share = number(0.2, low=0.01, high=0.5, meaning="part of the universe bought")
        months = integer(1, low=1, high=12, meaning="months from one choice to the next")
        short = integer(0, low=0, high=1, meaning="1: sell as many of the worst short")

    class State:
        """Closes of months, and the month of the last choice."""

        closes = months_state(500, 40)
        month = np.int64

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return the days of the months looked back on, and one more month."""
        return 23 * (int(params["formation"]) + int(params["skip"]) + 2)

    @staticmethod
    def step(state: Any, bars: Any, params: Any, out: Any) -> None:
        """Rank on a month's first bar by the return up to `skip` months ago."""
        month = see_all(state.closes, bars)
        if state.month == 0:
            state.month = month
        if month < state.month + params.months:
            return
        last = month - 1 - params.skip
        returns = np.full(len(bars), -np.inf)
        ranked = 0
        for i in range(len(bars)):
            # What did not trade last month is no longer there to be bought.
            if close_of(state.closes, i, month - 1) > 0.0:
                gain = close_of(state.closes, i, last) / close_of(
                    state.closes, i, last - params.formation
                )
                if gain > 0.0:
                    returns[i] = gain
                    ranked += 1
        if ranked < 2:
            return
        state.month = month
        count = min(max(1, int(params.share * ranked)), ranked // 2)
        for i in range(len(bars)):
            out[i].target = 0.0
            out[i].rebalance = 1.0
        order = np.argsort(returns, kind="mergesort")
        # With a short side, half of the capital on each.
        size = 1.0 / count if params.short == 0 else 0.5 / count
        for k in range(count):
            out[order[len(bars) - 1 - k]].target = size
            if params.short == 1:
                out[order[len(bars) - ranked + k]].target = -size
