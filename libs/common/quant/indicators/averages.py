"""Moving averages: simple, exponential, Wilder's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled


def sma_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `sma` for windows up to `max_window`."""
    return np.dtype(
        [
            ("values", "f8", (max_window,)),
            ("head", "i8"),
            ("count", "i8"),
            ("total", "f8"),
            ("fresh", "f8"),
        ],
        align=True,
    )


@compiled
def sma(state: Any, value: float, window: int) -> float:
    """Return the simple moving average.

    Formula: mean of the last `window` values. A running total; each time the ring has gone round
    the sum of what went in since (`fresh`) takes its place, so that rounding errors do not pile up
    over a million bars.
    Parameters: window >= 1.
    Warm-up: `window` bars.
    Source: W. Brock, J. Lakonishok, B. LeBaron, Simple Technical Trading Rules and the Stochastic
    Properties of Stock Returns, Journal of Finance 47 (1992), p. 1735.
    Equals: TA-Lib `SMA`; ta `sma_indicator`.
    Example: values 1, 2, 6 with window 2: NaN, 1.5, 4.0.
    """
    if state.count < window:
        state.count += 1
        state.total += value
    else:
        state.total += value - state.values[state.head]
    state.values[state.head] = value
    state.head += 1
    state.fresh += value
    if state.head == window:
        state.head = 0
        state.total = state.fresh
        state.fresh = 0.0
    if state.count < window:
        return math.nan
    return float(state.total / window)


@compiled
def restart(state: Any) -> None:
    """Make the state of an `sma` forget its values."""
    state.head = 0
    state.count = 0
    state.total = 0.0
    state.fresh = 0.0


def ema_state() -> np.dtype[np.void]:
    """Return the state of `ema`."""
    return np.dtype([("value", "f8"), ("count", "i8")], align=True)


@compiled
def ema(state: Any, value: float, window: int) -> float:
    """Return the exponential moving average.

    Formula: E + (value - E) x 2 / (window + 1), E being the average before; the first E is the
    mean of the first `window` values.
    Parameters: window >= 1.
    Warm-up: `window` bars.
    Source: the weight: P. N. Haurlan, Measuring Trend Values (1968); the seed: TA-Lib's.
    Equals: TA-Lib `EMA`; ta `ema_indicator` once the seed has decayed: it begins with the first
    value alone.
    Example: values 1, 2, 6 with window 2: NaN, 1.5, 1.5 + (6 - 1.5) x 2/3 = 4.5.
    """
    if state.count < window:
        state.count += 1
        state.value += value
        if state.count < window:
            return math.nan
        state.value /= window
        return float(state.value)
    state.value += (value - state.value) * (2.0 / (window + 1.0))
    return float(state.value)


def wilder_state() -> np.dtype[np.void]:
    """Return the state of `wilder`."""
    return np.dtype([("value", "f8"), ("count", "i8")], align=True)


@compiled
def wilder(state: Any, value: float, window: int) -> float:
    """Return Wilder's smoothed average.

    Formula: (W x (window - 1) + value) / window, W being the average before; the first W is the
    mean of the first `window` values.
    Parameters: window >= 1.
    Warm-up: `window` bars.
    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978), p. 23 and p. 65.
    Equals: TA-Lib `RMA`.
    Example: values 1, 3, 5 with window 2: NaN, 2.0, (2 x 1 + 5) / 2 = 3.5.
    """
    if state.count < window:
        state.count += 1
        state.value += value
        if state.count < window:
            return math.nan
        state.value /= window
        return float(state.value)
    state.value = (state.value * (window - 1.0) + value) / window
    return float(state.value)
