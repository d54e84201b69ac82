"""Moving average convergence-divergence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.averages import ema, ema_state


def macd_state() -> np.dtype[np.void]:
    """Return the state of `macd`."""
    return np.dtype(
        [("fast", ema_state()), ("slow", ema_state()), ("signal", ema_state()), ("count", "i8")],
        align=True,
    )


@compiled
def macd(state: Any, close: float, fast: int, slow: int, signal: int) -> tuple[float, float, float]:
    """Return (line, signal line, histogram) in the unit of the price.

    Formula: line = EMA(fast) - EMA(slow) of the closes; signal line = EMA(signal) of the line;
    histogram = line - signal line. Both averages of the closes are first defined on bar number
    `slow`, the fast one seeded with the mean of the `fast` closes up to there.
    Parameters: fast < slow, signal >= 1; Appel's are 12, 26, 9.
    Warm-up: `slow + signal - 1` bars; the line alone `slow`.
    Source: G. Appel, Technical Analysis: Power Tools for Active Investors (2005), ch. 8.
    Equals: TA-Lib `MACD`, which gives the line too only when the signal is there; ta `MACD` once
    the seeds have decayed: its averages begin with the first close.
    Example: closes 1, 2, 6, 6 with (1, 2, 2): line 0.5, 1.5, 0.5 from bar 2 on; signal line 1.0 on
    bar 3, then 1 + (0.5 - 1) x 2/3 = 0.667; histogram -0.167.
    """
    state.count += 1
    quick = math.nan
    if state.count > slow - fast:
        quick = ema(state.fast, close, fast)
    line = quick - ema(state.slow, close, slow)
    if math.isnan(line):
        return math.nan, math.nan, math.nan
    smoothed = ema(state.signal, line, signal)
    return line, smoothed, line - smoothed
