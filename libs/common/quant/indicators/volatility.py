"""Volatility from closes, and from the whole bar."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.averages import sma, sma_state
from libs.common.quant.indicators.windows import moments, moments_state

_PARKINSON: Final = 1.0 / (4.0 * math.log(2.0))
_GARMAN_KLASS: Final = 2.0 * math.log(2.0) - 1.0


def realised_volatility_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `realised_volatility` for windows up to `max_window`."""
    return np.dtype([("returns", moments_state(max_window)), ("close", "f8")], align=True)


@compiled
def realised_volatility(state: Any, close: float, window: int, periods: float) -> float:
    """Return the annualised standard deviation of log returns; 0.2 is 20 % a year.

    Formula: sqrt(sum of (u - mean u)^2 / (n - 1) x `periods`) over the last n = `window` returns
    u = ln(close / previous close).
    Parameters: window >= 2; periods = bars in a year, 252 for days.
    Warm-up: `window + 1` bars.
    Source: J. C. Hull, Options, Futures, and Other Derivatives, "Estimating volatility from
    historical data".
    Equals: pandas rolling std of log returns; TA-Lib `STDDEV` of them x sqrt(n / (n - 1)).
    Example: closes 100, 110, 99, window 2, periods 1: returns 0.09531 and -0.10536, 0.14190.
    """
    before = state.close
    state.close = close
    if before == 0.0:
        return math.nan
    _, squares = moments(state.returns, math.log(close / before), window)
    if state.returns.ring.count < window:
        return math.nan
    return math.sqrt(squares / (window - 1.0) * periods)


def parkinson_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `parkinson` for windows up to `max_window`."""
    return sma_state(max_window)


@compiled
def parkinson(state: Any, high: float, low: float, window: int, periods: float) -> float:
    """Return the annualised volatility from highs and lows.

    Formula: sqrt(mean of ln(high / low)^2 / (4 ln 2) x `periods`) over the last `window` bars.
    Parameters: window >= 1; periods = bars in a year.
    Warm-up: `window` bars.
    Source: M. Parkinson, The Extreme Value Method for Estimating the Variance of the Rate of
    Return, Journal of Business 53 (1980), pp. 61-65.
    Equals: the formula over each window, in NumPy; TA-Lib and ta have none.
    Example: highs 110, 110, lows 100, 100, window 2, periods 1: 0.09531 / sqrt(2.7726) = 0.05724.
    """
    width = math.log(high / low)
    return math.sqrt(max(sma(state, width * width, window), 0.0) * _PARKINSON * periods)


def garman_klass_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `garman_klass` for windows up to `max_window`."""
    return sma_state(max_window)


@compiled
def garman_klass(
    state: Any, open: float, high: float, low: float, close: float, window: int, periods: float
) -> float:
    """Return the annualised volatility from whole bars, without the nights.

    Formula: sqrt(mean of (ln(high / low)^2 / 2 - (2 ln 2 - 1) ln(close / open)^2) x `periods`)
    over the last `window` bars; 0 where the mean is below 0.
    Parameters: window >= 1; periods = bars in a year.
    Warm-up: `window` bars.
    Source: M. B. Garman, M. J. Klass, On the Estimation of Security Price Volatilities from
    Historical Data, Journal of Business 53 (1980), pp. 67-78, their practical estimator.
    Equals: the formula over each window, in NumPy; TA-Lib and ta have none.
    Example: one bar 100, 110, 100, 100 (open, high, low, close), window 1, periods 1:
    0.09531 / sqrt(2) = 0.06740.
    """
    width = math.log(high / low)
    move = math.log(close / open)
    value = sma(state, 0.5 * width * width - _GARMAN_KLASS * move * move, window)
    return math.nan if math.isnan(value) else math.sqrt(max(value, 0.0) * periods)


def yang_zhang_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `yang_zhang` for windows up to `max_window`."""
    return np.dtype(
        [
            ("nights", moments_state(max_window)),
            ("days", moments_state(max_window)),
            ("ranges", sma_state(max_window)),
            ("close", "f8"),
        ],
        align=True,
    )


@compiled
def yang_zhang(
    state: Any, open: float, high: float, low: float, close: float, window: int, periods: float
) -> float:
    """Return the annualised volatility from whole bars and the gaps between them.

    Formula: sqrt((V(night) + k V(day) + (1 - k) R) x `periods`): V sample variances over the last
    n = `window` bars of ln(open / previous close) and of ln(close / open), R the mean of
    ln(high / close) ln(high / open) + ln(low / close) ln(low / open), k = 0.34 / (1.34 + (n + 1) /
    (n - 1)). The first bar has no night and is left out.
    Parameters: window >= 2; periods = bars in a year.
    Warm-up: `window + 1` bars.
    Source: D. Yang, Q. Zhang, Drift-Independent Volatility Estimation Based on High, Low, Open,
    and Close Prices, Journal of Business 73 (2000), pp. 477-491.
    Equals: the formula over each window, in NumPy; TA-Lib and ta have none.
    Example: closes all 100, bars (open, high, low) (100, 100, 100) twice, (110, 110, 100), window
    2, periods 1: V(night) = V(day) = 0.004542, R = 0, k = 0.07834: sqrt(0.004898) = 0.06998.
    """
    before = state.close
    state.close = close
    if before == 0.0:
        return math.nan
    up = math.log(high / close) * math.log(high / open)
    down = math.log(low / close) * math.log(low / open)
    _, nights = moments(state.nights, math.log(open / before), window)
    _, days = moments(state.days, math.log(close / open), window)
    ranges = sma(state.ranges, up + down, window)
    if math.isnan(ranges):
        return math.nan
    k = 0.34 / (1.34 + (window + 1.0) / (window - 1.0))
    variance = (nights + k * days) / (window - 1.0) + (1.0 - k) * max(ranges, 0.0)
    return math.sqrt(variance * periods)
