"""One strategy with its parameters on one symbol, stepped a bar at a time or many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.simulation.decide import all_signals
from libs.common.quant.simulation.frames import blank_frames, fold
from libs.common.quant.simulation.loop import CHANGED, INVALID, clear, settle
from libs.common.quant.simulation.records import (
    BAR,
    DECISION,
    SIGNAL,
    forget_stated,
    new_memory,
)
from libs.common.strategy.definition import Definition, SingleDefinition, narrowed
from libs.common.strategy.faults import out_of_range, step_raised
from libs.common.strategy.held import Held
from libs.common.strategy.memory import from_bytes, layout_hash, to_bytes, to_plain
from libs.common.strategy.protocol import Stated


def _cleared() -> bytes:
    decision: np.void = np.zeros(1, DECISION)[0]
    clear(decision)
    return decision.tobytes()


# What the loop's `clear` writes; copying it costs a twentieth of a compiled call.
BLANK: Final = _cleared()


@dataclass(frozen=True, slots=True)
class Steps:
    """What came of stepping over k bars.

    `decisions`: shape (k,), DECISION. `changed`: shape (k,), bool: the decision is a signal.
    """

    decisions: np.ndarray
    changed: np.ndarray


class Runner(Held[SingleDefinition]):
    """Holds the memory. `step` and `run` call the same compiled function: the bits agree.

    `timeframe` is that of the bars; a strategy that reads longer timeframes must know it.
    """

    def __init__(
        self,
        definition: Definition,
        params: Mapping[str, object],
        symbol: str = "",
        timeframe: Timeframe | None = None,
    ) -> None:
        self.definition = narrowed(definition, SingleDefinition)
        self.params = definition.parse(params)
        self.symbols = (symbol,)
        self._spans = spans_of(self.definition, timeframe)
        self._written = memoryview(bytearray(BLANK))
        self.decision: np.void = np.frombuffer(self._written, DECISION)[0]
        self._params = definition.schema.record(self.params)
        self._step = self.definition.step
        memory = new_memory(self.definition.memory)
        if self.definition.timeframes:
            blank_frames(memory["frames"])
        self._hold(memory)

    @cached_property
    def layout(self) -> str:
        """Return what a saved memory must be stamped with to be taken up again."""
        spans = {"the spans": self._spans.tolist()} if self.definition.timeframes else {}
        return layout_hash(self.definition.memory, {**self.params, **spans})

    def step(self, bar: np.void) -> bool:
        """Take one bar (BAR); tell whether `decision` is a new one, that is, a signal.

        Raises StepError: the step raised, or decided out of range.
        """
        self._written[:] = BLANK
        try:
            self._call(bar)
        except Exception as error:
            raise step_raised(self.definition, error, int(bar["ts"]), *self.symbols) from error
        mark = settle(self._memory, bar, self.decision)
        if mark == INVALID:
            raise out_of_range(self.definition, self.decision, int(bar["ts"]), *self.symbols)
        return bool(mark == CHANGED)

    def run(self, bars: np.ndarray) -> Steps:
        """Take many bars (shape (k,), BAR) in one compiled loop. Raises StepError."""
        bars = np.ascontiguousarray(bars, BAR)
        decisions = np.zeros(len(bars), DECISION)
        marks = np.zeros(len(bars), np.int8)
        before = self.bars
        try:
            done = self.definition.loop(
                self._step, self._memory, *self._views, bars, self._params, decisions, marks
            )
        except Exception as error:
            ts = int(bars[self.bars - before]["ts"])
            raise step_raised(self.definition, error, ts, *self.symbols) from error
        if done and marks[done - 1] == INVALID:
            ts = int(bars[done - 1]["ts"])
            raise out_of_range(self.definition, decisions[done - 1], ts, *self.symbols)
        return Steps(decisions, marks == CHANGED)

    def take(self, bars: Mapping[str, np.void]) -> tuple[Stated, ...]:
        """Take one bar, by symbol; return the signal if there is one. Raises StepError."""
        (symbol,) = self.symbols
        return (Stated(symbol, self.decision.copy()),) if self.step(bars[symbol]) else ()

    def decide(self, history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Take many bars; return the signals (SIGNAL). Raises StepError."""
        (symbol,) = self.symbols
        if self.definition.timeframes:
            return {symbol: self._kept(history[symbol])}
        bars = np.ascontiguousarray(history[symbol], BAR)
        before = self.bars
        self._written[:] = BLANK
        try:
            signals, done, mark = all_signals(
                self.definition.inlined, self._memory, bars, self._params, self.decision
            )
        except Exception as error:
            ts = int(bars[self.bars - before]["ts"])
            raise step_raised(self.definition, error, ts, symbol) from error
        if mark == INVALID:
            raise out_of_range(self.definition, self.decision, int(bars[done - 1]["ts"]), symbol)
        return {symbol: signals}

    def _kept(self, bars: np.ndarray) -> np.ndarray:
        """Return the signals among all decisions."""
        steps = self.run(bars)
        signals = np.zeros(np.count_nonzero(steps.changed), SIGNAL)
        signals["index"] = np.flatnonzero(steps.changed)
        for name in DECISION.names or ():
            signals[name] = steps.decisions[name][steps.changed]
        return signals

    def warm(self, history: np.ndarray | Mapping[str, np.ndarray]) -> None:
        """Take history: nothing of it is a signal, the next decision with a target is."""
        self.run(history if isinstance(history, np.ndarray) else history[self.symbols[0]])
        self.forget_stated()

    def forget_stated(self) -> None:
        """Make the next decision with a target a signal, even if it repeats the last."""
        forget_stated(self._memory)

    def shown(self) -> dict[str, Any]:
        """Return the memory as plain data, to show to a person."""
        stated = {symbol: to_plain(self._memory["stated"]) for symbol in self.symbols}
        state = to_plain(self._state)
        return {"state": state, "stated": stated, "bars": self.bars, "ts": self.ts}

    def save(self) -> bytes:
        """Return the memory as bytes."""
        return to_bytes(self._memory)

    def restore(self, data: bytes) -> None:
        """Take back the memory from `save`. Raises LayoutError if the bytes do not fit."""
        self._hold(from_bytes(data, self.definition.memory))

    def _hold(self, memory: np.void) -> None:
        # Views into the memory, kept because taking one costs a tenth of a step.
        self._memory = memory
        self._state: np.void = memory["state"]
        self._views: tuple[Any, ...] = ()
        self._call: Callable[[np.void], None] = self._call_plain
        if self.definition.timeframes:
            longer = (memory["frames"], memory["forming"], memory["queued"])
            self._views = (*longer, self._spans)
            self._call = self._call_framed

    def _call_plain(self, bar: np.void) -> None:
        self._step(self._state, bar, self._params, self.decision)

    def _call_framed(self, bar: np.void) -> None:
        frames, forming, queued, spans = self._views
        fold(frames, forming, queued, spans, bar)
        self._step(self._state, bar, frames, self._params, self.decision)


def spans_of(definition: SingleDefinition, timeframe: Timeframe | None) -> np.ndarray:
    """Return the spans (i8, ns) of the bars and of the longer timeframes.

    Raises InvalidInputError if a strategy that reads longer ones is not told the timeframe of its
    bars, or if one of them is not longer.
    """
    if not definition.timeframes:
        return np.zeros(1, np.int64)
    longer = ", ".join(definition.timeframes)
    if timeframe is None:
        raise InvalidInputError(f"{definition.name} reads {longer}: say the timeframe of its bars")
    for name in definition.timeframes:
        if name.ns <= timeframe.ns:
            raise InvalidInputError(
                f"{definition.name} reads {longer}: its bars must be shorter, not {timeframe}"
            )
    return np.array([timeframe.ns, *(name.ns for name in definition.timeframes)], np.int64)
