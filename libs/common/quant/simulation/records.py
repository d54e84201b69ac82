"""The records that a strategy's step meets: the bar it reads, the decision it writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

BAR: Final = np.dtype(
    [
        ("ts", "i8"),
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "f8"),
    ],
    align=True,
)
"""A closed bar: start in ns since the epoch (UTC), prices in the instrument's currency, shares."""

DECISION: Final = np.dtype(
    [
        ("target", "f8"),
        ("stop", "f8"),
        ("take_profit", "f8"),
        ("limit", "f8"),
        ("confidence", "f8"),
        ("rebalance", "f8"),
    ],
    align=True,
)
"""What a strategy wants: target in [-1, 1] (share of its capital; NaN = no opinion on this bar),
prices or NaN for none, confidence in [0, 1], rebalance 0 or 1 (1: a signal even if the decision
equals the last stated one, so that the position is sized again at today's price)."""

# Assigned at once: field by field it takes as long as a thousand bars.
_NOTHING: Final = (np.nan,) * len(DECISION.names or ())

SIGNAL: Final = np.dtype(
    [("index", "i8"), *((name, "f8") for name in DECISION.names or ())], align=True
)
"""A decision that was stated: the index of its bar in the symbol's bars, then DECISION's fields."""

PLAIN_SIGNAL: Final = np.dtype((np.void, SIGNAL.itemsize))
"""A signal's bytes. NumPy copies records field by field, which takes five times as long."""


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return signals, each part's as SIGNAL or as their bytes, in one array of SIGNAL."""
    if len(parts) == 1:
        return np.ascontiguousarray(parts[0].view(SIGNAL))
    whole, begin = np.empty(sum(map(len, parts)), PLAIN_SIGNAL), 0
    for part in parts:
        whole[begin : begin + len(part)] = part.view(PLAIN_SIGNAL)
        begin += len(part)
    return whole.view(SIGNAL)


def memory_of(state: np.dtype[np.void]) -> np.dtype[np.void]:
    """Return the record of all that a running strategy remembers.

    `state` is the strategy's own, `stated` the last decision that had a target (target NaN:
    none yet), `bars` the number of bars seen, `ts` the start of the last of them.
    """
    return np.dtype(
        [("state", state), ("stated", DECISION), ("bars", "i8"), ("ts", "i8")], align=True
    )


def new_memory(memory: np.dtype[np.void]) -> np.void:
    """Return a zeroed memory record that has stated nothing."""
    record: np.void = np.zeros(1, memory)[0]
    forget_stated(record)
    return record


def forget_stated(memory: np.void) -> None:
    """Make the next decision count as a change, whatever it is."""
    memory["stated"] = _NOTHING
