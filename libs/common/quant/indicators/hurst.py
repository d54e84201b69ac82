"""Hurst exponent."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.windows import push, ring_state

LAGS: Final = 5
"""How many lags: 1, 2, 4, 8, 16 bars."""


def hurst_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `hurst` for windows up to `max_window`."""
    return np.dtype(
        [("ring", ring_state(max_window)), ("sums", "f8", (LAGS,)), ("last", "f8"), ("same", "i8")],
        align=True,
    )


@compiled
def _square(ring: Any, at: int, lag: int, window: int) -> float:
    """Return the squared difference of the values `at` and `lag` places before it."""
    before = at - lag
    if before < 0:
        before += window
    distance = ring.values[at] - ring.values[before]
    return float(distance * distance)


@compiled
def hurst(state: Any, price: float, window: int) -> float:
    """Return the generalised Hurst exponent (q = 2) of the log prices.

    Formula: half the slope of the least-squares line of ln M(t) on ln t over the lags t = 1, 2, 4,
    8, 16, M(t) = mean of (ln p_i - ln p_(i-t))^2 over the last `window` prices. 0.5: a random walk;
    above: trending; below: reverting. NaN where a lag saw no move at all. Five running sums, made
    anew each time the ring has gone round.
    Parameters: window >= 32; below 250 its error is about 0.1 and more.
    Warm-up: `window` bars.
    Source: T. Di Matteo, Multi-scaling in Finance, Quantitative Finance 7 (2007), pp. 21-36, eq. 1
    and 2, with q = 2 and dyadic lags.
    Equals: the formula over each window, in NumPy; TA-Lib and ta have none.
    Example: prices that grow by the same factor each bar: M(t) = t^2 M(1), so 1.0.
    """
    ring = state.ring
    value = math.log(price)
    state.same = state.same + 1 if price == state.last else 1
    state.last = price
    at = ring.head
    full = ring.count == window
    if full:
        for k in range(LAGS):
            lag = 1 << k
            partner = at + lag
            if partner >= window:
                partner -= window
            state.sums[k] -= _square(ring, partner, lag, window)
    push(ring, value, window)
    for k in range(LAGS):
        lag = 1 << k
        if ring.count > lag:
            state.sums[k] += _square(ring, at, lag, window)
    if ring.head == 0:
        for k in range(LAGS):
            state.sums[k] = 0.0
            for i in range(1 << k, window):
                state.sums[k] += _square(ring, i, 1 << k, window)
    if ring.count < window or state.same >= window:
        return math.nan
    # Over ln t = 0 ... 4 in units of ln 2 the slope is the sum of (k - 2) y_k over 10.
    slope = 0.0
    for k in range(LAGS):
        mean = state.sums[k] / (window - (1 << k))
        if not mean > 0.0:
            return math.nan
        slope += (k - 2) * math.log(mean)
    return 0.5 * slope / (10.0 * math.log(2.0))
