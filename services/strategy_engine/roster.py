"""Which strategies run on which symbols, built from rows, files and saved states."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from libs.common.kernel.errors import InvalidInputError, NotFoundError
from libs.common.strategy import Runner
from libs.common.strategy.loader import Loaded
from libs.common.strategy.memory import to_plain
from libs.common.strategy.registry import EMPTY, Registry
from services.strategy_engine.configuration import Configuration
from services.strategy_engine.ports import SavedState
from services.strategy_engine.streams import Feed, Stream, StreamStatus

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

    def uncollected(self, collected: Collection[str]) -> list[str]:
        """Return the symbols that it waits for and that are not among the collected ones."""
        return sorted(set(self.streams) - set(collected))


@dataclass(frozen=True)
class Former:
    """A swapped-out version: its code, and its memories (ts, bytes) by symbol when it left."""

    loaded: Loaded
    layout: str
    memories: Mapping[str, tuple[int, bytes]]


@dataclass
class Roster:
    """All members by id, and the feeds that serve their streams."""

    registry: Registry = EMPTY
    members: dict[str, Member] = field(default_factory=dict)
    feeds: dict[tuple[str, str], Feed] = field(default_factory=dict)

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
        self.feeds = {key: feed for key, feed in self.feeds.items() if feed.streams}

    def ride(self, streams: Iterable[Stream]) -> None:
        """Let streams go along on the feeds, beside those of the members."""
        for stream in streams:
            self._feed(stream).streams.append(stream)

    def unseat(self, strategy_id: str) -> None:
        """Take out what goes along for a strategy."""
        for feed in self.feeds.values():
            feed.streams = [
                s for s in feed.streams if not s.rides or s.configuration.id != strategy_id
            ]
        self.feeds = {key: feed for key, feed in self.feeds.items() if feed.streams}

    def reached(self, stream: Stream) -> int:
        """Return the start of the last bar that the others on `stream`'s feed have seen, or 0."""
        feed = self.feeds.get((stream.symbol, stream.configuration.timeframe))
        others = feed.running if feed else []
        return min((s.runner.ts for s in others if s.key != stream.key), default=0)

    def _feed(self, stream: Stream) -> Feed:
        configuration = stream.configuration
        key = (stream.symbol, configuration.timeframe)
        if key not in self.feeds:
            self.feeds[key] = Feed(*key, span_ns=configuration.span_ns)
        return self.feeds[key]


def build_roster(
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
    roster = Roster(registry)
    members = before.members if before else {}
    for configuration in configurations:
        old = members.get(configuration.id)
        known = registry if anew else with_own(registry, configuration, old)
        member = build_member(known, configuration, lambda s: _restore(s, saved.get(s.key)))
        if old is not None:
            member.before = old.before
            if not anew:
                _keep_faults(member, old)
        roster.put(member)
    for key, feed in (before.feeds if before else {}).items():
        if key in roster.feeds:
            roster.feeds[key].pending = feed.pending
    return roster


def build_member(registry: Registry, configuration: Configuration, prepare: Prepare) -> Member:
    """Return a member whose blank streams have gone through `prepare`.

    A strategy that cannot run (unknown, refused, bad parameters) is absent, with the reason.
    """
    member = Member(configuration)
    if not configuration.enabled:
        return member
    try:
        loaded = registry.get(configuration.class_name)
        for symbol in configuration.universe:
            runner = Runner(loaded.definition, configuration.params)
            stream = Stream(configuration, loaded.version_hash, symbol, runner, path=loaded.path)
            prepare(stream)
            member.streams[symbol] = stream
        member.loaded = loaded
    except (NotFoundError, InvalidInputError) as error:
        member.absent = str(error)
        member.streams.clear()
    return member


def renewed(registry: Registry, configuration: Configuration, before: Member | None) -> Member:
    """Return the member under a new configuration.

    A stream whose parameters stay goes on with a copy of its memory; `before` is left as it is.
    The others begin anew, where the one before them stood.
    """
    streams = before.streams if before else {}
    known = with_own(registry, configuration, before)
    member = build_member(known, configuration, lambda s: _take_over(s, streams.get(s.symbol)))
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
    elif old.status is StreamStatus.RUNNING:
        stream.resume_ts = old.runner.ts


def _keep_faults(member: Member, old: Member) -> None:
    """A stream that stopped stays so until the files are loaded anew or it is changed."""
    for symbol, stream in member.streams.items():
        was = old.streams.get(symbol)
        if was is not None and was.runner.layout == stream.runner.layout:
            stream.status, stream.reason = was.status, was.reason


def saved_state(stream: Stream) -> SavedState:
    """Return what is stored of a stream."""
    memory = stream.runner.memory
    stated: np.void = memory["stated"]
    return SavedState(
        strategy_id=stream.configuration.id,
        symbol=stream.symbol,
        as_of=stream.runner.ts,
        state=stream.runner.save(),
        layout_hash=stream.runner.layout,
        version_hash=stream.version_hash,
        bars=int(memory["bars"]),
        last_decision={name: to_plain(stated[name]) for name in _STATED},
    )
