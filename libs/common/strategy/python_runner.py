"""One strategy in ordinary Python with its parameters on one symbol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from libs.common.quant.simulation.loop import CHANGED, INVALID, judge
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
from libs.common.strategy.memory import describe, from_bytes, layout_hash, to_bytes, to_plain
from libs.common.strategy.parameters import Value
from libs.common.strategy.plain import pack, shape_of, start_of, state_from, unpack, values_of
from libs.common.strategy.protocol import Stated
from libs.common.strategy.python import Bar, Decision, PythonDefinition, Window

_FIELDS: Final = DECISION.names or ()
_MEMORY: Final = memory_of(np.dtype([("reserved", "i8")], align=True))
_CHUNK: Final = 8192
# A third of the time of `Bar._make`.
_bar: Final = partial(tuple.__new__, Bar)


class PythonRunner:
    """Holds the instance and what it stated. One bar or many go through the same code."""

    def __init__(
        self, definition: Definition, params: Mapping[str, object], symbol: str = ""
    ) -> None:
        self.definition = narrowed(definition, PythonDefinition)
        self.params: dict[str, Value] = definition.parse(params)
        self.symbols = (symbol,)
        shape = [self.definition.history, shape_of(self.definition.defaults), describe(BAR)]
        self.layout = layout_hash(_MEMORY, {**self.params, "the state": shape})
        self._decision = Decision()
        self._written = self._decision.__dict__
        self._judged: dict[str, Any] = {}
        self._record: np.void = np.zeros(1, DECISION)[0]
        start = start_of(self.definition.defaults)
        self._hold(new_memory(_MEMORY), np.zeros(0, BAR), start)

    @property
    def ts(self) -> int:
        """Return the start of the last bar seen, in ns; 0 if none was."""
        return int(self._memory["ts"])

    @property
    def bars(self) -> int:
        """Return the number of bars seen."""
        return int(self._memory["bars"])

    @property
    def warmup(self) -> int:
        """Return how many bars of history this strategy wants with these parameters."""
        return self.definition.warmup(self.params)

    def take(self, bars: Mapping[str, np.void]) -> tuple[Stated, ...]:
        """Take one bar, by symbol; return the signal if there is one. Raises StepError."""
        (symbol,) = self.symbols
        one = np.zeros(1, BAR)
        one[0] = bars[symbol]
        return tuple(Stated(symbol, decision) for _, decision in self._run(one))

    def decide(self, history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Take many bars; return the signals (SIGNAL). Raises StepError."""
        (symbol,) = self.symbols
        found = self._run(np.asarray(history[symbol], BAR))
        signals = np.zeros(len(found), SIGNAL)
        for row, (index, decision) in zip(signals, found, strict=True):
            row["index"] = index
            for name in _FIELDS:
                row[name] = decision[name]
        return {symbol: signals}

    def warm(self, history: Mapping[str, np.ndarray]) -> None:
        """Take history: nothing of it is a signal, the next decision with a target is."""
        self._run(np.asarray(history[self.symbols[0]], BAR))
        self.forget_stated()

    def forget_stated(self) -> None:
        """Make the next decision with a target a signal, even if it repeats the last."""
        forget_stated(self._memory)
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
        self._judged = {}

    def _values(self) -> dict[str, object]:
        return values_of(self._strategy.state) if self._held is None else self._held

    def _wake(self) -> None:
        """Make the instance, with the first step only: who holds a memory need not load a model."""
        if self._held is not None:
            state = state_from(self.definition.state, self._held)
            self._strategy = self.definition.make(self.params, self._window, state)
            self._held = None

    def _run(self, bars: np.ndarray) -> list[tuple[int, np.void]]:
        """Step over bars; return the signals with their places."""
        self._wake()
        found: list[tuple[int, np.void]] = []
        for start in range(0, len(bars), _CHUNK):
            self._chunk(start, bars[start : start + _CHUNK], found)
        return found

    def _chunk(self, first: int, bars: np.ndarray, found: list[tuple[int, np.void]]) -> None:
        window, decision, step = self._window, self._decision, self._strategy.step
        written = self._written
        begin = window.put(bars)
        done = 0
        try:
            for done, bar in enumerate(map(_bar, bars.tolist()), 1):
                window.end = begin + done
                written.clear()
                step(bar, decision)
                # What repeats, word for word, what was judged last needs no second judgement.
                if not written or written == self._judged:
                    continue
                if self._judge(bar.ts) == CHANGED:
                    found.append((first + done - 1, self._record.copy()))
        except InvalidDecisionError:
            raise
        except Exception as error:
            ts = int(bars[done - 1]["ts"])
            raise step_raised(self.definition, error, ts, *self.symbols) from error
        finally:
            self._memory["bars"] += done
            self._memory["ts"] = bars[done - 1]["ts"]

    def _judge(self, ts: int) -> int:
        for name, value in self._written.items():
            if name not in _FIELDS:
                raise no_such_field(self.definition, name, ts, *self.symbols)
            self._check(name, value, ts)
        for name in _FIELDS:
            value = getattr(self._decision, name)
            self._record[name] = math.nan if value is None else value
        mark = judge(self._memory["stated"], self._record)
        if mark == INVALID:
            raise out_of_range(self.definition, self._record, ts, *self.symbols)
        self._judged = dict(self._written) if self._record["rebalance"] == 0.0 else {}
        return int(mark)

    def _check(self, name: str, value: object, ts: int) -> None:
        if value is None:
            return
        try:
            known = not math.isnan(float(value))  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            known = False
        if not known:
            raise not_a_number(self.definition, name, value, ts, *self.symbols)
