"""One strategy in ordinary Python with its parameters on one symbol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from libs.common.quant.simulation.loop import CHANGED, INVALID
from libs.common.quant.simulation.records import (
    BAR,
    DECISION,
    SIGNAL,
    forget_stated,
    memory_of,
    new_memory,
)
from libs.common.strategy.definition import Definition, narrowed
from libs.common.strategy.errors import InvalidDecisionError, LayoutError
from libs.common.strategy.faults import no_such_field, not_a_number, out_of_range, step_raised
from libs.common.strategy.held import Held
from libs.common.strategy.judgement import Values, judge, record_of
from libs.common.strategy.memory import describe, from_bytes, layout_hash, to_bytes, to_plain
from libs.common.strategy.plain import pack, shape_of, start_of, state_from, unpack, values_of
from libs.common.strategy.protocol import Stated
from libs.common.strategy.python import Bar, Decision, PythonDefinition, Window

_FIELDS: Final = DECISION.names or ()
_MEMORY: Final = memory_of(np.dtype([("reserved", "i8")], align=True))
_CHUNK: Final = 8192
_COLUMNS: Final = BAR.names or ()
_NAN: Final = math.nan
Found = tuple[int, float, float, float, float, float, float]
"""A signal: the place of its bar, then DECISION's fields."""


class PythonRunner(Held[PythonDefinition]):
    """Holds the instance and what it stated. One bar or many go through the same code."""

    def __init__(
        self, definition: Definition, params: Mapping[str, object], symbol: str = ""
    ) -> None:
        self.definition = narrowed(definition, PythonDefinition)
        self.params = definition.parse(params)
        self.symbols = (symbol,)
        shape = [self.definition.history, shape_of(self.definition.defaults), describe(BAR)]
        self.layout = layout_hash(_MEMORY, {**self.params, "the state": shape})
        self._decision = Decision()
        self._written = self._decision.__dict__
        self._judged: dict[str, Any] = {}
        self._stated: Values
        start = start_of(self.definition.defaults)
        self._hold(new_memory(_MEMORY), np.zeros(0, BAR), start)

    def take(self, bars: Mapping[str, np.void]) -> tuple[Stated, ...]:
        """Take one bar, by symbol; return the signal if there is one. Raises StepError."""
        (symbol,) = self.symbols
        one = np.zeros(1, BAR)
        one[0] = bars[symbol]
        return tuple(Stated(symbol, record_of(found[1:])) for found in self._run(one))

    def decide(self, history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Take many bars; return the signals (SIGNAL). Raises StepError."""
        (symbol,) = self.symbols
        found = self._run(np.asarray(history[symbol], BAR))
        return {symbol: np.array(found, SIGNAL)}

    def warm(self, history: Mapping[str, np.ndarray]) -> None:
        """Take history: nothing of it is a signal, the next decision with a target is."""
        self._run(np.asarray(history[self.symbols[0]], BAR))
        self.forget_stated()

    def forget_stated(self) -> None:
        """Make the next decision with a target a signal, even if it repeats the last."""
        forget_stated(self._memory)
        self._stated = self._memory["stated"].item()
        self._judged = {}

    def save(self) -> bytes:
        """Return the memory as bytes. Raises StepError if the state holds what cannot be kept."""
        try:
            return pack([to_bytes(self._memory), self._window.kept().tobytes(), self._values()])
        except TypeError as error:
            raise step_raised(self.definition, error, self.ts, *self.symbols) from error

    def restore(self, data: bytes) -> None:
        """Take back the memory from `save`. Raises LayoutError if the bytes do not fit."""
        parts = unpack(data)
        if not (isinstance(parts, list) and len(parts) == 3 and isinstance(parts[2], dict)):
            raise LayoutError("saved state is not that of a strategy in Python")
        memory, window, state = parts
        if set(state) != set(self.definition.defaults) or len(window) % BAR.itemsize:
            raise LayoutError("saved state has other names, or bars of another form")
        self._hold(from_bytes(memory, _MEMORY), np.frombuffer(window, BAR), state)

    def shown(self) -> dict[str, Any]:
        """Return the memory as plain data, to show to a person."""
        stated = {symbol: to_plain(self._memory["stated"]) for symbol in self.symbols}
        state = to_plain(self._values())
        return {"state": state, "stated": stated, "bars": self.bars, "ts": self.ts}

    def _hold(self, memory: np.void, window: np.ndarray, values: dict[str, object]) -> None:
        self._memory = memory
        self._window = Window(self.definition.history)
        self._window.end = self._window.put(window) + len(window)
        self._held: dict[str, object] | None = values
        self._stated = memory["stated"].item()
        self._judged = {}

    def _values(self) -> dict[str, object]:
        return values_of(self._strategy.state) if self._held is None else self._held

    def _wake(self) -> None:
        """Make the instance, with the first step only: who holds a memory need not load a model."""
        if self._held is not None:
            state = state_from(self.definition.state, self._held)
            self._strategy = self.definition.make(self.params, self._window, state)
            self._held = None

    def _run(self, bars: np.ndarray) -> list[Found]:
        """Step over bars; return the signals with their places."""
        self._wake()
        found: list[Found] = []
        for start in range(0, len(bars), _CHUNK):
            self._chunk(start, bars[start : start + _CHUNK], found)
        return found

    def _chunk(self, first: int, bars: np.ndarray, found: list[Found]) -> None:
        window, decision, step = self._window, self._decision, self._strategy.step
        written, judged = self._written, self._judged
        begin = window.put(bars)
        written.clear()
        columns = [bars[name].tolist() for name in _COLUMNS]
        try:
            for window.end, bar in enumerate(map(Bar, *columns), begin + 1):
                step(bar, decision)
                if not written:
                    continue
                # What repeats, word for word, what was judged last needs no second judgement.
                if written != judged:
                    values = self._judge(bar.ts)
                    judged = self._judged
                    if values is not None:
                        found.append((first + window.end - begin - 1, *values))
                written.clear()
        except InvalidDecisionError:
            raise
        except Exception as error:
            ts = columns[0][window.end - begin - 1]
            raise step_raised(self.definition, error, ts, *self.symbols) from error
        finally:
            self._memory["bars"] += window.end - begin
            self._memory["ts"] = columns[0][window.end - begin - 1]
            self._memory["stated"] = self._stated

    def _judge(self, ts: int) -> Values | None:
        """Return what was written, as DECISION's fields, if it is a signal."""
        for name, value in self._written.items():
            if name not in _FIELDS:
                raise no_such_field(self.definition, name, ts, *self.symbols)
            # A float that equals itself is a number.
            if type(value) is not float or value != value:
                self._check(name, value, ts)
        values = _values(self._decision)
        mark = judge(self._stated, values)
        if mark == INVALID:
            raise out_of_range(self.definition, record_of(values), ts, *self.symbols)
        self._judged = dict(self._written) if values[5] == 0.0 else {}
        if mark != CHANGED:
            return None
        self._stated = values
        return values

    def _check(self, name: str, value: object, ts: int) -> None:
        if value is None:
            return
        try:
            known = not math.isnan(float(value))  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            known = False
        if not known:
            raise not_a_number(self.definition, name, value, ts, *self.symbols)


def _values(decision: Decision) -> Values:
    return (
        _NAN if decision.target is None else float(decision.target),
        _NAN if decision.stop is None else float(decision.stop),
        _NAN if decision.take_profit is None else float(decision.take_profit),
        _NAN if decision.limit is None else float(decision.limit),
        _NAN if decision.confidence is None else float(decision.confidence),
        _NAN if decision.rebalance is None else float(decision.rebalance),
    )
