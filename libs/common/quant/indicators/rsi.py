"""Relative strength index."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.averages import wilder, wilder_state


def rsi_state() -> np.dtype[np.void]:
    """Return the state of `rsi`."""
    return np.dtype(
        [("gain", wilder_state()), ("loss", wilder_state()), ("close", "f8"), ("count", "i8")],
        align=True,
    )


@compiled
def rsi(state: Any, close: float, window: int) -> float:
    """Return the relative strength index in [0, 100].

    Formula: 100 x U / (U + D), U and D the `wilder` averages of the closes' rises and falls. NaN
    while no price has moved at all (TA-Lib says 0 there, which would read as "oversold").
    Parameters: window >= 1; Wilder's is 14.
    Warm-up: `window + 1` bars.
    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978), p. 65.
    Equals: TA-Lib `RSI`; ta `rsi` once the seed has decayed: it begins with the first change.
    Example: closes 10, 11, 10.5 with window 2: gains 1, 0, losses 0, 0.5, so 100 x 0.5 / 0.75 =
    66.67.
    """
    if state.count == 0:
        state.count = 1
        state.close = close
        return math.nan
    change = close - state.close
    state.close = close
    gain = wilder(state.gain, max(change, 0.0), window)
    loss = wilder(state.loss, max(-change, 0.0), window)
    return 100.0 * gain / (gain + loss)
