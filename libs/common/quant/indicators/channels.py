"""Price channels: Donchian, Keltner."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.atr import atr, atr_state
from libs.common.quant.indicators.averages import ema, ema_state
from libs.common.quant.indicators.windows import extreme_state, rolling_max, rolling_min


def donchian_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `donchian` for windows up to `max_window`."""
    return np.dtype(
        [("high", extreme_state(max_window)), ("low", extreme_state(max_window))], align=True
    )


@compiled
def donchian(state: Any, high: float, low: float, window: int) -> tuple[float, float, float]:
    """Return (upper, middle, lower) of the Donchian channel.

    Formula: upper = highest high, lower = lowest low of the last `window` bars, this one included;
    middle = their mean. A breakout is a price beyond the channel as it was one bar before.
    Parameters: window >= 1; Donchian's is four weeks, the Turtles' 20 and 55 days.
    Warm-up: `window` bars.
    Source: R. D. Donchian, Commodities: High Finance in Copper, Financial Analysts Journal 16:6
    (1960), pp. 133-142 (the four-week rule).
    Equals: TA-Lib `DONCHIAN`; ta `DonchianChannel`.
    Example: highs 5, 7, 6, lows 4, 5, 3 with window 2: (7, 5, 3) on the third bar.
    """
    top = rolling_max(state.high, high, window)
    bottom = rolling_min(state.low, low, window)
    return top, 0.5 * (top + bottom), bottom


def keltner_state() -> np.dtype[np.void]:
    """Return the state of `keltner`."""
    return np.dtype([("average", ema_state()), ("range", atr_state()), ("count", "i8")], align=True)


@compiled
def keltner(
    state: Any,
    high: float,
    low: float,
    close: float,
    window: int,
    range_window: int,
    width: float,
) -> tuple[float, float, float]:
    """Return (upper, middle, lower) of the Keltner channel.

    Formula: middle = `ema` of (high + low + close) / 3 over `window`; upper and lower = middle +-
    `width` x `atr` over `range_window`; the one with the shorter warm-up begins later, so that both
    are first defined on the same bar.
    Parameters: window >= 1, range_window >= 1, width > 0; Raschke's are 20, 10, 2.
    Warm-up: `max(window, range_window + 1)` bars.
    Source: C. W. Keltner, How to Make Money in Commodities (1960), the ten-day moving average rule;
    with exponential average and true range: L. B. Raschke, L. A. Connors, Street Smarts (1995).
    Equals: TA-Lib `KC`. Both of ta's `KeltnerChannel` are other definitions (simple averages, or
    the average of closes).
    Example: bars (11, 9, 10), (12, 10, 11), (11, 8, 8) with windows 2, 2, width 2: both begin
    on bar 3, middle (11 + 9) / 2 = 10, range 2.5, so (15, 10, 5).
    """
    state.count += 1
    last = max(window, range_window + 1)
    middle = math.nan
    if state.count > last - window:
        middle = ema(state.average, (high + low + close) / 3.0, window)
    reach = math.nan
    if state.count >= last - range_window:
        reach = width * atr(state.range, high, low, close, range_window)
    if state.count < last:
        return math.nan, math.nan, math.nan
    return middle + reach, middle, middle - reach
