"""Streams (one strategy on one symbol, or on its universe) and feeds (one symbol's bars to all its
streams)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np

from libs.common.quant.simulation.records import BAR, DECISION
from libs.common.strategy.errors import StepError
from libs.common.strategy.protocol import Stepper
from services.strategy_engine.bars import Arrival
from services.strategy_engine.configuration import Configuration
from services.strategy_engine.features import features_of
from services.strategy_engine.metrics import BARS, BARS_IGNORED, FAULTS, STEP_DURATION
from services.strategy_engine.sandbox import close_of
from services.strategy_engine.worker import Worker

# Under which the state of a stream on a whole universe is saved.
UNIVERSE: Final = "*"


class StreamStatus(StrEnum):
    """Whether a stream takes bars."""

    RUNNING = "running"
    FAULTED = "faulted"


@dataclass(frozen=True, slots=True)
class Emission:
    """A decision that changed: what it was on which bar, and what it saw. `decision` is a copy
    (DECISION)."""

    configuration: Configuration
    symbol: str
    arrival: Arrival
    decision: dict[str, float]
    features: dict[str, float]


@dataclass
class Stream:
    """One strategy on one symbol, or on its universe.

    `symbol`: what its state is saved under. `warmed`: its memory is restored or filled, or there is
    no history to fill it with. `resume_ts`: where the saved state stood (ns) that does not fit the
    layout any more, else 0. `rides`: it goes along to be looked at, nothing of it is stored;
    `ridden` counts its bars. `worker`: its own process, if it steps in one; `runner` then holds the
    memory only, and `backlog` the history that the process has yet to step over.
    """

    configuration: Configuration
    version_hash: str
    symbol: str
    runner: Stepper
    warmed: bool = False
    resume_ts: int = 0
    status: StreamStatus = StreamStatus.RUNNING
    reason: str = ""
    rides: bool = False
    ridden: int = 0
    worker: Worker | None = None
    backlog: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Return strategy id and what the state is saved under."""
        return self.configuration.id, self.symbol

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the symbols whose bars it takes."""
        return self.runner.symbols

    @property
    def ts(self) -> int:
        """Return the start of the last bar seen, or given to its process; 0 if none was."""
        given = (int(bars["ts"][-1]) for bars in self.backlog.values() if len(bars))
        return max(self.runner.ts, *given, 0)

    def warm(self, history: dict[str, np.ndarray]) -> None:
        """Fill the memory from history (BAR, oldest first, by symbol); none of it is a signal.

        Raises StepError.
        """
        if self.worker is not None:
            self.backlog = history
        else:
            self.runner.warm(history)
        self.warmed = True

    def take(self, moment: Mapping[str, Arrival]) -> list[Emission]:
        """Step over the bars of one time, by symbol; return the signals.

        A step that raises or decides out of range stops the stream, its memory as before the bar.
        """
        before = self.runner.save()
        started = time.perf_counter()
        bars = {symbol: arrival.bar for symbol, arrival in moment.items()}
        try:
            stated = self.runner.take(bars)
        except StepError as error:
            self.runner.restore(before)
            self.fault(str(error))
            return []
        STEP_DURATION.observe(time.perf_counter() - started)
        if not stated:
            return []
        features = features_of(self.runner)
        return [
            self.emission(
                s.symbol, s.decision, close_of(self.runner, s.symbol, bars), moment, features
            )
            for s in stated
        ]

    def emission(
        self,
        symbol: str,
        decision: np.void,
        close: float,
        moment: Mapping[str, Arrival],
        features: dict[str, float],
    ) -> Emission:
        """Return what a stated decision on `symbol` was, on the bars of one time."""
        arrival = moment.get(symbol)
        if arrival is None:
            # The symbol had no bar at this time: its close is that of the last one.
            other = next(iter(moment.values()))
            bar = np.zeros(1, BAR)[0]
            bar["ts"], bar["close"] = other.ts, close
            arrival = Arrival(bar, other.correlation_id, other.causation_id, other.received_ns)
        values = {name: float(decision[name]) for name in DECISION.names or ()}
        return Emission(self.configuration, symbol, arrival, values, features)

    def fault(self, reason: str) -> None:
        """Stop, and remember why."""
        self.status = StreamStatus.FAULTED
        self.reason = reason
        if not self.rides:
            FAULTS.labels(self.configuration.id).inc()


@dataclass
class Turn:
    """What one round of stepping brought, to be committed together."""

    emissions: list[Emission] = field(default_factory=list)
    moved: dict[tuple[str, str], Stream] = field(default_factory=dict)
    faulted: list[Stream] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.moved or self.faulted)

    def add(self, stream: Stream, emissions: Iterable[Emission], bars: int = 1) -> None:
        """Take in what `bars` steps of `stream` brought."""
        if stream.rides:
            stream.ridden += bars
        elif stream.status is StreamStatus.FAULTED:
            self.faulted.append(stream)
        else:
            self.moved[stream.key] = stream
            self.emissions.extend(emissions)

    def take_urgent(self) -> Turn:
        """Take out what others wait for: signals with their streams' states, and faults.

        The states of silent streams may follow in a later transaction: a bar that is stepped over
        again after a crash is as silent as before. Without urgent things, all is taken out.
        """
        ids = {(e.configuration.id, e.symbol) for e in self.emissions}
        ids |= {(e.configuration.id, UNIVERSE) for e in self.emissions}
        speaking = ids & set(self.moved)
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
    def symbols(self) -> tuple[str, ...]:
        """Return the one symbol."""
        return (self.symbol,)

    @property
    def running(self) -> list[Stream]:
        """Return the streams that take bars."""
        return [stream for stream in self.streams if stream.status is StreamStatus.RUNNING]

    @property
    def ts(self) -> int:
        """Return the start of the last bar that every running stream has seen; 0 if none."""
        return min((stream.ts for stream in self.running), default=0)

    @property
    def fresh(self) -> list[Stream]:
        """Return the running streams whose history has not been looked for."""
        return [stream for stream in self.running if not stream.warmed]

    def offer(self, symbol: str, arrival: Arrival, pending_max: int) -> None:
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

    def cause(self) -> Arrival | None:
        """Return the oldest waiting bar."""
        first = self.first_pending()
        return None if first is None else self.pending[first]

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

    def fill(self, found: Mapping[str, Sequence[Arrival]], turn: Turn) -> None:
        """Step over what was found (oldest first) and all waiting bars up to the last of it.

        The collector stores a symbol's bars in order, before it publishes them: what is missing
        before a stored bar does not exist.
        """
        stored = found.get(self.symbol, ())
        if not stored:
            return
        for arrival in stored:
            self.pending.setdefault(arrival.ts, arrival)
        while self.pending and min(self.pending) <= stored[-1].ts:
            self.step_pending(turn)

    def _take(self, arrival: Arrival, turn: Turn) -> None:
        for stream in self.running:
            if arrival.ts > stream.ts:
                turn.add(stream, stream.take({self.symbol: arrival}))
        BARS.labels("live" if arrival.received_ns else "table").inc()
        if not self.running:
            self.pending.clear()
