"""Rate of change."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.windows import push, ring_state


def roc_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `roc` for windows up to `max_window`."""
    return ring_state(max_window)


@compiled
def roc(state: Any, close: float, window: int) -> float:
    """Return the rate of change in percent.

    Formula: 100 x (close / close `window` bars before - 1).
    Parameters: window >= 1.
    Warm-up: `window + 1` bars.
    Source: J. J. Murphy, Technical Analysis of the Financial Markets (1999), ch. 10, "Measuring
    rate of change".
    Equals: TA-Lib `ROC`; ta `roc`.
    Example: closes 100, 101, 110 with window 2: 100 x (1.1 - 1) = 10.
    """
    before = push(state, close, window)
    return float(100.0 * (close / before - 1.0))
