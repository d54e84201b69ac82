"""Average true range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.averages import wilder, wilder_state


def atr_state() -> np.dtype[np.void]:
    """Return the state of `atr`."""
    return np.dtype([("average", wilder_state()), ("close", "f8"), ("count", "i8")], align=True)


@compiled
def atr(state: Any, high: float, low: float, close: float, window: int) -> float:
    """Return the average true range in the unit of the price.

    Formula: `wilder` average of TR = max(high, previous close) - min(low, previous close). The
    first bar has no previous close and is left out.
    Parameters: window >= 1; Wilder's is 14.
    Warm-up: `window + 1` bars.
    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978), p. 21.
    Equals: TA-Lib `ATR`; ta `average_true_range` once the seed has decayed: it counts the first
    bar.
    Example: bars (high, low, close) (11, 9, 10), (12, 10, 11), (11, 8, 9) with window 2: ranges 2
    and 3, so 2.5.
    """
    if state.count == 0:
        state.count = 1
        state.close = close
        return math.nan
    true_range = max(high, state.close) - min(low, state.close)
    state.close = close
    return float(wilder(state.average, true_range, window))
