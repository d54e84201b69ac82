"""Channel breakout of the Turtles. Idea, source: docs/strategies/donchian_breakout.md."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from libs.common.quant.indicators import atr, atr_state, donchian, donchian_state
from libs.common.strategy import Strategy, integer, number
from libs.common.strategy.definition import Params as Chosen


class DonchianBreakout(Strategy):
    """Buy new highs in units, add while it runs, leave at a stop or at a shorter low."""

    class Params:
        """Windows in bars; N is the average true range."""

        entry = integer(20, low=2, high=250, meaning="channel whose break opens, bars")
        exit = integer(10, low=2, high=250, meaning="channel whose break closes, bars")
        range_window = integer(20, low=2, high=100, meaning="window of N, bars")
        stop = number(2.0, low=0.5, high=10.0, meaning="stop, in N from the newest unit")
        add = number(0.5, low=0.1, high=5.0, meaning="one more unit after so many N in favour")
        units = integer(4, low=1, high=10, meaning="units of the full position")
        short = integer(0, low=0, high=1, meaning="1: sell new lows short as well")

    class State:
        """The channels as they were before this bar, and the position in units."""

        entry = donchian_state(max_window=250)
        exit = donchian_state(max_window=250)
        range = atr_state()
        top = np.float64
        bottom = np.float64
        exit_top = np.float64
        exit_bottom = np.float64
        ready = np.bool_
        units = np.int64
        last = np.float64
        stop = np.float64

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return what fills both channels one bar before, and ten windows of N for its seed."""
        channels = max(int(params["entry"]), int(params["exit"])) + 1
        return max(channels, 10 * int(params["range_window"]) + 1)

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Leave, or enter, or add one unit; then remember the channels for the next bar."""
        n = atr(state.range, bar.high, bar.low, bar.close, params.range_window)
        if state.ready and not isnan(n):
            side = 0 if state.units == 0 else 1 if state.units > 0 else -1
            opened = 0
            if (side > 0 and (bar.low <= state.stop or bar.close < state.exit_bottom)) or (
                side < 0 and (bar.high >= state.stop or bar.close > state.exit_top)
            ):
                state.units = 0
            elif side == 0 and bar.close > state.top:
                opened = 1
            elif side == 0 and params.short == 1 and bar.close < state.bottom:
                opened = -1
            elif abs(state.units) < params.units and side * (bar.close - state.last) > (
                params.add * n
            ):
                opened = side
            if opened != 0:
                state.units += opened
                state.last = bar.close
                state.stop = max(bar.close - opened * params.stop * n, 0.0)
            out.target = state.units / params.units
            if state.units != 0 and state.stop > 0.0:
                out.stop = state.stop
        top, _, bottom = donchian(state.entry, bar.high, bar.low, params.entry)
        exit_top, _, exit_bottom = donchian(state.exit, bar.high, bar.low, params.exit)
        state.top = top
        state.bottom = bottom
        state.exit_top = exit_top
        state.exit_bottom = exit_bottom
        state.ready = not isnan(top) and not isnan(exit_top)
