"""Currency carry. Idea, source and parameters: docs/strategies/fx_carry.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.quant.calendar import month_of
from libs.common.strategy import CrossStrategy, integer, number

_MEANING = "interest of the base less that of the quote currency, % a year"


class FxCarry(CrossStrategy):
    """Long the currency pairs that pay the most interest, short those that cost the most."""

    universe_max = 10

    class Params:
        """The difference of interest rates for each symbol, in the order of the universe."""

        carry_1 = number(0.0, low=-100.0, high=100.0, meaning=f"first symbol: {_MEANING}")
        carry_2 = number(0.0, low=-100.0, high=100.0, meaning=f"second symbol: {_MEANING}")
        carry_3 = number(0.0, low=-100.0, high=100.0, meaning=f"third symbol: {_MEANING}")
        carry_4 = number(0.0, low=-100.0, high=100.0, meaning=f"fourth symbol: {_MEANING}")
        carry_5 = number(0.0, low=-100.0, high=100.0, meaning=f"fifth symbol: {_MEANING}")
        carry_6 = number(0.0, low=-100.0, high=100.0, meaning=f"sixth symbol: {_MEANING}")
        carry_7 = number(0.0, low=-100.0, high=100.0, meaning=f"seventh symbol: {_MEANING}")
        carry_8 = number(0.0, low=-100.0, high=100.0, meaning=f"eighth symbol: {_MEANING}")
        carry_9 = number(0.0, low=-100.0, high=100.0, meaning=f"ninth symbol: {_MEANING}")
        carry_10 = number(0.0, low=-100.0, high=100.0, meaning=f"tenth symbol: {_MEANING}")
        sides = integer(3, low=1, high=5, meaning="pairs on each side at most")
        least = number(0.5, low=0.0, high=100.0, meaning="carry worth a position, % a year")

    class State:
        """The month of the last sizing, and how many symbols had a bar then."""

        month = np.int64
        symbols = np.int64

    @staticmethod
    def step(state: Any, bars: Any, params: Any, out: Any) -> None:
        """Rank by carry on a month's first bar, and when a symbol begins to trade."""
        carries = (
            params.carry_1, params.carry_2, params.carry_3, params.carry_4, params.carry_5,
            params.carry_6, params.carry_7, params.carry_8, params.carry_9, params.carry_10,
        )  # fmt: skip
        now, symbols = 0, 0
        for i in range(len(bars)):
            now = max(now, bars[i].ts)
            symbols += bars[i].ts > 0
        month = month_of(now)
        if month == state.month and symbols == state.symbols:
            return
        state.month, state.symbols = month, symbols
        ranks = np.zeros(len(bars))
        for i in range(len(bars)):
            out[i].target = 0.0
            out[i].rebalance = 1.0
            if bars[i].ts > 0:
                ranks[i] = carries[i]
        order = np.argsort(ranks, kind="mergesort")
        # Half of the capital on each side, and no more for one that has fewer.
        size = 0.5 / params.sides
        for k in range(min(params.sides, len(bars))):
            most, least = order[len(bars) - 1 - k], order[k]
            if ranks[most] >= params.least and ranks[most] > 0.0:
                out[most].target = size
            if -ranks[least] >= params.least and ranks[least] < 0.0:
                out[least].target = -size
