"""Aroon."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.windows import (
    extreme_age,
    extreme_state,
    rolling_max,
    rolling_min,
)


def aroon_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `aroon` for windows up to `max_window`."""
    return np.dtype(
        [("high", extreme_state(max_window + 1)), ("low", extreme_state(max_window + 1))],
        align=True,
    )


@compiled
def aroon(state: Any, high: float, low: float, window: int) -> tuple[float, float]:
    """Return (up, down), each in [0, 100].

    Formula: up = 100 x (n - bars since the highest high of the last n + 1 bars) / n, n =
    `window`; down likewise from the lowest low. Of equal highs the latest counts.
    Parameters: window >= 1; Chande's is 25, TA-Lib's default 14.
    Warm-up: `window + 1` bars.
    Source: T. S. Chande, A Time Price Oscillator, Technical Analysis of Stocks & Commodities 13:9
    (1995), pp. 369-374.
    Equals: TA-Lib `AROON` (which returns down first); ta `AroonIndicator` except where a window
    has equal extremes, of which it takes the earliest.
    Example: highs 5, 7, 6, lows 4, 5, 3 with window 2: up 100 x 1 / 2 = 50, down 100.
    """
    top = rolling_max(state.high, high, window + 1)
    rolling_min(state.low, low, window + 1)
    if math.isnan(top):
        return math.nan, math.nan
    up = 100.0 * (window - extreme_age(state.high)) / window
    return up, 100.0 * (window - extreme_age(state.low)) / window
