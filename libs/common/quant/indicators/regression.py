"""Straight line through a window; correlation and beta of two series."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.windows import push, ring_state


def regression_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `regression` for windows up to `max_window`."""
    sums = ("anchor", "total", "product", "squares", "last")
    return np.dtype(
        [("ring", ring_state(max_window)), *((name, "f8") for name in sums), ("same", "i8")],
        align=True,
    )


@compiled
def regression(state: Any, value: float, window: int) -> tuple[float, float, float]:
    """Return (slope a bar, intercept, r2) of the least-squares line through the window.

    Formula: value = intercept + slope x i + error over i = 0 (oldest) ... n - 1 (newest), n =
    `window`; r2 = 1 - residual / total sum of squares, NaN where all values are equal. Running
    sums of distances to an anchor, made anew each time the ring has gone round.
    Parameters: window >= 2.
    Warm-up: `window` bars.
    Source: N. R. Draper, H. Smith, Applied Regression Analysis (3rd ed. 1998), sec. 1.2 and 1.3.
    Equals: TA-Lib `LINEARREG_SLOPE`, `LINEARREG_INTERCEPT`; r2 statsmodels `OLS`.
    Example: values 1, 2, 6 with window 3: slope 2.5, intercept 0.5, r2 = 12.5 / 14 = 0.8929.
    """
    ring = state.ring
    if ring.count == 0:
        state.anchor = value
    state.same = state.same + 1 if value == state.last else 1
    state.last = value
    left = push(ring, value, window)
    if ring.head == 0:
        state.anchor = value
        state.total = 0.0
        state.product = 0.0
        state.squares = 0.0
        for i in range(window):
            distance = ring.values[i] - value
            state.total += distance
            state.product += i * distance
            state.squares += distance * distance
    else:
        distance = value - state.anchor
        if math.isnan(left):
            state.product += (ring.count - 1) * distance
        else:
            old = left - state.anchor
            state.total -= old
            state.squares -= old * old
            state.product += (window - 1) * distance - state.total
        state.total += distance
        state.squares += distance * distance
    if ring.count < window:
        return math.nan, math.nan, math.nan
    if state.same >= window:
        return 0.0, value, math.nan
    middle = 0.5 * (window - 1.0)
    spread = window * (window * window - 1.0) / 12.0
    shared = state.product - middle * state.total
    slope = shared / spread
    mean = state.total / window
    squares = state.squares - state.total * mean
    r2 = min(slope * shared / squares, 1.0) if squares > 0.0 else math.nan
    return slope, state.anchor + mean - slope * middle, r2


def correlation_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `correlation` for windows up to `max_window`."""
    sums = ("x_anchor", "y_anchor", "x", "y", "xx", "yy", "xy", "x_last", "y_last")
    return np.dtype(
        [
            ("xs", ring_state(max_window)),
            ("ys", ring_state(max_window)),
            *((name, "f8") for name in sums),
            ("x_same", "i8"),
            ("y_same", "i8"),
        ],
        align=True,
    )


@compiled
def _count_in(state: Any, x: float, y: float, sign: float) -> None:
    dx = x - state.x_anchor
    dy = y - state.y_anchor
    state.x += sign * dx
    state.y += sign * dy
    state.xx += sign * dx * dx
    state.yy += sign * dy * dy
    state.xy += sign * dx * dy


@compiled
def correlation(state: Any, x: float, y: float, window: int) -> tuple[float, float]:
    """Return (correlation, beta of y on x) of two series.

    Formula: over the last `window` pairs: correlation = cov(x, y) / sqrt(var x x var y), NaN where
    either is constant (TA-Lib says 0); beta = cov(x, y) / var x, NaN where x is constant. For the
    beta of a share give returns: x the market's, y the share's. Running sums of distances to
    anchors, made anew each time the ring has gone round.
    Parameters: window >= 2.
    Warm-up: `window` bars.
    Source: K. Pearson, Note on Regression and Inheritance in the Case of Two Parents, Proceedings
    of the Royal Society 58 (1895), pp. 240-242; beta: W. F. Sharpe, Capital Asset Prices, Journal
    of Finance 19 (1964), pp. 425-442.
    Equals: TA-Lib `CORREL`, and `BETA`, which is given prices and takes their returns; pandas
    rolling corr and cov / var.
    Example: x 1, 2, 3, y 2, 4, 5 with window 3: beta 3 / 2 = 1.5, correlation 1.5 / sqrt(1 x
    2.333) = 0.9820.
    """
    xs = state.xs
    ys = state.ys
    if xs.count == 0:
        state.x_anchor = x
        state.y_anchor = y
    state.x_same = state.x_same + 1 if x == state.x_last else 1
    state.y_same = state.y_same + 1 if y == state.y_last else 1
    state.x_last = x
    state.y_last = y
    x_left = push(xs, x, window)
    y_left = push(ys, y, window)
    if xs.head == 0:
        state.x_anchor = x
        state.y_anchor = y
        state.x = state.y = state.xx = state.yy = state.xy = 0.0
        for i in range(window):
            _count_in(state, xs.values[i], ys.values[i], 1.0)
    else:
        _count_in(state, x, y, 1.0)
        if not math.isnan(x_left):
            _count_in(state, x_left, y_left, -1.0)
    spread_x = state.xx - state.x * state.x / window
    spread_y = state.yy - state.y * state.y / window
    # Below 0 by rounding only: then nothing of a spread is left either.
    if xs.count < window or state.x_same >= window or spread_x <= 0.0:
        return math.nan, math.nan
    if state.y_same >= window or spread_y <= 0.0:
        return math.nan, 0.0
    shared = state.xy - state.x * state.y / window
    likeness = shared / math.sqrt(spread_x * spread_y)
    return max(-1.0, min(1.0, likeness)), shared / spread_x
