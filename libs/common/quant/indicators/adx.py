"""Directional movement: ADX, +DI, -DI."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.compile import compiled


def adx_state() -> np.dtype[np.void]:
    """Return the state of `adx`."""
    names = ("high", "low", "close", "plus", "minus", "range", "average")
    return np.dtype([*((name, "f8") for name in names), ("count", "i8")], align=True)


@compiled
def adx(
    state: Any, high: float, low: float, close: float, window: int
) -> tuple[float, float, float]:
    """Return (ADX, +DI, -DI), each in [0, 100].

    Formula: +DM = high - previous high if that is above 0 and above previous low - low, else 0;
    -DM the other way round; TR as in `atr`. Each is summed as S - S / n + new (n = `window`), S
    begun with the sum of n - 1 bars. +DI = 100 x S(+DM) / S(TR), -DI likewise, 0 where S(TR) = 0;
    DX = 100 x |+DI - -DI| / (+DI + -DI); ADX = Wilder's average of DX, begun with the mean of n,
    and left as it is on a bar without DX (both DI 0).
    Parameters: window >= 2; Wilder's is 14.
    Warm-up: `2 * window` bars; the DI `window + 1`.
    Source: J. W. Wilder, New Concepts in Technical Trading Systems (1978), pp. 35-47; the sums
    begin as in TA-Lib, one bar before Wilder's.
    Equals: TA-Lib `ADX`, `PLUS_DI`, `MINUS_DI`; ta `ADXIndicator` once the seed has decayed.
    Example: bars (10, 8, 9), (12, 9, 11), (13, 11, 12), (13, 10, 11), window 2. Bar 2: +DM 2, TR 3;
    bar 3: sums +DM 1 + 1 = 2, TR 1.5 + 2 = 3.5, +DI 57.14, -DI 0, DX 100; bar 4: +DM 1, -DM 1,
    TR 4.75, +DI = -DI = 21.05, DX 0, ADX 50.
    """
    state.count += 1
    if state.count > 1:
        up = high - state.high
        down = state.low - low
        keep = 0.0 if state.count <= window else 1.0 / window
        state.plus += (up if up > 0.0 and up > down else 0.0) - state.plus * keep
        state.minus += (down if down > 0.0 and down > up else 0.0) - state.minus * keep
        state.range += max(high, state.close) - min(low, state.close) - state.range * keep
    state.high = high
    state.low = low
    state.close = close
    if state.count <= window:
        return math.nan, math.nan, math.nan
    plus = 100.0 * state.plus / state.range if state.range > 0.0 else 0.0
    minus = 100.0 * state.minus / state.range if state.range > 0.0 else 0.0
    moved = plus + minus > 0.0
    index = 100.0 * abs(plus - minus) / (plus + minus) if moved else 0.0
    if state.count <= 2 * window:
        state.average += index / window
    elif moved:
        state.average += (index - state.average) / window
    if state.count < 2 * window:
        return math.nan, plus, minus
    return state.average, plus, minus
