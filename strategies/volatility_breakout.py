"""Volatility breakout. Idea, source and parameters: docs/strategies/volatility_breakout.md."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from libs.common.quant.indicators import atr, atr_state
from libs.common.strategy import Strategy, integer, number
from libs.common.strategy.definition import Params as Chosen


class VolatilityBreakout(Strategy):
    """After a move of more than the usual range, go with it for some bars."""

    class Params:
        """Moves in average true ranges."""

        window = integer(10, low=2, high=500, meaning="window of the average true range, bars")
        entry = number(1.0, low=0.1, high=10.0, meaning="move from close to close that counts")
        stop = number(1.5, low=0.1, high=20.0, meaning="distance of the stop from the close")
        hold = integer(5, low=1, high=500, meaning="bars to stay without a new breakout")
        short = integer(1, low=0, high=1, meaning="1: sell short on a fall, 0: stay flat")

    class State:
        """The range up to the bar before, its close, which way we are in and for how long."""

        range = atr_state()
        usual = np.float64
        close = np.float64
        seen = np.int64
        side = np.int64
        held = np.int64

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return ten windows: Wilder's seed has less than e^-10 of the weight by then."""
        return 10 * int(params["window"]) + 1

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Measure the move against the range as it was before this bar."""
        usual, before = state.usual, state.close
        state.usual = atr(state.range, bar.high, bar.low, bar.close, params.window)
        state.close = bar.close
        state.seen += 1
        if state.seen == 1 or isnan(usual):
            return
        move = bar.close - before
        broke = 0
        if move > params.entry * usual:
            broke = 1
        elif -move > params.entry * usual:
            broke = -1
        if broke != 0:
            state.side = broke if broke > 0 or params.short == 1 else 0
            state.held = 0
        elif state.side != 0:
            state.held += 1
            if state.held >= params.hold:
                state.side = 0
        if broke != 0 and state.side != 0:
            out.target = float(state.side)
            # A stop below nothing is none.
            stop = bar.close - state.side * params.stop * usual
            if stop > 0.0:
                out.stop = stop
        elif state.side == 0:
            out.target = 0.0
