"""Return to the session's VWAP. Idea, source, parameters: docs/strategies/vwap_reversion.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.quant.indicators import vwap, vwap_state
from libs.common.quant.new_york import new_york
from libs.common.strategy import Strategy, integer, number
from libs.common.strategy.definition import Params as Chosen


class VwapReversion(Strategy):
    """Buy far below the day's average price, sell when it is back there, flat at night."""

    class Params:
        """Distances in standard deviations of the session's prices; minutes in New York."""

        width = number(2.0, low=0.5, high=10.0, meaning="enter beyond so many deviations")
        stop = number(4.0, low=1.0, high=20.0, meaning="stop, in deviations from the average")
        wait = integer(30, low=1, high=240, meaning="no entry in the first minutes")
        flat = integer(15, low=1, high=240, meaning="flat so many minutes before the close")
        open = integer(570, low=0, high=1439, meaning="open, minutes from midnight in New York")
        close = integer(960, low=1, high=1440, meaning="close, minutes from midnight in New York")
        short = integer(0, low=0, high=1, meaning="1: sell short far above as well")

    class State:
        """Average, today, position, and whether the price was near the average since the last."""

        average = vwap_state()
        day = np.int64
        side = np.int64
        stop = np.float64
        armed = np.bool_

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return a session of one-minute bars: begun in mid-session, today has to be known."""
        return int(params["close"]) - int(params["open"])

    @staticmethod
    def constraint(params: Chosen) -> str | None:
        """Return a complaint unless the stop is beyond the entry and the day has room."""
        if params["stop"] <= params["width"]:
            return f"stop ({params['stop']}) must be more than width ({params['width']})"
        if params["open"] + params["wait"] >= params["close"] - params["flat"]:
            return "open + wait must be before close - flat"
        return None

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Measure the close in deviations from the average, and act on it."""
        day, minute = new_york(bar.ts)
        if day != state.day:
            state.day = day
            state.side = 0
            state.armed = True
        if minute < params.open or minute >= params.close:
            return
        average, deviation = vwap(state.average, bar.high, bar.low, bar.close, bar.volume, day)
        place = (bar.close - average) / deviation
        if minute >= params.close - params.flat:
            state.side = 0
            state.armed = False
        elif (state.side > 0 and (bar.low <= state.stop or bar.close >= average)) or (
            state.side < 0 and (bar.high >= state.stop or bar.close <= average)
        ):
            state.side = 0
        elif state.side == 0 and state.armed and minute >= params.open + params.wait:
            if -params.stop < place < -params.width:
                state.side = 1
            elif params.width < place < params.stop and params.short == 1:
                state.side = -1
            if state.side != 0:
                state.armed = False
                state.stop = max(average - state.side * params.stop * deviation, 0.0)
        elif abs(place) < params.width:
            state.armed = True
        out.target = float(state.side)
        if state.side != 0 and state.stop > 0.0:
            out.stop = state.stop
