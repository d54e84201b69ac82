"""The loop: one step a bar, the decisions and which of them changed."""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np
from numba import types

from libs.common.quant.compile import compiled, compiled_as
from libs.common.quant.simulation.records import BAR, DECISION

QUIET: Final = 0
CHANGED: Final = 1
INVALID: Final = -1
# NUMERIC(20,8) leaves twelve digits before the point.
PRICE_LIMIT: Final = 1e12


@compiled
def clear(decision: Any) -> None:
    """Make `decision` one without an opinion, full confidence, no prices, no rebalancing."""
    decision.target = math.nan
    decision.stop = math.nan
    decision.take_profit = math.nan
    decision.limit = math.nan
    decision.confidence = 1.0
    decision.rebalance = 0.0


@compiled
def copy(decision: Any, other: Any) -> None:
    """Make `other` the same decision."""
    other.target = decision.target
    other.stop = decision.stop
    other.take_profit = decision.take_profit
    other.limit = decision.limit
    other.confidence = decision.confidence
    other.rebalance = decision.rebalance


@compiled
def _differs(a: float, b: float) -> bool:
    return a != b and not (math.isnan(a) and math.isnan(b))


@compiled
def _is_price(value: float) -> bool:
    return math.isnan(value) or 0.0 < value < PRICE_LIMIT


@compiled
def judge(stated: Any, decision: Any) -> int:
    """Judge a decision against the last stated one, and state it where it is news.

    Returns CHANGED if it has a target and either differs from the last stated one in target, stop,
    take_profit or limit, or asks for rebalancing; QUIET if not; INVALID (and remembers nothing) if
    target is outside [-1, 1], a price is not in (0, 1e12), confidence is outside [0, 1], or
    rebalance is neither 0 nor 1.
    """
    target = decision.target
    if math.isnan(target):
        return QUIET
    if not (
        -1.0 <= target <= 1.0
        and _is_price(decision.stop)
        and _is_price(decision.take_profit)
        and _is_price(decision.limit)
        and 0.0 <= decision.confidence <= 1.0
        and (decision.rebalance == 0.0 or decision.rebalance == 1.0)
    ):
        return INVALID
    changed = (
        decision.rebalance == 1.0
        or _differs(target, stated.target)
        or _differs(decision.stop, stated.stop)
        or _differs(decision.take_profit, stated.take_profit)
        or _differs(decision.limit, stated.limit)
    )
    if not changed:
        return QUIET
    copy(decision, stated)
    return CHANGED


@compiled
def settle(memory: Any, bar: Any, decision: Any) -> int:
    """Count `bar` and judge the decision just written on it; returns as `judge`."""
    memory.bars += 1
    memory.ts = bar.ts
    return judge(memory.stated, decision)


def _loop(step: Any, memory: Any, bars: Any, params: Any, decisions: Any, marks: Any) -> int:
    for i in range(bars.shape[0]):
        clear(decisions[i])
        step(memory.state, bars[i], params, decisions[i])
        marks[i] = settle(memory, bars[i], decisions[i])
        if marks[i] == INVALID:
            return i + 1
    return int(bars.shape[0])


def step_signature(state: np.dtype[np.void], params: np.dtype[np.void]) -> Any:
    """Return Numba's signature of a step over these records."""
    records = (numba.from_dtype(d) for d in (state, BAR, params, DECISION))
    return types.void(*records)


def build_loop(memory: np.dtype[np.void], params: np.dtype[np.void]) -> Any:
    """Return the compiled loop for strategies with these records.

    `loop(step, memory, bars, params, decisions, marks) -> n` steps over `bars` (shape (k,),
    BAR), fills `decisions` (k, DECISION) and `marks` (k, int8: QUIET, CHANGED, INVALID) and
    updates `memory` in place. n = k, or the number of bars up to and with the first invalid
    decision. `step` comes in as a function pointer, so that the loop runs the very machine code
    that the live engine calls, and one loop serves all strategies with the same records.
    """
    state = memory["state"]
    signature = types.int64(
        types.FunctionType(step_signature(state, params)),
        numba.from_dtype(memory),
        numba.from_dtype(BAR)[::1],
        numba.from_dtype(params),
        numba.from_dtype(DECISION)[::1],
        types.int8[::1],
    )
    return compiled_as(signature, _loop)
