"""Constant volatility. Idea, source and parameters: docs/strategies/volatility_target.md."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from libs.common.quant.indicators import realised_volatility, realised_volatility_state
from libs.common.strategy import Strategy, integer, number
from libs.common.strategy.definition import Params as Chosen


class VolatilityTarget(Strategy):
    """Always long, the less the more the price moves."""

    class Params:
        """Volatilities a year."""

        volatility = number(0.15, low=0.01, high=2.0, meaning="volatility aimed at, a year")
        window = integer(20, low=2, high=500, meaning="returns that the volatility is taken from")
        periods = integer(252, low=1, high=600_000, meaning="bars in a year")
        band = number(0.1, low=0.0, high=1.0, meaning="part by which the size may be off")

    class State:
        """The volatility, and the size last decided on."""

        returns = realised_volatility_state(500)
        size = np.float64

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return the bars that give `window` returns."""
        return int(params["window"]) + 1

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Size anew where the wished size has left the band around the last one."""
        volatility = realised_volatility(
            state.returns, bar.close, params.window, float(params.periods)
        )
        if isnan(volatility):
            return
        size = min(1.0, params.volatility / volatility) if volatility > 0.0 else 1.0
        if abs(size - state.size) > params.band * state.size:
            state.size = size
            out.target = size
            out.rebalance = 1.0
