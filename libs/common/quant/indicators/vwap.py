"""Volume-weighted average price: of a session, and of a window."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.windows import push, ring_state


def vwap_state() -> np.dtype[np.void]:
    """Return the state of `vwap`."""
    return np.dtype(
        [("session", "i8"), ("volume", "f8"), ("price", "f8"), ("squares", "f8"), ("bars", "i8")],
        align=True,
    )


@compiled
def vwap(
    state: Any, high: float, low: float, close: float, volume: float, session: int
) -> tuple[float, float]:
    """Return (average price of the session so far, its standard deviation).

    Formula: p = (high + low + close) / 3; average m = sum of p x volume / sum of volume over the
    session's bars; deviation = sqrt(sum of volume x (p - m)^2 / sum of volume). `session` is any
    number that changes when a session begins (its day). NaN before the session's first volume.
    Updated by West's recurrence, which does not lose small deviations to large prices.
    Parameters: none.
    Warm-up: `1` bar with volume.
    Source: S. A. Berkowitz, D. E. Logue, E. A. Noser, The Total Cost of Transactions on the NYSE,
    Journal of Finance 43 (1988), pp. 97-112; the recurrence: D. H. D. West, Communications of the
    ACM 22 (1979), pp. 532-535.
    Equals: TA-Lib `VWAP` over one session.
    Example: typical prices 10, 13 with volumes 2, 1: average 11, deviation sqrt((2 + 4) / 3) =
    1.414.
    """
    if state.bars == 0 or session != state.session:
        state.session = session
        state.volume = 0.0
        state.price = 0.0
        state.squares = 0.0
        state.bars = 0
    state.bars += 1
    if volume > 0.0:
        distance = (high + low + close) / 3.0 - state.price
        state.squares += distance * distance * volume * state.volume / (state.volume + volume)
        state.volume += volume
        state.price += distance * volume / state.volume
    if state.volume == 0.0:
        return math.nan, math.nan
    return state.price, math.sqrt(state.squares / state.volume)


def rolling_vwap_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `rolling_vwap` for windows up to `max_window`."""
    return np.dtype(
        [
            ("prices", ring_state(max_window)),
            ("volumes", ring_state(max_window)),
            ("flow", "f8"),
            ("volume", "f8"),
            ("traded", "i8"),
        ],
        align=True,
    )


@compiled
def rolling_vwap(
    state: Any, high: float, low: float, close: float, volume: float, window: int
) -> float:
    """Return the volume-weighted average price of the last bars.

    Formula: sum of p x volume / sum of volume over the last `window` bars, p = (high + low +
    close) / 3; NaN where nothing was traded. Running sums, made anew each time the ring has gone
    round.
    Parameters: window >= 1.
    Warm-up: `window` bars.
    Source: as `vwap`.
    Equals: ta `volume_weighted_average_price`; TA-Lib has none.
    Example: typical prices 10, 13 with volumes 2, 1, window 2: (20 + 13) / 3 = 11.
    """
    prices = state.prices
    volumes = state.volumes
    typical = (high + low + close) / 3.0
    price_left = push(prices, typical, window)
    volume_left = push(volumes, volume, window)
    state.flow += typical * volume
    state.volume += volume
    state.traded += volume > 0.0
    if not math.isnan(volume_left):
        state.flow -= price_left * volume_left
        state.volume -= volume_left
        state.traded -= volume_left > 0.0
    if prices.head == 0:
        state.flow = 0.0
        state.volume = 0.0
        for i in range(window):
            state.flow += prices.values[i] * volumes.values[i]
            state.volume += volumes.values[i]
    if prices.count < window or state.traded == 0:
        return math.nan
    return float(state.flow / state.volume)
