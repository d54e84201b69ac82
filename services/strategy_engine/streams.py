"""Streams (one strategy on one symbol) and feeds (one symbol's bars to all its streams)."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from libs.common.kernel.clock import from_ns
from libs.common.quant.simulation.records import DECISION
from libs.common.strategy import Runner
from libs.common.strategy.errors import StepError
from services.strategy_engine.bars import Arrival
from services.strategy_engine.configuration import Configuration
from services.strategy_engine.metrics import BARS, BARS_IGNORED, FAULTS, STEP_DURATION


class StreamStatus(StrEnum):
    """Whether a stream takes bars."""

    RUNNING = "running"
    FAULTED = "faulted"


@dataclass(frozen=True, slots=True)
class Emission:
    """A decision that changed: what it was on which bar. `decision` is a copy (DECISION)."""

    configuration: Configuration
    symbol: str
    arrival: Arrival
    decision: dict[str, float]


def why(error: Exception, ts: int, path: Path | None = None) -> str:
    """Return what a step did on the bar that starts at `ts`, with file and line where known."""
    if isinstance(error, StepError):
        return str(error)  # it names the bar
    said = f"bar {from_ns(ts):%Y-%m-%d %H:%M:%S UTC}: {type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if path is not None and frame.filename == str(path)]
    return f"{path.name}:{lines[-1]}: {said}" if path is not None and lines else said


@dataclass
class Stream:
    """One strategy on one symbol.

    `warmed`: its memory is restored or filled, or there is no history to fill it with.
    `resume_ts`: where the saved state stood (ns) that does not fit the layout any more, else 0.
    `rides`: it goes along to be looked at, nothing of it is stored; `ridden` counts its bars.
    """

    configuration: Configuration
    version_hash: str
    symbol: str
    runner: Runner
    warmed: bool = False
    resume_ts: int = 0
    status: StreamStatus = StreamStatus.RUNNING
    reason: str = ""
    path: Path | None = None
    rides: bool = False
    ridden: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Return strategy id and symbol."""
        return self.configuration.id, self.symbol

    def warm(self, history: np.ndarray) -> None:
        """Fill the memory from history (BAR, oldest first); none of it is a signal."""
        self.runner.warm(history)
        self.warmed = True

    def take(self, arrival: Arrival) -> Emission | None:
        """Step over one bar; return the signal if the decision changed.

        A step that raises or decides out of range stops the stream, its memory as before the bar.
        """
        before = self.runner.save()
        started = time.perf_counter()
        try:
            changed = self.runner.step(arrival.bar)
        except Exception as error:  # noqa: BLE001 - a user's code; the stream stops and says why
            self.runner.restore(before)
            self.status = StreamStatus.FAULTED
            self.reason = why(error, arrival.ts, self.path)
            FAULTS.labels(self.configuration.id).inc()
            return None
        STEP_DURATION.observe(time.perf_counter() - started)
        if not changed:
            return None
        decision = {name: float(self.runner.decision[name]) for name in DECISION.names or ()}
        return Emission(self.configuration, self.symbol, arrival, decision)


@dataclass
class Turn:
    """What one round of stepping brought, to be committed together."""

    emissions: list[Emission] = field(default_factory=list)
    moved: dict[tuple[str, str], Stream] = field(default_factory=dict)
    faulted: list[Stream] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.moved or self.faulted)

    def take_urgent(self) -> Turn:
        """Take out what others wait for: signals with their streams' states, and faults.

        The states of silent streams may follow in a later transaction: a bar that is stepped over
        again after a crash is as silent as before. Without urgent things, all is taken out.
        """
        speaking = {(e.configuration.id, e.symbol) for e in self.emissions}
        if not speaking and not self.faulted:
            speaking = set(self.moved)
        part = Turn(
            self.emissions,
            {key: self.moved.pop(key) for key in speaking},
            self.faulted,
        )
        self.emissions, self.faulted = [], []
        return part

    def put_back(self, part: Turn) -> None:
        """Take back a part that was not committed."""
        self.emissions = part.emissions + self.emissions
        self.faulted = part.faulted + self.faulted
        self.moved = part.moved | self.moved


@dataclass
class Feed:
    """One symbol's bars of one timeframe, in order, without a hole, each once.

    Live bars wait in `pending` (by start) until all bars before them have been stepped over.
    """

    symbol: str
    timeframe: str
    span_ns: int
    streams: list[Stream] = field(default_factory=list)
    pending: dict[int, Arrival] = field(default_factory=dict)
    waiting_since_ns: int | None = None
    heard_ns: int = 0

    @property
    def running(self) -> list[Stream]:
        """Return the streams that take bars."""
        return [stream for stream in self.streams if stream.status is StreamStatus.RUNNING]

    @property
    def ts(self) -> int:
        """Return the start of the last bar that every running stream has seen; 0 if none."""
        return min((stream.runner.ts for stream in self.running), default=0)

    @property
    def fresh(self) -> list[Stream]:
        """Return the running streams whose history has not been looked for."""
        return [stream for stream in self.running if not stream.warmed]

    def offer(self, arrival: Arrival, pending_max: int) -> None:
        """Take in one live bar; duplicates and old ones are counted and dropped.

        When more wait than `pending_max`, all are dropped: they come again from the table.
        """
        if not self.running:
            BARS_IGNORED.labels("stopped").inc()
        elif arrival.ts <= self.ts or arrival.ts in self.pending:
            BARS_IGNORED.labels("old").inc()
        else:
            if len(self.pending) >= pending_max:
                BARS_IGNORED.labels("overflow").inc(len(self.pending))
                self.pending.clear()
            self.pending[arrival.ts] = arrival

    def first_pending(self) -> int | None:
        """Return the start of the oldest waiting bar."""
        return min(self.pending, default=None)

    def gapped(self) -> bool:
        """Tell whether the oldest waiting bar does not directly follow what was seen."""
        first = self.first_pending()
        if first is None:
            return False
        last = self.ts
        return bool(self.fresh) or 0 < last < first - self.span_ns

    def advance(self, turn: Turn) -> bool:
        """Step over the waiting bars that follow directly; tell whether a gap stops us."""
        while self.pending:
            if self.gapped():
                return True
            self.step_pending(turn)
        return False

    def step_pending(self, turn: Turn) -> None:
        """Step over the oldest waiting bar, whatever is missing before it."""
        self._take(self.pending.pop(min(self.pending)), turn)

    def fill(self, stored: Sequence[Arrival], turn: Turn) -> None:
        """Step over `stored` (oldest first) and all waiting bars up to the last of them.

        The collector stores a symbol's bars in order, before it publishes them: what is missing
        before a stored bar does not exist.
        """
        if not stored:
            return
        for arrival in stored:
            self.pending.setdefault(arrival.ts, arrival)
        while self.pending and min(self.pending) <= stored[-1].ts:
            self.step_pending(turn)

    def _take(self, arrival: Arrival, turn: Turn) -> None:
        for stream in self.running:
            if arrival.ts <= stream.runner.ts:
                continue
            emission = stream.take(arrival)
            if stream.rides:
                stream.ridden += 1
                continue
            if stream.status is StreamStatus.FAULTED:
                turn.faulted.append(stream)
                continue
            turn.moved[stream.key] = stream
            if emission is not None:
                turn.emissions.append(emission)
        BARS.labels("live" if arrival.received_ns else "table").inc()
        if not self.running:
            self.pending.clear()
