"""Trailing stops that turn with the trend: Supertrend, Wilder's parabolic SAR."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.atr import atr, atr_state


def supertrend_state() -> np.dtype[np.void]:
    """Return the state of `supertrend`."""
    return np.dtype(
        [
            ("range", atr_state()),
            ("upper", "f8"),
            ("lower", "f8"),
            ("close", "f8"),
            ("direction", "f8"),
        ],
        align=True,
    )


@compiled
def supertrend(
    state: Any, high: float, low: float, close: float, window: int, width: float
) -> tuple[float, float]:
    """Return (line, direction): the stop, and 1 in a rise, -1 in a fall.

    Formula: bands (high + low) / 2 +- `width` x `atr` over `window`; the upper one may only fall
    while the close before was not above it, the lower one only rise while it was not below. The
    direction turns up when the close is above the upper band, down when below the lower one; the
    line is the lower band in a rise, the upper one in a fall. It begins as a rise.
    Parameters: window >= 1, width > 0; common are 10 and 3.
    Warm-up: `window + 1` bars.
    Source: O. Seban, Tout le monde mérite d'être riche (2008).
    Equals: TA-Lib `SUPERTREND`.
    Example: bars (11, 9, 10), (12, 10, 11) with window 1, width 1: range 2, bands 13 and 9: (9, 1).
    """
    reach = width * atr(state.range, high, low, close, window)
    before = state.close
    state.close = close
    if math.isnan(reach):
        return math.nan, math.nan
    upper = 0.5 * (high + low) + reach
    lower = 0.5 * (high + low) - reach
    if state.direction == 0.0:
        state.direction = 1.0
    else:
        if not before > state.upper:
            upper = min(upper, state.upper)
        if not before < state.lower:
            lower = max(lower, state.lower)
        if close > upper:
            state.direction = 1.0
        elif close < lower:
            state.direction = -1.0
    state.upper = upper
    state.lower = lower
    return (lower if state.direction > 0.0 else upper), state.direction


def parabolic_state() -> np.dtype[np.void]:
    """Return the state of `parabolic`."""
    names = ("stop", "extreme", "factor", "direction", "high", "low")
    return np.dtype([*((name, "f8") for name in names), ("count", "i8")], align=True)


@compiled
def parabolic(
    state: Any, high: float, low: float, factor: float, factor_max: float
) -> tuple[float, float]:
    """Return (stop and reverse price for this bar, direction after it: 1 long, -1 short).

    Formula: stop for the next bar = stop + f x (extreme - stop), never inside the ranges of this
    bar and the one before; f begins with `factor` and grows by it, to `factor_max` at most, with
    each new extreme of the trade. A bar that reaches the stop turns the position: the stop is
    then the old extreme, or the range of the last two bars if that is beyond. Begins with the
    second bar, short if the low fell by more than the high rose, else long, from the first bar's
    high or low.
    Parameters: 0 < factor <= factor_max; Wilder's are 0.02 and 0.2.
    Warm-up: `2` bars.
    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978), pp. 9-22; the start is
    TA-Lib's.
    Equals: TA-Lib `SAR` (the stop).
    Example: bars (high, low) (10, 8), (12, 9), (13, 11) with 0.02 and 0.2: long; stop 8, extreme 12
    on bar 2; bar 3: 8 + 0.02 x 4 = 8.08.
    """
    state.count += 1
    if state.count == 1:
        state.high = high
        state.low = low
        return math.nan, math.nan
    if state.count == 2:
        fell = state.low - low
        state.direction = -1.0 if fell > 0.0 and fell > high - state.high else 1.0
        state.stop = state.low if state.direction > 0.0 else state.high
        state.extreme = high if state.direction > 0.0 else low
        state.factor = min(factor, factor_max)
        # Wilder's rule about the bar before has no bar before on the first one.
        state.high = high
        state.low = low
    turned = low <= state.stop if state.direction > 0.0 else high >= state.stop
    if turned:
        state.direction = -state.direction
        stop = state.extreme
        state.extreme = high if state.direction > 0.0 else low
        state.factor = min(factor, factor_max)
    else:
        stop = state.stop
        if state.direction > 0.0 and high > state.extreme:
            state.extreme = high
            state.factor = min(state.factor + factor, factor_max)
        elif state.direction < 0.0 and low < state.extreme:
            state.extreme = low
            state.factor = min(state.factor + factor, factor_max)
    if turned:
        stop = _outside(state, stop, high, low)
    ahead = stop + state.factor * (state.extreme - stop)
    state.stop = _outside(state, ahead, high, low)
    state.high = high
    state.low = low
    return stop, state.direction


@compiled
def _outside(state: Any, stop: float, high: float, low: float) -> float:
    """Return the stop moved out of the ranges of this bar and the one before."""
    if state.direction > 0.0:
        return float(min(stop, low, state.low))
    return float(max(stop, high, state.high))
