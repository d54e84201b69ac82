"""One strategy with its parameters on one symbol, stepped a bar at a time or many at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.common.kernel.clock import from_ns
from libs.common.quant.simulation.loop import CHANGED, INVALID, clear, settle
from libs.common.quant.simulation.records import BAR, DECISION, forget_stated, new_memory
from libs.common.strategy.definition import Definition
from libs.common.strategy.errors import InvalidDecisionError
from libs.common.strategy.memory import from_bytes, layout_hash, to_bytes
from libs.common.strategy.parameters import Value


def _cleared() -> bytes:
    decision: np.void = np.zeros(1, DECISION)[0]
    clear(decision)
    return decision.tobytes()


# What the loop's `clear` writes; copying it costs a twentieth of a compiled call.
_BLANK: Final = _cleared()


_TIME: Final = "%Y-%m-%d %H:%M:%S UTC"
_RANGES: Final = (
    "target must be in [-1, 1], confidence in [0, 1], rebalance 0 or 1, "
    "prices above 0 or left alone"
)


@dataclass(frozen=True, slots=True)
class Steps:
    """What came of stepping over k bars.

    `decisions`: shape (k,), DECISION. `changed`: shape (k,), bool: the decision is a signal.
    """

    decisions: np.ndarray
    changed: np.ndarray


class Runner:
    """Holds the memory. `step` and `run` call the same compiled function: the bits agree."""

    def __init__(self, definition: Definition, params: Mapping[str, object]) -> None:
        self.definition = definition
        self.params: dict[str, Value] = definition.parse(params)
        self.layout = layout_hash(definition.memory, self.params)
        self._written = memoryview(bytearray(_BLANK))
        self.decision: np.void = np.frombuffer(self._written, DECISION)[0]
        self._hold(new_memory(definition.memory))
        self._params = definition.schema.record(self.params)
        self._step = definition.step

    @property
    def memory(self) -> np.void:
        """Return the memory record: state, stated decision, number of bars, last bar's start."""
        return self._memory

    @property
    def ts(self) -> int:
        """Return the start of the last bar seen, in ns; 0 if none was."""
        return int(self._memory["ts"])

    @property
    def warmup(self) -> int:
        """Return how many bars of history this strategy wants with these parameters."""
        return self.definition.warmup(self.params)

    def step(self, bar: np.void) -> bool:
        """Take one bar (BAR); tell whether `decision` is a new one, that is, a signal.

        Raises InvalidDecisionError for a decision outside its range.
        """
        self._written[:] = _BLANK
        self._step(self._state, bar, self._params, self.decision)
        mark = settle(self._memory, bar, self.decision)
        if mark == INVALID:
            raise self._invalid(self.decision, int(bar["ts"]))
        return bool(mark == CHANGED)

    def run(self, bars: np.ndarray) -> Steps:
        """Take many bars (shape (k,), BAR) in one compiled loop. Raises InvalidDecisionError."""
        bars = np.ascontiguousarray(bars, BAR)
        decisions = np.zeros(len(bars), DECISION)
        marks = np.zeros(len(bars), np.int8)
        done = self.definition.loop(self._step, self._memory, bars, self._params, decisions, marks)
        if done and marks[done - 1] == INVALID:
            raise self._invalid(decisions[done - 1], int(bars[done - 1]["ts"]))
        return Steps(decisions, marks == CHANGED)

    def warm(self, bars: np.ndarray) -> None:
        """Take history: nothing of it is a signal, the next decision with a target is."""
        self.run(bars)
        self.forget_stated()

    def forget_stated(self) -> None:
        """Make the next decision with a target a signal, even if it repeats the last."""
        forget_stated(self._memory)

    def save(self) -> bytes:
        """Return the memory as bytes."""
        return to_bytes(self._memory)

    def restore(self, data: bytes) -> None:
        """Take back the memory from `save`. Raises LayoutError if the bytes do not fit."""
        self._hold(from_bytes(data, self.definition.memory))

    def _hold(self, memory: np.void) -> None:
        # The state is a view into the memory, kept because taking it costs a tenth of a step.
        self._memory = memory
        self._state: np.void = memory["state"]

    def _invalid(self, decision: np.void, ts: int) -> InvalidDecisionError:
        values = {name: float(decision[name]) for name in DECISION.names or ()}
        written = ", ".join(f"{name}={value}" for name, value in values.items())
        return InvalidDecisionError(
            f"{self.definition.name}: decision out of range on bar {from_ns(ts):{_TIME}}: {written}"
            f" ({_RANGES})"
        )
