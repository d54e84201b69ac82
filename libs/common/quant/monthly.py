"""The last closes of months, for strategies that look once a month at a universe."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from libs.common.quant.calendar import month_of
from libs.common.quant.compile import compiled


def months_state(max_symbols: int, max_months: int) -> np.dtype[np.void]:
    """Return the state of `see` and `close_of`: each symbol's present month, its last close so far,
    and the closes of the last `max_months` months (`ends`, with the month that each is of)."""
    return np.dtype(
        [
            ("month", "i8", (max_symbols,)),
            ("close", "f8", (max_symbols,)),
            ("ends", "f8", (max_symbols, max_months)),
            ("of", "i8", (max_symbols, max_months)),
        ],
        align=True,
    )


@compiled
def see(state: Any, symbol: int, ts: int, close: float) -> None:
    """Take a bar's close; `symbol` is its place in the universe, `ts` in ns."""
    month = month_of(ts)
    before = state.month[symbol]
    if before != month and before != 0:
        place = before % state.of.shape[1]
        state.ends[symbol, place] = state.close[symbol]
        state.of[symbol, place] = before
    state.month[symbol] = month
    state.close[symbol] = close


@compiled
def close_of(state: Any, symbol: int, month: int) -> float:
    """Return the symbol's last close in `month` (see `month_of`), NaN where none is known."""
    if state.month[symbol] == month:
        return float(state.close[symbol])
    place = month % state.of.shape[1]
    if state.of[symbol, place] == month:
        return float(state.ends[symbol, place])
    return math.nan


@compiled
def see_all(state: Any, bars: Any) -> int:
    """Take the bars (BAR) that a universe brought at this time; return the month it is."""
    now = 0
    for i in range(len(bars)):
        now = max(now, bars[i].ts)
    for i in range(len(bars)):
        if bars[i].ts == now:
            see(state, i, now, bars[i].close)
    return month_of(now)
