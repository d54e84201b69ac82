"""Commodity channel index."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.averages import sma, sma_state


def cci_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `cci` for windows up to `max_window`."""
    return sma_state(max_window)


@compiled
def cci(state: Any, high: float, low: float, close: float, window: int) -> float:
    """Return the commodity channel index.

    Formula: (p - m) / (0.015 x d), p = (high + low + close) / 3, m the mean of p over the last n =
    `window` bars, d = sum of |p - m| / n. NaN where d = 0 (TA-Lib says 0). A bar costs O(window):
    the mean about which the distances are taken moves with each bar.
    Parameters: window >= 2; Lambert's is 20, TA-Lib's default 14.
    Warm-up: `window` bars.
    Source: D. R. Lambert, Commodity Channel Index: Tool for Trading Cyclic Trends, Commodities,
    October 1980, pp. 40-41.
    Equals: TA-Lib `CCI`; ta `cci`.
    Example: typical prices 1, 3 with window 2: (3 - 2) / (0.015 x 1) = 66.67.
    """
    typical = (high + low + close) / 3.0
    mean = sma(state, typical, window)
    if math.isnan(mean):
        return math.nan
    distance = 0.0
    flat = True
    for i in range(window):
        distance += abs(state.values[i] - mean)
        flat = flat and state.values[i] == typical
    if flat:
        return math.nan
    return float((typical - mean) / (0.015 * distance / window))
