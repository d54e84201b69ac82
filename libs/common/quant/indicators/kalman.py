"""Kalman filters: a level under noise, and the hedge ratio of a pair."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled


def kalman_level_state() -> np.dtype[np.void]:
    """Return the state of `kalman_level`."""
    return np.dtype([("level", "f8"), ("variance", "f8"), ("count", "i8")], align=True)


@compiled
def kalman_level(state: Any, value: float, ratio: float) -> float:
    """Return the filtered level of a local level model.

    Formula: value = level + noise, level = level before + shock, q = `ratio` = var(shock) /
    var(noise). P = P + q (both in units of var(noise)), gain K = P / (P + 1), level += K x (value -
    level), P = P (1 - K). Diffuse start: the first level is the first value, P = 1.
    Parameters: ratio > 0; the smaller, the smoother.
    Warm-up: `1` bar.
    Source: J. Durbin, S. J. Koopman, Time Series Analysis by State Space Methods (2nd ed. 2012),
    sec. 2.2, eq. 2.15; the start sec. 2.9.
    Equals: statsmodels `KalmanFilter` with the same matrices.
    Example: values 1, 2 with ratio 1: P = 2, K = 2/3, level 1.667.
    """
    if state.count == 0:
        state.count = 1
        state.level = value
        state.variance = 1.0
        return value
    variance = state.variance + ratio
    gain = variance / (variance + 1.0)
    state.level += gain * (value - state.level)
    state.variance = variance * (1.0 - gain)
    return float(state.level)


def kalman_hedge_state() -> np.dtype[np.void]:
    """Return the state of `kalman_hedge`."""
    names = ("slope", "intercept", "slope_variance", "covariance", "intercept_variance")
    return np.dtype([(name, "f8") for name in names], align=True)


@compiled
def kalman_hedge(
    state: Any, x: float, y: float, drift: float, noise: float
) -> tuple[float, float, float, float]:
    """Return (hedge ratio, intercept, forecast error, its standard deviation) of y on x.

    Formula: y = slope x x + intercept + error, both coefficients a random walk. With b = (slope,
    intercept), h = (x, 1): R = P + drift / (1 - drift) I; error e = y - h b; Q = h R h' + noise;
    K = R h' / Q; b += K e; P = R - K h R. Begins with b = 0, P = 0. e / sqrt(Q) is the pair's
    z-score.
    Parameters: 0 < drift < 1 (Chan: 0.0001); noise = variance of the error > 0 (Chan: 0.001).
    Warm-up: `1` bar; the ratio means something after a few dozen.
    Source: E. P. Chan, Algorithmic Trading (2013), ch. 3, "Kalman filter as dynamic linear
    regression".
    Equals: statsmodels `KalmanFilter` with the same matrices.
    Example: x 1, y 2, drift 0.5, noise 1: R = I, e = 2, Q = 3, K = (1/3, 1/3): (0.667, 0.667, 2,
    1.732).
    """
    shock = drift / (1.0 - drift)
    slope_variance = state.slope_variance + shock
    intercept_variance = state.intercept_variance + shock
    covariance = state.covariance
    to_slope = slope_variance * x + covariance
    to_intercept = covariance * x + intercept_variance
    variance = to_slope * x + to_intercept + noise
    error = y - state.slope * x - state.intercept
    slope_gain = to_slope / variance
    intercept_gain = to_intercept / variance
    state.slope += slope_gain * error
    state.intercept += intercept_gain * error
    state.slope_variance = slope_variance - slope_gain * to_slope
    state.covariance = covariance - slope_gain * to_intercept
    state.intercept_variance = intercept_variance - intercept_gain * to_intercept
    return state.slope, state.intercept, error, math.sqrt(variance)
