"""What the bars before say of a symbol: volatility and volume."""

from __future__ import annotations

import math
from typing import Any

from libs.common.quant.compile import compiled


@compiled
def deviation(tape: Any, slots: Any, since: int, last: int, window: int) -> float:
    """Return the sample standard deviation of the log returns of the `window` bars up to `last`.

    `slots` are the symbol's places on the tape. Fewer returns where the history from bar `since`
    (the last split) is shorter; NaN below min(window, 20) of them, the least that the risk manager
    takes.
    """
    first = max(since, last - window)
    count = last - first
    if count < min(window, 20):
        return math.nan
    mean = math.log(tape[slots[last]].close / tape[slots[first]].close) / count
    squares = 0.0
    for i in range(first + 1, last + 1):
        value = math.log(tape[slots[i]].close / tape[slots[i - 1]].close) - mean
        squares += value * value
    return math.sqrt(squares / (count - 1))


@compiled
def mean_volume(tape: Any, slots: Any, since: int, last: int, window: int) -> float:
    """Return the mean volume of the `window` bars up to `last`: of fewer at first, 0 of none."""
    first = max(since, last - window + 1)
    if last < first:
        return 0.0
    total = 0.0
    for i in range(first, last + 1):
        total += tape[slots[i]].volume
    return total / (last - first + 1)
