"""One strategy with its parameters on a universe, stepped a time at once or over many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.simulation.loop import CHANGED, INVALID
from libs.common.quant.simulation.panel import FULL, STATED, judge_all
from libs.common.quant.simulation.records import BAR, DECISION, SIGNAL
from libs.common.strategy.definition import CrossDefinition, Definition, narrowed
from libs.common.strategy.faults import out_of_range, step_raised
from libs.common.strategy.held import Held
from libs.common.strategy.memory import from_bytes, layout_hash, to_bytes, to_plain
from libs.common.strategy.protocol import Stated
from libs.common.strategy.runner import BLANK

_ROOM: Final = 4096
_BEYOND: Final = np.iinfo(np.int64).max


class CrossRunner(Held[CrossDefinition]):
    """Holds the memory of a strategy on `symbols`; `take` and `decide` run the same code."""

    def __init__(
        self, definition: Definition, params: Mapping[str, object], symbols: Sequence[str]
    ) -> None:
        self.definition = narrowed(definition, CrossDefinition)
        self.params = definition.parse(params)
        self.symbols = universe_of(self.definition, symbols)
        self._dtype = self.definition.memory(len(self.symbols))
        self.layout = layout_hash(self._dtype, {**self.params, "the universe": self.symbols})
        self._places = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._params = definition.schema.record(self.params)
        self._step = self.definition.step
        self._blank = BLANK * len(self.symbols)
        self._written = memoryview(bytearray(self._blank))
        self.decisions: np.ndarray = np.frombuffer(self._written, DECISION)
        self._marks = np.zeros(len(self.symbols), np.int8)
        memory: np.void = np.zeros(1, self._dtype)[0]
        for name in ("open", "high", "low", "close"):
            memory["last"][name] = np.nan
        self._hold(memory)
        self.forget_stated()

    def take(self, bars: Mapping[str, np.void]) -> tuple[Stated, ...]:
        """Take the bars (BAR) of one time, by symbol; return the signals.

        Raises InvalidInputError if their times differ or none is given, StepError if the step
        raised or decided out of range.
        """
        times = {int(bar["ts"]) for bar in bars.values()}
        if len(times) != 1:
            raise InvalidInputError(f"{self.definition.name}: bars of one time, got {len(times)}")
        (ts,) = times
        for symbol, bar in bars.items():
            self._last[self._places[symbol]] = bar
        self._written[:] = self._blank
        try:
            self._step(self._state, self._last, self._params, self.decisions)
        except Exception as error:
            raise step_raised(self.definition, error, ts) from error
        self._memory["bars"] += 1
        self._memory["ts"] = ts
        found = judge_all(self._stated, self._last, self.decisions, self._marks)
        if found == INVALID:
            raise self._refused(ts)
        return tuple(
            Stated(self.symbols[i], self.decisions[i].copy())
            for i in np.flatnonzero(self._marks == CHANGED)
        )

    def decide(self, history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Take many bars, by symbol, in one compiled loop; return the signals of each (SIGNAL).

        Where a symbol had no bar at the times of several decisions, the last of them counts: none
        could be acted on before its next bar. Raises StepError.
        """
        found = self._loop(history)
        parts = ((s, found[found["symbol"] == i]) for i, s in enumerate(self.symbols))
        return {symbol: _signals(rows, rows["index"]) for symbol, rows in parts}

    def decide_to_trade(self, history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return as `decide`, but each signal on the first bar of its symbol that is not older.

        What is decided while a symbol has no bar can be sized and sent with its next one, and not
        with the bar before, when nobody knew of it. After a symbol's last bar nothing can.
        """
        found = self._loop(history)
        signals = {}
        for place, symbol in enumerate(self.symbols):
            rows = found[found["symbol"] == place]
            index = np.searchsorted(history[symbol]["ts"], rows["ts"])
            known = index < len(history[symbol])
            signals[symbol] = _signals(rows[known], index[known])
        return signals

    def warm(self, history: Mapping[str, np.ndarray]) -> None:
        """Take history: nothing of it is a signal, the next decision with a target is."""
        self._loop(history)
        self.forget_stated()

    def forget_stated(self) -> None:
        """Make the next decision with a target a signal, even if it repeats the last."""
        for name in DECISION.names or ():
            self._stated[name] = np.nan

    def shown(self) -> dict[str, Any]:
        """Return the memory as plain data, to show to a person."""
        stated = {s: to_plain(d) for s, d in zip(self.symbols, self._stated, strict=True)}
        state = to_plain(self._state)
        return {"state": state, "stated": stated, "bars": self.bars, "ts": self.ts}

    def save(self) -> bytes:
        """Return the memory as bytes."""
        return to_bytes(self._memory)

    def restore(self, data: bytes) -> None:
        """Take back the memory from `save`. Raises LayoutError if the bytes do not fit."""
        self._hold(from_bytes(data, self._dtype))

    def _loop(self, history: Mapping[str, np.ndarray]) -> np.ndarray:
        """Step over all times; return the signals in order of time and symbol (STATED)."""
        parts = [np.asarray(history[symbol], BAR) for symbol in self.symbols]
        bars = np.ascontiguousarray(np.concatenate(parts))
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        cursors = ends - [len(part) for part in parts]
        counts = np.array([self.bars, self.ts, 0], np.int64)
        room: Any = np.zeros(max(_ROOM, 4 * len(parts)), STATED)
        found = []
        code = FULL
        while code == FULL:
            try:
                code = self.definition.loop(
                    self._step, self._state, self._last, self._stated, counts, bars, ends,
                    cursors, self._params, self.decisions, self._marks, room,
                )  # fmt: skip
            except Exception as error:
                ts = int(self._last["ts"].max())
                raise step_raised(self.definition, error, ts) from error
            self._memory["bars"], self._memory["ts"] = counts[0], counts[1]
            found.append(room[: counts[2]].copy())
            if code == INVALID:
                raise self._refused(self.ts)
        return np.concatenate(found)

    def _refused(self, ts: int) -> Exception:
        place = int(np.flatnonzero(self._marks == INVALID)[0])
        return out_of_range(self.definition, self.decisions[place], ts, self.symbols[place])

    def _hold(self, memory: np.void) -> None:
        self._memory = memory
        self._state: np.void = memory["state"]
        self._last: np.ndarray = memory["last"]
        self._stated: np.ndarray = memory["stated"]


def _signals(rows: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return rows (STATED) as signals (SIGNAL) on the bars `index`: of several on one the last."""
    last = np.diff(index, append=_BEYOND) != 0
    signals = np.zeros(int(last.sum()), SIGNAL)
    for name in DECISION.names or ():
        signals[name] = rows[name][last]
    signals["index"] = index[last]
    return signals


def universe_of(definition: CrossDefinition, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the universe. Raises InvalidInputError: too few, too many, or one named twice."""
    problem = ""
    if len(symbols) < definition.universe_min:
        problem = f"needs at least {definition.universe_min} symbols, got {len(symbols)}"
    elif len(symbols) > definition.universe_max:
        problem = f"takes up to {definition.universe_max} symbols, got {len(symbols)}"
    elif len(set(symbols)) < len(symbols):
        twice = sorted({symbol for symbol in symbols if list(symbols).count(symbol) > 1})
        problem = f"symbols named twice: {', '.join(twice)}"
    if problem:
        raise InvalidInputError(f"{definition.name}: {problem}")
    return tuple(symbols)
