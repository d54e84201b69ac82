"""Averages with less delay: linearly weighted, double and triple exponential."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.averages import ema, ema_state
from libs.common.quant.indicators.windows import push, ring_state


def wma_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `wma` for windows up to `max_window`."""
    return np.dtype(
        [("ring", ring_state(max_window)), ("total", "f8"), ("weighted", "f8")], align=True
    )


@compiled
def wma(state: Any, value: float, window: int) -> float:
    """Return the linearly weighted moving average.

    Formula: sum of i x v_i / sum of i over the last n = `window` values, i = 1 (oldest) ... n.
    Running sums, made anew each time the ring has gone round.
    Parameters: window >= 1.
    Warm-up: `window` bars.
    Source: P. J. Kaufman, Trading Systems and Methods (5th ed. 2013), ch. 7, "Weighted moving
    average".
    Equals: TA-Lib `WMA`; ta `wma_indicator`.
    Example: values 1, 2, 6 with window 2: NaN, (1 + 2 x 2) / 3 = 1.667, (2 + 2 x 6) / 3 = 4.667.
    """
    ring = state.ring
    left = push(ring, value, window)
    if ring.head == 0:
        state.total = 0.0
        state.weighted = 0.0
        for i in range(window):
            state.total += ring.values[i]
            state.weighted += (i + 1) * ring.values[i]
    elif math.isnan(left):
        state.total += value
        state.weighted += ring.count * value
    else:
        state.weighted += window * value - state.total
        state.total += value - left
    if ring.count < window:
        return math.nan
    return float(state.weighted / (0.5 * window * (window + 1.0)))


def dema_state() -> np.dtype[np.void]:
    """Return the state of `dema`."""
    return np.dtype([("first", ema_state()), ("second", ema_state())], align=True)


@compiled
def dema(state: Any, value: float, window: int) -> float:
    """Return the double exponential moving average.

    Formula: 2 x E1 - E2, E1 the `ema` of the values, E2 the `ema` of E1.
    Parameters: window >= 1.
    Warm-up: `2 * window - 1` bars.
    Source: P. G. Mulloy, Smoothing Data with Faster Moving Averages, Technical Analysis of Stocks
    & Commodities 12:1 (1994), pp. 11-19.
    Equals: TA-Lib `DEMA`.
    Example: values 1, 2, 6 with window 2: NaN, NaN, 2 x 4.5 - (1.5 + 4.5) / 2 = 6.0.
    """
    first = ema(state.first, value, window)
    if math.isnan(first):
        return math.nan
    return float(2.0 * first - ema(state.second, first, window))


def tema_state() -> np.dtype[np.void]:
    """Return the state of `tema`."""
    return np.dtype(
        [("first", ema_state()), ("second", ema_state()), ("third", ema_state())], align=True
    )


@compiled
def tema(state: Any, value: float, window: int) -> float:
    """Return the triple exponential moving average.

    Formula: 3 x E1 - 3 x E2 + E3, E1 the `ema` of the values, E2 that of E1, E3 that of E2.
    Parameters: window >= 1.
    Warm-up: `3 * window - 2` bars.
    Source: P. G. Mulloy, Smoothing Data with Faster Moving Averages, Technical Analysis of Stocks
    & Commodities 12:1 (1994), pp. 11-19.
    Equals: TA-Lib `TEMA`.
    Example: values 1, 2, 6, 6 with window 2: NaN three times, then E1 = 1.5, 4.5, 5.5, E2 = 3,
    4.667, E3 = 3.833: 16.5 - 14 + 3.833 = 6.333.
    """
    first = ema(state.first, value, window)
    if math.isnan(first):
        return math.nan
    second = ema(state.second, first, window)
    if math.isnan(second):
        return math.nan
    return float(3.0 * first - 3.0 * second + ema(state.third, second, window))
