"""Volume: on-balance volume, money flow index."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.indicators.windows import push, ring_state

ROUNDING: Final = 1e-12
"""Relative change of a price that is nothing but the rounding of its sum."""


def obv_state() -> np.dtype[np.void]:
    """Return the state of `obv`."""
    return np.dtype([("total", "f8"), ("close", "f8"), ("count", "i8")], align=True)


@compiled
def obv(state: Any, close: float, volume: float) -> float:
    """Return the on-balance volume in shares.

    Formula: the sum of volumes, each with the sign of the close's change; the first bar counts
    as a rise. Only its changes mean something.
    Parameters: none.
    Warm-up: `1` bar.
    Source: J. E. Granville, Granville's New Key to Stock Market Profits (1963).
    Equals: TA-Lib `OBV`. ta `on_balance_volume` adds the volume of unchanged closes as well:
    another definition.
    Example: closes 10, 11, 11, 9 with volumes 5, 6, 7, 8: 5, 11, 11, 3.
    """
    if state.count == 0 or close > state.close:
        state.total += volume
    elif close < state.close:
        state.total -= volume
    state.count = 1
    state.close = close
    return float(state.total)


def mfi_state(max_window: int) -> np.dtype[np.void]:
    """Return the state of `mfi` for windows up to `max_window`."""
    return np.dtype(
        [
            ("flows", ring_state(max_window)),
            ("rising", "f8"),
            ("falling", "f8"),
            ("rises", "i8"),
            ("falls", "i8"),
            ("typical", "f8"),
        ],
        align=True,
    )


@compiled
def mfi(state: Any, high: float, low: float, close: float, volume: float, window: int) -> float:
    """Return the money flow index in [0, 100].

    Formula: 100 x P / (P + N): sums of p x volume, p = (high + low + close) / 3, over those of
    the last `window` bars where p rose (P) and where it fell (N). A change below 1e-12 of the
    price is rounding, not a change. NaN where there was no flow. Running sums, made anew each time
    the ring has gone round.
    Parameters: window >= 1; Quong and Soudack's is 14.
    Warm-up: `window + 1` bars.
    Source: G. Quong, A. Soudack, Volume-Weighted RSI: Money Flow, Technical Analysis of Stocks &
    Commodities 7:3 (1989), pp. 76-77.
    Equals: TA-Lib `MFI`, which says 0 where P + N < 1; ta `money_flow_index` except where it takes
    a rounding error for a change.
    Example: typical prices 10, 11, 10 with volumes 1, 2, 3, window 2: P 22, N 30, 42.31.
    """
    typical = (high + low + close) / 3.0
    before = state.typical
    state.typical = typical
    if before == 0.0:
        return math.nan
    flow = 0.0
    if typical - before > ROUNDING * typical:
        flow = typical * volume
    elif before - typical > ROUNDING * typical:
        flow = -typical * volume
    flows = state.flows
    left = push(flows, flow, window)
    if flow > 0.0:
        state.rises += 1
        state.rising += flow
    elif flow < 0.0:
        state.falls += 1
        state.falling -= flow
    if left > 0.0:
        state.rises -= 1
        state.rising -= left
    elif left < 0.0:
        state.falls -= 1
        state.falling += left
    if flows.head == 0:
        state.rising = 0.0
        state.falling = 0.0
        for i in range(window):
            state.rising += max(flows.values[i], 0.0)
            state.falling += max(-flows.values[i], 0.0)
    if flows.count < window:
        return math.nan
    # The counts, not the sums, know exactly whether anything is there.
    rising = state.rising if state.rises > 0 else 0.0
    falling = state.falling if state.falls > 0 else 0.0
    return float(100.0 * rising / (rising + falling))
