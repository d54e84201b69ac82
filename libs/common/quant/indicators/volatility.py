"""Realised volatility."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled


def volatility_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `realised_volatility` for windows up to `max_window`."""
    return np.dtype(
        [
            ("returns", "f8", (max_window,)),
            ("head", "i8"),
            ("count", "i8"),
            ("close", "f8"),
            ("total", "f8"),
            ("total_squares", "f8"),
        ],
        align=True,
    )


@compiled
def realised_volatility(state: Any, close: float, window: int, periods: float) -> float:
    """Return the annualised sample standard deviation of the last `window` log returns.

    `periods` is the number of bars in a year (252 for days). `window` >= 2; NaN until
    `window` + 1 closes were seen. Source: J. Hull, Options, Futures, and Other Derivatives,
    "Estimating volatility from historical data": s = sqrt(sum(u - mean(u))^2 / (n - 1)),
    divided by sqrt(tau), the bar's length in years. Closes 100, 110, 99, window 2, periods 1:
    returns 0.09531 and -0.10536, deviation 0.14190. Running sums, made anew each time the ring
    has gone round.
    """
    if state.close == 0.0:
        state.close = close
        return math.nan
    value = math.log(close / state.close)
    state.close = close
    if state.count < window:
        state.count += 1
    else:
        old = state.returns[state.head]
        state.total -= old
        state.total_squares -= old * old
    state.total += value
    state.total_squares += value * value
    state.returns[state.head] = value
    state.head += 1
    if state.head == window:
        state.head = 0
        state.total = 0.0
        state.total_squares = 0.0
        for i in range(window):
            state.total += state.returns[i]
            state.total_squares += state.returns[i] * state.returns[i]
    if state.count < window:
        return math.nan
    spread = state.total_squares - state.total * state.total / window
    return math.sqrt(max(spread, 0.0) / (window - 1.0) * periods)
