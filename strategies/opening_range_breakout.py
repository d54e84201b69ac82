"""Opening-range breakout. Idea, source, parameters: docs/strategies/opening_range_breakout.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.quant.new_york import new_york
from libs.common.strategy import Strategy, integer
from libs.common.strategy.definition import Params as Chosen


class OpeningRangeBreakout(Strategy):
    """Follow the first close outside the session's first range, once a day, flat at night."""

    class Params:
        """Minutes; times of day in New York, from midnight."""

        range_minutes = integer(30, low=1, high=240, meaning="length of the opening range, minutes")
        flat = integer(5, low=1, high=240, meaning="flat so many minutes before the close")
        open = integer(570, low=0, high=1439, meaning="open, minutes from midnight in New York")
        close = integer(960, low=1, high=1440, meaning="close, minutes from midnight in New York")
        short = integer(0, low=0, high=1, meaning="1: sell breaks downward short as well")

    class State:
        """Today, its opening range, the position, and whether today's one trade is done."""

        day = np.int64
        top = np.float64
        bottom = np.float64
        side = np.int64
        traded = np.bool_

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return a session of one-minute bars: begun in mid-session, today has to be known."""
        return int(params["close"]) - int(params["open"])

    @staticmethod
    def constraint(params: Chosen) -> str | None:
        """Return a complaint unless the day has room for range, trade and end."""
        if params["open"] + params["range_minutes"] < params["close"] - params["flat"]:
            return None
        return "open + range_minutes must be before close - flat"

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Gather the range, then wait for a close outside it, then for its other side."""
        day, minute = new_york(bar.ts)
        if day != state.day:
            state.day = day
            state.top = 0.0
            state.bottom = 0.0
            state.side = 0
            state.traded = False
        if minute < params.open or minute >= params.close:
            return
        if minute < params.open + params.range_minutes:
            state.bottom = bar.low if state.top == 0.0 else min(state.bottom, bar.low)
            state.top = max(state.top, bar.high)
        elif minute >= params.close - params.flat:
            state.side = 0
            state.traded = True
        elif state.side != 0:
            if (state.side > 0 and bar.low <= state.bottom) or (
                state.side < 0 and bar.high >= state.top
            ):
                state.side = 0
        elif not state.traded and state.top > 0.0:
            if bar.close > state.top:
                state.side = 1
            elif bar.close < state.bottom and params.short == 1:
                state.side = -1
            state.traded = state.side != 0
        out.target = float(state.side)
        if state.side > 0:
            out.stop = state.bottom
        elif state.side < 0:
            out.stop = state.top
