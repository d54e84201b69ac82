"""Panels: the bars of one stream that looks at many symbols, or that steps in its own process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from libs.common.quant.simulation.records import DECISION
from libs.common.runtime.logging import get_logger
from services.strategy_engine.bars import Arrival
from services.strategy_engine.metrics import BARS, BARS_IGNORED, GAPS
from services.strategy_engine.sandbox import Done, Job
from services.strategy_engine.streams import Emission, Stream, StreamStatus, Turn
from services.strategy_engine.worker import WorkerEndedError, on_bar

_log = get_logger(__name__)

_MOMENTS_MAX: Final = 256
Moment = dict[str, Arrival]


@dataclass(frozen=True)
class Outcome:
    """What came of a job: pairs of moments and their answer, and why it went no further."""

    stream: Stream
    parts: list[tuple[Sequence[Moment], Done]]
    reason: str = ""


@dataclass
class Panel:
    """The bars of one timeframe of all symbols of its streams, time by time, each once.

    A time is stepped over once every symbol is known to have no further bar up to it: its bar of
    that time, or a later one, is here and nothing is missing before it. What is missing is read
    from the table; when that too does not come within `wait_ns`, the time goes on without.

    `known`: up to where (ns) each symbol's bars are all here. `offered`: when (ns, monotonic) a
    waiting time's first bar came.
    """

    symbols: tuple[str, ...]
    timeframe: str
    span_ns: int
    wait_ns: int
    monotonic_ns: Callable[[], int]
    wake: Callable[[], None]
    streams: list[Stream] = field(default_factory=list)
    pending: dict[int, Moment] = field(default_factory=dict)
    offered: dict[int, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    waiting_since_ns: int | None = None
    heard_ns: int = 0
    job: asyncio.Task[list[Outcome]] | None = None
    given_ts: int = 0

    @property
    def running(self) -> list[Stream]:
        """Return the streams that take bars."""
        return [stream for stream in self.streams if stream.status is StreamStatus.RUNNING]

    @property
    def fresh(self) -> list[Stream]:
        """Return the running streams whose history has not been looked for."""
        return [stream for stream in self.running if not stream.warmed]

    @property
    def ts(self) -> int:
        """Return the last time that every running stream has seen, or was given; 0 if none."""
        seen = min((stream.ts for stream in self.running), default=0)
        return max(seen, self.given_ts) if self.job else seen

    def first_pending(self) -> int | None:
        """Return the oldest waiting time."""
        return min(self.pending, default=None)

    def cause(self) -> Arrival | None:
        """Return a bar of the oldest waiting time."""
        first = self.first_pending()
        return None if first is None else next(iter(self.pending[first].values()))

    def offer(self, symbol: str, arrival: Arrival, pending_max: int) -> None:
        """Take in one live bar; duplicates and old ones are counted and dropped.

        When more times wait than `pending_max`, all are dropped: they come again from the table.
        """
        if not self.running:
            BARS_IGNORED.labels("stopped").inc()
            return
        if arrival.ts <= self.ts or symbol in self.pending.get(arrival.ts, ()):
            BARS_IGNORED.labels("old").inc()
            return
        if len(self.pending) >= pending_max:
            BARS_IGNORED.labels("overflow").inc(sum(map(len, self.pending.values())))
            self.pending.clear()
            self.offered.clear()
        if arrival.ts <= self._known(symbol) + self.span_ns:
            self.known[symbol] = max(self._known(symbol), arrival.ts)
        self._put(symbol, arrival)

    def fill(self, found: Mapping[str, Sequence[Arrival]], turn: Turn) -> None:
        """Take in what the table has (oldest first): all there is up to the last of each symbol."""
        del turn
        for symbol, arrivals in found.items():
            for arrival in arrivals:
                if arrival.ts > self.ts:
                    self._put(symbol, arrival)
            if arrivals:
                self.known[symbol] = max(self._known(symbol), arrivals[-1].ts)

    def gapped(self) -> bool:
        """Tell whether the oldest waiting time cannot be stepped over yet."""
        first = self.first_pending()
        return (
            first is not None
            and self.job is None
            and (bool(self.fresh) or not self._complete(first))
        )

    def advance(self, turn: Turn) -> bool:
        """Step over the waiting times that can be; tell whether something is waited for."""
        self._collect(turn)
        if self.job is not None:
            return False
        if not self.running:
            self.pending.clear()
            self.offered.clear()
            return False
        if self.pending and self.fresh:
            return True
        moments = self._due(turn)
        if moments or any(stream.backlog for stream in self.running):
            self.given_ts = next(iter(moments[-1].values())).ts if moments else self.ts
            self.job = asyncio.create_task(self._work(moments), name="strategy job")
            self.job.add_done_callback(lambda _: self.wake())
        return bool(self.pending) and self.job is None

    async def close(self) -> None:
        """Give up what is under way."""
        job, self.job = self.job, None
        if job is not None:
            job.cancel()
            await asyncio.wait({job})

    def _known(self, symbol: str) -> int:
        return max(self.known.get(symbol, 0), self.ts)

    def _put(self, symbol: str, arrival: Arrival) -> None:
        self.pending.setdefault(arrival.ts, {}).setdefault(symbol, arrival)
        self.offered.setdefault(arrival.ts, self.monotonic_ns())

    def _complete(self, ts: int) -> bool:
        return all(self._known(symbol) >= ts for symbol in self.symbols)

    def _due(self, turn: Turn) -> list[Moment]:
        """Take out the times that can be stepped over, and step over them here, or return them
        for the process."""
        elsewhere: list[Moment] = []
        while self.pending and len(elsewhere) < _MOMENTS_MAX:
            ts = min(self.pending)
            if not self._complete(ts):
                if self.monotonic_ns() - self.offered[ts] < self.wait_ns:
                    break
                GAPS.labels("timed_out").inc()
                missing = [s for s in self.symbols if self._known(s) < ts]
                _log.warning("bars_timed_out", ts=ts, symbols=missing)
            moment = self.pending.pop(ts)
            del self.offered[ts]
            BARS.labels("live" if next(iter(moment.values())).received_ns else "table").inc()
            if any(stream.worker for stream in self.running):
                elsewhere.append(moment)
                continue
            for stream in self.running:
                if ts > stream.ts:
                    turn.add(stream, stream.take(moment))
        return elsewhere

    # In its own process ---------------------------------------------------------------------

    async def _work(self, moments: list[Moment]) -> list[Outcome]:
        return [await self._ask(stream, moments) for stream in self.running]

    async def _ask(self, stream: Stream, moments: list[Moment]) -> Outcome:
        due = [m for m in moments if next(iter(m.values())).ts > stream.ts]
        memory = stream.runner.save() if stream.runner.ts else None
        history = [stream.backlog[s].tobytes() for s in stream.symbols] if stream.backlog else []
        try:
            return Outcome(stream, [(due, await _asked(stream, memory, history, due))])
        except WorkerEndedError as error:
            if not history and len(due) == 1:
                return Outcome(stream, [], _on(error, stream, due))
        # One at a time: which one was it?
        parts: list[tuple[Sequence[Moment], Done]] = []
        for some_history, some in [(history, []), *(([], [moment]) for moment in due)]:
            if not some_history and not some:
                continue
            try:
                done = await _asked(stream, memory, some_history, some)
            except WorkerEndedError as error:
                return Outcome(stream, parts, _on(error, stream, some))
            parts.append((some, done))
            memory = done.memory
            if done.error:
                break
        return Outcome(stream, parts)

    def _collect(self, turn: Turn) -> None:
        if self.job is None or not self.job.done():
            return
        job, self.job = self.job, None
        for outcome in job.result():
            stream = outcome.stream
            if not any(stream is own for own in self.streams):
                continue
            reason = outcome.reason
            stream.backlog = {}
            for moments, done in outcome.parts:
                stream.runner.restore(done.memory)
                emissions = [_emission(stream, moments, i, done) for i in range(len(done.given))]
                if moments or not done.error:
                    turn.add(stream, emissions, done.steps)
                reason = reason or done.error
            if reason:
                stream.fault(reason)
                turn.add(stream, ())


def _on(error: WorkerEndedError, stream: Stream, moments: Sequence[Moment]) -> str:
    where = on_bar(next(iter(moments[0].values())).ts, stream.symbols) if moments else "history"
    return f"{error} ({where})"


async def _asked(
    stream: Stream, memory: bytes | None, history: list[bytes], moments: Sequence[Moment]
) -> Done:
    assert stream.worker is not None
    places = {symbol: place for place, symbol in enumerate(stream.symbols)}
    bars = [[(places[s], arrival.bar.tobytes()) for s, arrival in m.items()] for m in moments]
    return await stream.worker.run(Job(list(stream.symbols), memory, history, moments=bars))


def _emission(stream: Stream, moments: Sequence[Moment], index: int, done: Done) -> Emission:
    given = done.given[index]
    decision: np.void = np.frombuffer(given.decision, DECISION)[0]
    symbol = stream.symbols[given.place]
    return stream.emission(symbol, decision, given.close, moments[given.index], given.features)
