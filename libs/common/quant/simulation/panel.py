"""A universe at one time: the loop of strategies that look at many symbols at once."""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from numba import types

from libs.common.quant.compile import compiled, compiled_as
from libs.common.quant.simulation.loop import CHANGED, INVALID, QUIET, clear, judge
from libs.common.quant.simulation.records import BAR, DECISION

STATED: Final = np.dtype(
    [
        ("symbol", "i8"),
        ("index", "i8"),
        ("ts", "i8"),
        *((name, "f8") for name in DECISION.names or ()),
    ],
    align=True,
)
"""A signal out of the loop: which symbol (its place in the universe), the index of its last bar
among its bars, the time of the universe, then DECISION's fields."""

# What the loop came back with.
DONE: Final = 0
FULL: Final = 1


def panel_memory(state: np.dtype[np.void], symbols: int) -> np.dtype[np.void]:
    """Return the record of all that a strategy on `symbols` symbols remembers.

    `state` is the strategy's own, `stated` each symbol's last stated decision (target NaN: none
    yet), `last` each symbol's last bar (before the first: ts 0, prices NaN), `bars` the number of
    times stepped over, `ts` the last of them.
    """
    return np.dtype(
        [
            ("state", state),
            ("stated", DECISION, (symbols,)),
            ("last", BAR, (symbols,)),
            ("bars", "i8"),
            ("ts", "i8"),
        ],
        align=True,
    )


@compiled
def clear_all(decisions: Any) -> None:
    """Make every decision one without an opinion."""
    for i in range(decisions.shape[0]):
        clear(decisions[i])


@compiled
def judge_all(stated: Any, last: Any, decisions: Any, marks: Any) -> int:
    """Judge each symbol's decision; returns INVALID if one is, CHANGED if one is news, or QUIET.

    A symbol without a bar so far cannot be traded: what is decided on it is not stated.
    """
    found = QUIET
    for i in range(decisions.shape[0]):
        marks[i] = QUIET
        if last[i].ts == 0:
            continue
        marks[i] = judge(stated[i], decisions[i])
        if marks[i] == INVALID:
            return INVALID
        if marks[i] == CHANGED:
            found = CHANGED
    return found


@compiled
def _note(row: Any, symbol: int, index: int, ts: int, decision: Any) -> None:
    row.symbol = symbol
    row.index = index
    row.ts = ts
    row.target = decision.target
    row.stop = decision.stop
    row.take_profit = decision.take_profit
    row.limit = decision.limit
    row.confidence = decision.confidence
    row.rebalance = decision.rebalance


def _loop(
    step: Any,
    state: Any,
    last: Any,
    stated: Any,
    counts: Any,
    bars: Any,
    ends: Any,
    cursors: Any,
    params: Any,
    decisions: Any,
    marks: Any,
    found: Any,
) -> int:
    symbols = ends.shape[0]
    counts[2] = 0
    while counts[2] + symbols <= found.shape[0]:
        now = np.iinfo(np.int64).max
        for s in range(symbols):
            if cursors[s] < ends[s]:
                now = min(now, bars[cursors[s]].ts)
        if now == np.iinfo(np.int64).max:
            return DONE
        for s in range(symbols):
            if cursors[s] < ends[s] and bars[cursors[s]].ts == now:
                last[s] = bars[cursors[s]]
                cursors[s] += 1
        clear_all(decisions)
        step(state, last, params, decisions)
        counts[0] += 1
        counts[1] = now
        mark = judge_all(stated, last, decisions, marks)
        if mark == INVALID:
            return INVALID
        if mark == CHANGED:
            for s in range(symbols):
                if marks[s] == CHANGED:
                    start = ends[s - 1] if s else 0
                    _note(found[counts[2]], s, cursors[s] - 1 - start, now, decisions[s])
                    counts[2] += 1
    return FULL


def panel_signature(state: np.dtype[np.void], params: np.dtype[np.void]) -> Any:
    """Return Numba's signature of a step over a universe."""
    return types.void(
        numba.from_dtype(state),
        numba.from_dtype(BAR)[::1],
        numba.from_dtype(params),
        numba.from_dtype(DECISION)[::1],
    )


def build_panel_loop(state: np.dtype[np.void], params: np.dtype[np.void]) -> Any:
    """Return the compiled loop for strategies over a universe with these records.

    `loop(step, state, last, stated, counts, bars, ends, cursors, params, decisions, marks, found)`
    merges the symbols' bars by time and steps once a time. Shapes for S symbols and n bars in all:
    `last` (S, BAR), `stated` and `decisions` (S, DECISION), `counts` (3, i8: times stepped over,
    the last of them, rows found), `bars` (n, BAR: the symbols' bars one after the other), `ends`
    (S, i8: where each one's end), `cursors` (S, i8: each one's next), `marks` (S, i8), `found` (at
    least S rows of STATED). Returns DONE, FULL (make room and call again: it goes on where it
    was), or INVALID: `marks` says at which symbol.
    """
    index = types.int64[::1]
    signature = types.int64(
        types.FunctionType(panel_signature(state, params)),
        numba.from_dtype(state),
        numba.from_dtype(BAR)[::1],
        numba.from_dtype(DECISION)[::1],
        index,
        numba.from_dtype(BAR)[::1],
        index,
        index,
        numba.from_dtype(params),
        numba.from_dtype(DECISION)[::1],
        types.int8[::1],
        numba.from_dtype(STATED)[::1],
    )
    return compiled_as(signature, _loop)
