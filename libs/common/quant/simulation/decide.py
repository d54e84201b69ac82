"""The first phase of a backtest: a strategy stepped over all its bars, its signals kept.

The loop of `loop.py` keeps every decision and takes the step as a function pointer; here the step
is compiled into the loop, one loop a strategy, and only signals are written. The same source
without fast-math gives the same bits, as the tests prove.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np
from numba import types

from libs.common.quant.compile import compiled, specialised
from libs.common.quant.simulation.loop import CHANGED, INVALID, QUIET, clear, copy, judge
from libs.common.quant.simulation.records import BAR, DECISION, PLAIN_SIGNAL, SIGNAL, joined
from libs.common.quant.simulation.scratch import scratch
from libs.common.quant.unowned import fleeting

# Signals that are taken out at a time.
_ROOM: Final = 8192


@compiled
def _is_blank(decision: Any) -> bool:
    """Tell whether there is nothing in it but perhaps a target."""
    return (
        math.isnan(decision.stop)
        and math.isnan(decision.take_profit)
        and math.isnan(decision.limit)
        and decision.confidence == 1.0
        and decision.rebalance == 0.0
    )


@compiled
def _repeated(stated: Any) -> float:
    """Return the target that, alone, would repeat the stated decision; NaN if none would."""
    if math.isnan(stated.stop) and math.isnan(stated.take_profit) and math.isnan(stated.limit):
        return float(stated.target)
    return math.nan


def _decide(
    step: Any, memory: Any, bars: Any, params: Any, invalid: Any, signals: Any, begin: int
) -> tuple[int, int, int]:
    found = 0
    decision = fleeting(invalid)
    repeated = _repeated(memory.stated)
    for i in range(begin, bars.shape[0]):
        clear(decision)
        step(memory.state, bars[i], params, decision)
        memory.bars += 1
        memory.ts = bars[i].ts
        # What `judge` would call quiet, seen at a glance.
        target = decision.target
        if (target == repeated or math.isnan(target)) and _is_blank(decision):
            continue
        mark = judge(memory.stated, decision)
        if mark == CHANGED:
            signal = signals[found]
            signal.index = i
            signal.target = target
            signal.stop = decision.stop
            signal.take_profit = decision.take_profit
            signal.limit = decision.limit
            signal.confidence = decision.confidence
            signal.rebalance = decision.rebalance
            found += 1
            repeated = _repeated(memory.stated)
        if mark == INVALID:
            copy(decision, invalid)
        if mark == INVALID or found == signals.shape[0]:
            return i + 1, found, mark
    return bars.shape[0], found, QUIET


def build_decide(step: Any, memory: np.dtype[np.void], params: np.dtype[np.void]) -> Any:
    """Return the compiled loop of one strategy, its step inlined.

    `decide(memory, bars, params, invalid, signals, begin) -> (end, found, mark)` steps over `bars`
    (shape (k,), BAR) from `begin` on, updates `memory`, and writes `signals` (SIGNAL). It ends at
    the last bar, where `signals` is full, or after a decision out of range (mark INVALID), which
    is then in `invalid`. It holds no lock of the interpreter: threads run beside each other.
    """
    signature = types.UniTuple(types.int64, 3)(  # type: ignore[no-untyped-call]
        numba.from_dtype(memory),
        numba.from_dtype(BAR)[::1],
        numba.from_dtype(params),
        numba.from_dtype(DECISION),
        numba.from_dtype(SIGNAL)[::1],
        types.int64,
    )
    return specialised(_decide, step, signature)


def all_signals(
    decide: Any, memory: np.void, bars: np.ndarray, params: np.void, decision: np.void
) -> tuple[np.ndarray, int, int]:
    """Return the signals on `bars`, the number of bars stepped over, and the last mark."""
    parts, done, mark = [], 0, QUIET
    room = scratch.array("decided", (_ROOM,), SIGNAL)
    while done < len(bars) and mark != INVALID:
        done, found, mark = decide(memory, bars, params, decision, room, done)
        parts.append(room[:found].view(PLAIN_SIGNAL).copy())
    return joined(parts), done, mark
