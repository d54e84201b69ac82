"""Which strategies run on which symbols, built from rows, files and saved states."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from libs.common.kernel.errors import InvalidInputError, NotFoundError
from libs.common.strategy import Runner
from libs.common.strategy.definition import Kind
from libs.common.strategy.kinds import runners_of
from libs.common.strategy.loader import Loaded
from libs.common.strategy.memory import to_plain
from libs.common.strategy.registry import EMPTY, Registry
from services.strategy_engine.configuration import Configuration
from services.strategy_engine.kit import Kit, panelled
from services.strategy_engine.panel import Panel
from services.strategy_engine.ports import SavedState
from services.strategy_engine.streams import UNIVERSE, Feed, Stream, StreamStatus
from services.strategy_engine.worker import Worker

_STATED: Final = ("target", "stop", "take_profit", "limit", "confidence", "rebalance")
Prepare = Callable[[Stream], None]


@dataclass
class Member:
    """A configured strategy: running on its universe, disabled, or absent for a reason.

    `before` is what it ran before the last swap, where that is still in memory.
    """

    configuration: Configuration
    loaded: Loaded | None = None
    streams: dict[str, Stream] = field(default_factory=dict)
    absent: str = ""
    before: Former | None = None
    worker: Worker | None = None

    def uncollected(self, collected: Collection[str]) -> list[str]:
        """Return the symbols that it waits for and that are not among the collected ones."""
        wanted = {symbol for stream in self.streams.values() for symbol in stream.symbols}
        return sorted(wanted - set(collected))


@dataclass(frozen=True)
class Former:
    """A swapped-out version: its code, and its memories (ts, bytes) by symbol when it left."""

    loaded: Loaded
    layout: str
    memories: Mapping[str, tuple[int, bytes]]


@dataclass
class Roster:
    """All members by id, and the feeds that serve their streams."""

    kit: Kit
    registry: Registry = EMPTY
    members: dict[str, Member] = field(default_factory=dict)
    feeds: dict[tuple[str, ...], Feed | Panel] = field(default_factory=dict)
    _listening: dict[tuple[str, str], list[Feed | Panel]] = field(default_factory=dict)

    def listening(self, symbol: str, timeframe: str) -> Iterable[Feed | Panel]:
        """Return the feeds that want the symbol's bars."""
        return self._listening.get((symbol, timeframe), ())

    def streams(self) -> Iterable[Stream]:
        """Return every stream."""
        return (stream for member in self.members.values() for stream in member.streams.values())

    def put(self, member: Member) -> None:
        """Take in a member, in place of the one with its id; nobody else's streams are touched."""
        strategy_id = member.configuration.id
        self.members[strategy_id] = member
        for feed in self.feeds.values():
            feed.streams = [s for s in feed.streams if s.configuration.id != strategy_id]
        for stream in member.streams.values():
            self._feed(stream).streams.append(stream)
        self._tidy()

    def ride(self, streams: Iterable[Stream]) -> None:
        """Let streams go along on the feeds, beside those of the members."""
        for stream in streams:
            self._feed(stream).streams.append(stream)
        self._tidy()

    def unseat(self, strategy_id: str) -> None:
        """Take out what goes along for a strategy."""
        for feed in self.feeds.values():
            feed.streams = [
                s for s in feed.streams if not s.rides or s.configuration.id != strategy_id
            ]
        self._tidy()

    def reached(self, stream: Stream) -> int:
        """Return the start of the last bar that others have seen of all of `stream`'s symbols, or
        0."""
        timeframe = stream.configuration.timeframe
        seen = [
            min(
                (
                    other.ts
                    for feed in self.listening(symbol, timeframe)
                    for other in feed.running
                    if other.key != stream.key
                ),
                default=0,
            )
            for symbol in stream.symbols
        ]
        return min(seen)

    def workers(self) -> set[Worker]:
        """Return the processes in use."""
        streams = (stream for feed in self.feeds.values() for stream in feed.streams)
        return {stream.worker for stream in streams if stream.worker is not None}

    def _feed(self, stream: Stream) -> Feed | Panel:
        timeframe = stream.configuration.timeframe
        key: tuple[str, ...] = (stream.symbol, timeframe)
        if panelled(stream):
            key = (*key, stream.configuration.id, "rides" * stream.rides)
        if key not in self.feeds:
            self.feeds[key] = self.kit.feed(stream)
        return self.feeds[key]

    def _tidy(self) -> None:
        self.feeds = {key: feed for key, feed in self.feeds.items() if feed.streams}
        self._listening = defaultdict(list)
        for feed in self.feeds.values():
            for symbol in feed.symbols:
                self._listening[symbol, feed.timeframe].append(feed)


def build_roster(
    kit: Kit,
    registry: Registry,
    configurations: Iterable[Configuration],
    saved: Mapping[tuple[str, str], SavedState],
    before: Roster | None = None,
    *,
    anew: bool = True,
) -> Roster:
    """Return the roster, each stream restored from its saved state where that still fits.

    Bars that wait in the feeds of `before` go on waiting. Unless `anew`, a member goes on with the
    code that it ran there.
    """
    roster = Roster(kit, registry)
    members = before.members if before else {}
    for configuration in configurations:
        old = members.get(configuration.id)
        known = registry if anew else with_own(registry, configuration, old)
        member = build_member(
            kit, known, configuration, lambda s: _restore(s, saved.get(s.key)), old
        )
        if old is not None:
            member.before = old.before
            if not anew:
                _keep_faults(member, old)
        roster.put(member)
    for key, feed in (before.feeds if before else {}).items():
        new = roster.feeds.get(key)
        if isinstance(new, Feed) and isinstance(feed, Feed):
            new.pending = feed.pending
    return roster


def build_member(
    kit: Kit,
    registry: Registry,
    configuration: Configuration,
    prepare: Prepare,
    old: Member | None = None,
) -> Member:
    """Return a member whose blank streams have gone through `prepare`.

    A strategy that cannot run (unknown, refused, bad parameters) is absent, with the reason. The
    process of `old` goes on where code and parameters are the same.
    """
    member = Member(configuration)
    if not configuration.enabled:
        return member
    try:
        loaded = registry.get(configuration.class_name)
        member.worker = _worker(kit, loaded, configuration, old)
        for stream in streams_of(loaded, configuration, member.worker):
            prepare(stream)
            member.streams[stream.symbol] = stream
        member.loaded = loaded
    except (NotFoundError, InvalidInputError) as error:
        member.absent = str(error)
        member.streams.clear()
    return member


def streams_of(loaded: Loaded, configuration: Configuration, worker: Worker | None) -> list[Stream]:
    """Return the blank streams of a strategy. Raises InvalidInputError."""
    definition = loaded.definition
    runners = runners_of(
        definition, configuration.params, configuration.universe, configuration.timeframe
    )
    cross = definition.kind is Kind.CROSS
    return [
        Stream(
            configuration,
            loaded.version_hash,
            UNIVERSE if cross else runner.symbols[0],
            runner,
            worker=worker,
        )
        for runner in runners
    ]


def _worker(
    kit: Kit, loaded: Loaded, configuration: Configuration, old: Member | None
) -> Worker | None:
    same = old is not None and old.loaded is loaded
    if old is not None and same and old.configuration.params == configuration.params:
        return old.worker
    return kit.worker(loaded, configuration)


def renewed(
    kit: Kit, registry: Registry, configuration: Configuration, before: Member | None
) -> Member:
    """Return the member under a new configuration.

    A stream whose parameters stay goes on with a copy of its memory; `before` is left as it is.
    The others begin anew, where the one before them stood.
    """
    streams = before.streams if before else {}
    known = with_own(registry, configuration, before)
    member = build_member(
        kit, known, configuration, lambda s: _take_over(s, streams.get(s.symbol)), before
    )
    member.before = before.before if before else None
    return member


def with_own(registry: Registry, configuration: Configuration, member: Member | None) -> Registry:
    """Return the registry with the code that the member runs in place of what it has by now."""
    loaded = member.loaded if member else None
    if loaded is None or loaded.definition.name != configuration.class_name:
        return registry
    strategies = {**registry.strategies, configuration.class_name: loaded}
    return dataclasses.replace(registry, strategies=strategies)


def _restore(stream: Stream, state: SavedState | None) -> None:
    if state is None:
        return
    if state.layout_hash == stream.runner.layout:
        stream.runner.restore(state.state)
        stream.warmed = True
    else:
        stream.resume_ts = state.as_of


def _take_over(stream: Stream, old: Stream | None) -> None:
    if old is None:
        return
    if old.runner.layout == stream.runner.layout:
        stream.runner.restore(old.runner.save())
        stream.warmed, stream.status, stream.reason = old.warmed, old.status, old.reason
        stream.backlog = old.backlog
    elif old.status is StreamStatus.RUNNING:
        stream.resume_ts = old.runner.ts


def _keep_faults(member: Member, old: Member) -> None:
    """A stream that stopped stays so until the files are loaded anew or it is changed."""
    for symbol, stream in member.streams.items():
        was = old.streams.get(symbol)
        if was is not None and was.runner.layout == stream.runner.layout:
            stream.status, stream.reason = was.status, was.reason


def bars_behind(member: Member, heard: Mapping[tuple[str, str], int]) -> float:
    """Return how many bars the slowest running stream has still to step over, `heard` being the
    last one (ns) by symbol and timeframe."""
    configuration = member.configuration
    gaps = [
        (heard[symbol, configuration.timeframe] - stream.runner.ts) / configuration.span_ns
        for stream in member.streams.values()
        if stream.status is not StreamStatus.FAULTED and stream.runner.ts
        for symbol in stream.symbols
        if (symbol, configuration.timeframe) in heard
    ]
    return max([0.0, *gaps])


def saved_state(stream: Stream) -> SavedState:
    """Return what is stored of a stream."""
    return SavedState(
        strategy_id=stream.configuration.id,
        symbol=stream.symbol,
        as_of=stream.runner.ts,
        state=stream.runner.save(),
        layout_hash=stream.runner.layout,
        version_hash=stream.version_hash,
        bars=stream.runner.bars,
        last_decision=_stated(stream),
    )


def _stated(stream: Stream) -> dict[str, Any]:
    """Return the last decision; of a stream on a universe, those of all symbols."""
    if isinstance(stream.runner, Runner):
        stated: np.void = stream.runner.memory["stated"]
        return {name: to_plain(stated[name]) for name in _STATED}
    shown: dict[str, Any] = stream.runner.shown()["stated"]
    return shown if stream.symbol == UNIVERSE else shown[stream.symbol]
