"""Return into the Bollinger band. Idea, source: docs/strategies/bollinger_reversion.md."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from libs.common.quant.indicators import (
    bollinger,
    bollinger_state,
    volatility_regime,
    volatility_regime_state,
)
from libs.common.strategy import Strategy, integer, number
from libs.common.strategy.definition import Params as Chosen


class BollingerReversion(Strategy):
    """Buy below the lower band while the market is calm, sell at the middle."""

    class Params:
        """Distances in standard deviations of the window."""

        window = integer(20, low=5, high=200, meaning="window of the band, bars")
        width = number(2.0, low=0.5, high=5.0, meaning="enter beyond so many deviations")
        exit = number(0.0, low=-1.0, high=3.0, meaning="leave so many deviations past the middle")
        stop = number(4.0, low=1.0, high=20.0, meaning="stop, in deviations from the middle")
        short = integer(0, low=0, high=1, meaning="1: sell short above the upper band as well")
        turbulence = number(
            1.5, low=0.0, high=10.0, meaning="no entry above this ratio of 20 to 100 bar volatility"
        )

    class State:
        """Band, regime, position, and whether the close was inside the band since the last."""

        band = bollinger_state(max_window=200)
        regime = volatility_regime_state(max_window=100)
        side = np.int64
        stop = np.float64
        armed = np.bool_

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return what fills band and regime, and two windows in which an older trade has ended."""
        return max(int(params["window"]), 101) + 2 * int(params["window"])

    @staticmethod
    def constraint(params: Chosen) -> str | None:
        """Return a complaint unless the stop is beyond the entry."""
        if params["stop"] > params["width"]:
            return None
        return f"stop ({params['stop']}) must be more than width ({params['width']})"

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Measure the close in deviations from the middle, and act on it."""
        upper, middle, _ = bollinger(state.band, bar.close, params.window, params.width)
        turbulent, _ = volatility_regime(
            state.regime, bar.close, 20, 100, params.turbulence, params.turbulence
        )
        deviation = (upper - middle) / params.width
        if not deviation > 0.0:
            return
        place = (bar.close - middle) / deviation
        # Before the regime is known it does not count as calm; a filter of 0 is none.
        calm = params.turbulence == 0.0 or (not isnan(turbulent) and turbulent == 0.0)
        if (state.side > 0 and (bar.low <= state.stop or place >= params.exit)) or (
            state.side < 0 and (bar.high >= state.stop or place <= -params.exit)
        ):
            state.side = 0
        elif state.side == 0 and state.armed and calm:
            if -params.stop < place < -params.width:
                state.side = 1
            elif params.width < place < params.stop and params.short == 1:
                state.side = -1
            if state.side != 0:
                state.armed = False
                state.stop = max(middle - state.side * params.stop * deviation, 0.0)
        if abs(place) < params.width:
            state.armed = True
        out.target = float(state.side)
        if state.side != 0 and state.stop > 0.0:
            out.stop = state.stop
