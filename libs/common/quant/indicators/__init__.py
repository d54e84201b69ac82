"""Incremental indicators: each a state record and an O(1) update function, compiled.

A state starts as zeros. An update takes the state, the new value and the window, and returns
the indicator, NaN until it is defined. Windows are passed on each update so that they can be
parameters; a window must stay the same over the life of a state and within the capacity that
the state was made for.
"""

from libs.common.quant.indicators.atr import atr, atr_state
from libs.common.quant.indicators.averages import (
    ema,
    ema_state,
    sma,
    sma_state,
    wilder,
    wilder_state,
)
from libs.common.quant.indicators.rsi import rsi, rsi_state
from libs.common.quant.indicators.volatility import realised_volatility, volatility_state

__all__ = [
    "atr",
    "atr_state",
    "ema",
    "ema_state",
    "realised_volatility",
    "rsi",
    "rsi_state",
    "sma",
    "sma_state",
    "volatility_state",
    "wilder",
    "wilder_state",
]
