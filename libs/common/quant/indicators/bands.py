"""Bollinger bands and the z-score: distance from the mean in standard deviations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.windows import moments, moments_state


def bollinger_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `bollinger` for windows up to `max_window`."""
    return moments_state(max_window)


@compiled
def bollinger(state: Any, close: float, window: int, width: float) -> tuple[float, float, float]:
    """Return (upper, middle, lower) band in the unit of the price.

    Formula: middle = mean m of the last n = `window` closes; upper and lower = m +- `width` x s,
    s = sqrt(sum of (close - m)^2 / n).
    Parameters: window >= 2, width > 0; Bollinger's are 20 and 2.
    Warm-up: `window` bars.
    Source: J. Bollinger, Bollinger on Bollinger Bands (2001), ch. 7.
    Equals: TA-Lib `BBANDS`; ta `BollingerBands`.
    Example: closes 1, 3 with window 2, width 2: s = 1, so (4, 2, 0).
    """
    mean, squares = moments(state, close, window)
    if state.ring.count < window:
        return math.nan, math.nan, math.nan
    reach = width * math.sqrt(squares / window)
    return mean + reach, mean, mean - reach


def zscore_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `zscore` for windows up to `max_window`."""
    return moments_state(max_window)


@compiled
def zscore(state: Any, value: float, window: int) -> float:
    """Return how many standard deviations the value is above the mean of its window.

    Formula: (value - m) / s, m and s mean and deviation (by n, as in `bollinger`) of the last n =
    `window` values, this one included. NaN while all of them are equal.
    Parameters: window >= 2.
    Warm-up: `window` bars.
    Source: E. P. Chan, Algorithmic Trading (2013), ch. 3, on mean reversion by Bollinger bands.
    Equals: (value - `SMA`) / `STDDEV` of TA-Lib; pandas rolling mean and std with ddof=0.
    Example: values 1, 3 with window 2: (3 - 2) / 1 = 1.0.
    """
    mean, squares = moments(state, value, window)
    if state.ring.count < window or squares == 0.0:
        return math.nan
    return float((value - mean) / math.sqrt(squares / window))
