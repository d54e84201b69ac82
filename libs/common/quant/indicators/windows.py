"""What the windowed indicators stand on: a ring, rolling extremes, rolling moments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled


def ring_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `push`: the last values, for windows up to `max_window`."""
    return np.dtype([("values", "f8", (max_window,)), ("head", "i8"), ("count", "i8")], align=True)


@compiled
def push(ring: Any, value: float, window: int) -> float:
    """Put `value` into the ring; return the one that left, NaN while the ring was filling.

    `ring.count` is then the number of values held, `ring.head` the place of the oldest once the
    ring is full; it is 0 whenever the ring has just gone round.
    """
    left = math.nan
    if ring.count < window:
        ring.count += 1
    else:
        left = ring.values[ring.head]
    ring.values[ring.head] = value
    ring.head += 1
    if ring.head == window:
        ring.head = 0
    return float(left)


def extreme_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `rolling_max` or `rolling_min` for windows up to `max_window`."""
    return np.dtype(
        [
            ("values", "f8", (max_window,)),
            ("places", "i8", (max_window,)),
            ("head", "i8"),
            ("count", "i8"),
            ("extreme", "f8"),
            ("place", "i8"),
            ("found", "i8"),
        ],
        align=True,
    )


@compiled
def rolling_max(state: Any, value: float, window: int) -> float:
    """Return the greatest of the last `window` values.

    Formula: max of the last `window` values. Time is cut into blocks of `window` bars: the
    greatest of a block's later part is prepared when the block is full, that of the present block
    is kept as it grows, and the greater of the two is the answer. So a bar costs one comparison,
    the last of a block `window` more, and nothing depends on the prices' path.
    Parameters: window >= 1.
    Warm-up: `window` bars.
    Source: M. van Herk, A Fast Algorithm for Local Minimum and Maximum Filters on Rectangular and
    Octagonal Kernels, Pattern Recognition Letters 13 (1992), pp. 517-521.
    Equals: TA-Lib `MAX`, to the bit.
    Example: values 3, 1, 2, 0 with window 2: NaN, 3, 2, 2.
    """
    head = state.head
    # Of equal values the latest counts as the place of the extreme.
    if head == 0 or value >= state.extreme:
        state.extreme = value
        state.place = state.count
    state.values[head] = value
    state.places[head] = state.count
    state.count += 1
    head += 1
    greatest = state.extreme
    place = state.place
    if head == window:
        head = 0
        for i in range(window - 2, -1, -1):
            if state.values[i + 1] >= state.values[i]:
                state.values[i] = state.values[i + 1]
                state.places[i] = state.places[i + 1]
    elif state.count > window and state.values[head] > greatest:
        greatest = state.values[head]
        place = state.places[head]
    state.head = head
    state.found = place
    return float(greatest) if state.count >= window else math.nan


@compiled
def rolling_min(state: Any, value: float, window: int) -> float:
    """Return the least of the last `window` values.

    Formula: min of the last `window` values, as -`rolling_max` of the values' negatives.
    Parameters: window >= 1.
    Warm-up: `window` bars.
    Source: as `rolling_max`.
    Equals: TA-Lib `MIN`, to the bit.
    Example: values 3, 1, 2, 4 with window 2: NaN, 1, 1, 2.
    """
    return -rolling_max(state, -value, window)


@compiled
def extreme_age(state: Any) -> int:
    """Return how many bars ago the present extreme came, the latest of equal ones; 0 = now."""
    return int(state.count - 1 - state.found)


def moments_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `moments` for windows up to `max_window`."""
    return np.dtype(
        [
            ("ring", ring_state(max_window)),
            ("anchor", "f8"),
            ("total", "f8"),
            ("squares", "f8"),
            ("last", "f8"),
            ("same", "i8"),
        ],
        align=True,
    )


@compiled
def moments(state: Any, value: float, window: int) -> tuple[float, float]:
    """Return mean and sum of squared deviations from it, of the last `window` values.

    Before there are as many: of those there are. Sums are of distances to an anchor, a recent
    value, so that little is lost by cancellation; each time the ring has gone round the newest
    value becomes the anchor and the sums are made anew, so that errors do not pile up. Of equal
    values the squares are exactly 0.
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
        state.squares = 0.0
        for i in range(window):
            distance = ring.values[i] - value
            state.total += distance
            state.squares += distance * distance
    else:
        distance = value - state.anchor
        state.total += distance
        state.squares += distance * distance
        if not math.isnan(left):
            distance = left - state.anchor
            state.total -= distance
            state.squares -= distance * distance
    if state.same >= ring.count:
        return value, 0.0
    mean = state.total / ring.count
    return state.anchor + mean, max(state.squares - state.total * mean, 0.0)
