"""A step that failed, told with file, line and bar."""

from __future__ import annotations

import difflib
import traceback
from typing import Final

import numpy as np

from libs.common.kernel.clock import from_ns
from libs.common.quant.simulation.records import DECISION
from libs.common.strategy.definition import Definition
from libs.common.strategy.errors import InvalidDecisionError, StepRaisedError

_TIME: Final = "%Y-%m-%d %H:%M:%S UTC"
_RANGES: Final = (
    "target must be in [-1, 1], confidence in [0, 1], rebalance 0 or 1, "
    "prices above 0 or left alone"
)


def step_raised(
    definition: Definition, error: Exception, ts: int, symbol: str = ""
) -> StepRaisedError:
    """Return what to raise for an error that came out of a step on the bar of `ts` (ns)."""
    path, first = definition.place
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    return StepRaisedError(
        path,
        (lines and lines[-1]) or first,
        f"{definition.name}: {_bar(ts, symbol)}: {type(error).__name__}: {error}",
    )


def out_of_range(
    definition: Definition, decision: np.void, ts: int, symbol: str = ""
) -> InvalidDecisionError:
    """Return what to raise for a decision (DECISION) that `judge` refused."""
    values = {name: float(decision[name]) for name in DECISION.names or ()}
    written = ", ".join(f"{name}={value}" for name, value in values.items())
    return InvalidDecisionError(
        *definition.place,
        f"{definition.name}: decision out of range on {_bar(ts, symbol)}: {written} ({_RANGES})",
    )


def not_a_number(
    definition: Definition, name: str, value: object, ts: int, symbol: str = ""
) -> InvalidDecisionError:
    """Return what to raise for a field of a decision that is no number."""
    return InvalidDecisionError(
        *definition.place,
        f"{definition.name}: {_bar(ts, symbol)}: out.{name} is {value!r}; "
        "write a number, or leave it alone",
    )


def no_such_field(
    definition: Definition, name: str, ts: int, symbol: str = ""
) -> InvalidDecisionError:
    """Return what to raise for something written into a decision that no decision has."""
    known = DECISION.names or ()
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known)}"
    return InvalidDecisionError(
        *definition.place,
        f"{definition.name}: {_bar(ts, symbol)}: out has no field {name!r}; {hint}",
    )


def _bar(ts: int, symbol: str) -> str:
    return f"bar {from_ns(ts):{_TIME}}" + (f" of {symbol}" if symbol else "")
