"""Mean reversion by RSI. Idea, source and parameters: docs/strategies/rsi_reversion.md."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from libs.common.quant.indicators import rsi, rsi_state
from libs.common.strategy import Strategy, integer, number
from libs.common.strategy.definition import Params as Chosen


class RsiReversion(Strategy):
    """Buy what fell too fast, sell once it has recovered."""

    class Params:
        """Window in bars, levels in RSI points."""

        window = integer(2, low=2, high=100, meaning="window of the RSI, bars")
        entry = number(10.0, low=0.0, high=50.0, meaning="buy when the RSI is below")
        exit = number(60.0, low=50.0, high=100.0, meaning="sell when the RSI is above")

    class State:
        """The index, and whether we are in."""

        rsi = rsi_state()
        holding = np.bool_

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return ten windows: Wilder's seed has less than e^-10 of the weight by then."""
        return 10 * int(params["window"]) + 1

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Enter below `entry`, leave above `exit`, in between stay as we are."""
        value = rsi(state.rsi, bar.close, params.window)
        if isnan(value):
            return
        if value < params.entry:
            state.holding = True
        elif value > params.exit:
            state.holding = False
        out.target = 1.0 if state.holding else 0.0
