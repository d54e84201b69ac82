"""Place of the close in its range: stochastic oscillator, Williams %R."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.averages import restart, sma, sma_state
from libs.common.quant.indicators.windows import extreme_state, rolling_max, rolling_min


def stochastic_state(max_window: int, max_smooth: int = 20) -> np.dtype[np.void]:
    """Return the state of `stochastic`: windows up to `max_window`, averages to `max_smooth`."""
    return np.dtype(
        [
            ("high", extreme_state(max_window)),
            ("low", extreme_state(max_window)),
            ("k", sma_state(max_smooth)),
            ("d", sma_state(max_smooth)),
        ],
        align=True,
    )


@compiled
def stochastic(
    state: Any, high: float, low: float, close: float, window: int, smooth: int, signal: int
) -> tuple[float, float]:
    """Return (%K, %D) in [0, 100].

    Formula: raw %K = 100 x (close - L) / (H - L), H and L highest high and lowest low of the last
    `window` bars; %K = `sma` of raw %K over `smooth` bars; %D = `sma` of %K over `signal`. With
    smooth = 1 it is the fast stochastic, with 3 the slow one. A window without range (H = L) has
    no raw %K: NaN, and the averages begin anew after it (TA-Lib takes 0 there).
    Parameters: window >= 1, smooth >= 1, signal >= 1; Lane's are 5 (or 14), 3, 3.
    Warm-up: `window + smooth + signal - 2` bars; %K alone `window + smooth - 1`.
    Source: G. C. Lane, Lane's Stochastics, Technical Analysis of Stocks & Commodities 2:3 (1984),
    pp. 87-90.
    Equals: TA-Lib `STOCH` (smooth > 1) and `STOCHF` (smooth = 1), simple averages; ta
    `StochasticOscillator` (fast).
    Example: bars (high, low, close) (10, 8, 9), (12, 9, 11) with (2, 1, 1): 100 x 3 / 4 = 75.
    """
    top = rolling_max(state.high, high, window)
    bottom = rolling_min(state.low, low, window)
    if math.isnan(top):
        return math.nan, math.nan
    if top == bottom:
        restart(state.k)
        restart(state.d)
        return math.nan, math.nan
    k = sma(state.k, 100.0 * (close - bottom) / (top - bottom), smooth)
    if math.isnan(k):
        return math.nan, math.nan
    return k, sma(state.d, k, signal)


def williams_r_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `williams_r` for windows up to `max_window`."""
    return np.dtype(
        [("high", extreme_state(max_window)), ("low", extreme_state(max_window))], align=True
    )


@compiled
def williams_r(state: Any, high: float, low: float, close: float, window: int) -> float:
    """Return Williams' %R in [-100, 0].

    Formula: -100 x (H - close) / (H - L), H and L highest high and lowest low of the last
    `window` bars; NaN where H = L (TA-Lib says 0, the top).
    Parameters: window >= 1; Williams' is 10, common is 14.
    Warm-up: `window` bars.
    Source: L. R. Williams, How I Made One Million Dollars Last Year Trading Commodities (1973),
    on %R.
    Equals: TA-Lib `WILLR`; ta `williams_r`.
    Example: bars (10, 8, 9), (12, 9, 11) with window 2: -100 x 1 / 4 = -25.
    """
    top = rolling_max(state.high, high, window)
    bottom = rolling_min(state.low, low, window)
    return -100.0 * (top - close) / (top - bottom)
