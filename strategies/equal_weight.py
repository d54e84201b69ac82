"""Equal weights, rebalanced. Idea, source and parameters: docs/strategies/equal_weight.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.quant.calendar import month_of
from libs.common.strategy import CrossStrategy, integer


class EqualWeight(CrossStrategy):
    """The same share of the capital in every symbol, brought back to it every few months."""

    universe_max = 1000

    class Params:
        """How often."""

        months = integer(1, low=1, high=12, meaning="months from one rebalancing to the next")

    class State:
        """The month of the last rebalancing, and how many symbols had a bar then."""

        month = np.int64
        symbols = np.int64

    @staticmethod
    def step(state: Any, bars: Any, params: Any, out: Any) -> None:
        """State all weights again on a month's first bar, and when a symbol begins to trade."""
        symbols = 0
        now = 0
        for i in range(len(bars)):
            now = max(now, bars[i].ts)
            symbols += bars[i].ts > 0
        month = month_of(now)
        due = state.symbols == 0 or month >= state.month + params.months
        if not due and symbols == state.symbols:
            return
        if due:
            state.month = month
        state.symbols = symbols
        for i in range(len(bars)):
            if bars[i].ts > 0:
                out[i].target = 1.0 / symbols
                out[i].rebalance = 1.0
