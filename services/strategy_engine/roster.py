"""Which strategies run on which symbols, built from rows, files and saved states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from services.strategy_engine.streams import Feed, Stream

_STATED: Final = ("target", "stop", "take_profit", "limit", "confidence")


@dataclass
class Member:
    """A configured strategy: running on its universe, or absent for a reason."""

    configuration: Configuration
    loaded: Loaded | None = None
    streams: dict[str, Stream] = field(default_factory=dict)
    absent: str = ""


@dataclass
class Roster:
    """All members by id, and the feeds that serve their streams."""

    registry: Registry = EMPTY
    members: dict[str, Member] = field(default_factory=dict)
    feeds: dict[tuple[str, str], Feed] = field(default_factory=dict)

    def streams(self) -> Iterable[Stream]:
        """Return every stream."""
        return (stream for member in self.members.values() for stream in member.streams.values())


def build_roster(
    registry: Registry,
    configurations: Iterable[Configuration],
    saved: Mapping[tuple[str, str], SavedState],
    before: Roster | None = None,
) -> Roster:
    """Return the roster, each stream restored from its saved state where that still fits.

    A strategy that cannot run (unknown, refused, bad parameters) is listed with the reason.
    Bars that wait in the feeds of `before` go on waiting.
    """
    roster = Roster(registry)
    for configuration in configurations:
        member = Member(configuration)
        roster.members[configuration.id] = member
        if not configuration.enabled:
            member.absent = "disabled"
            continue
        try:
            member.loaded = registry.get(configuration.class_name)
            for symbol in configuration.universe:
                member.streams[symbol] = _stream(configuration, member.loaded, symbol, saved)
        except (NotFoundError, InvalidInputError) as error:
            member.absent = str(error)
            member.streams.clear()
    for stream in roster.streams():
        _feed(roster, stream).streams.append(stream)
    for key, old in (before.feeds if before else {}).items():
        if key in roster.feeds:
            roster.feeds[key].pending = old.pending
    return roster


def _stream(
    configuration: Configuration,
    loaded: Loaded,
    symbol: str,
    saved: Mapping[tuple[str, str], SavedState],
) -> Stream:
    runner = Runner(loaded.definition, configuration.params)
    stream = Stream(configuration, loaded.version_hash, symbol, runner)
    state = saved.get(stream.key)
    if state is None:
        return stream
    if state.layout_hash == runner.layout:
        runner.restore(state.state)
        stream.warmed = True
    else:
        stream.resume_ts = state.as_of
    return stream


def _feed(roster: Roster, stream: Stream) -> Feed:
    configuration = stream.configuration
    key = (stream.symbol, configuration.timeframe)
    if key not in roster.feeds:
        roster.feeds[key] = Feed(*key, span_ns=configuration.span_ns)
    return roster.feeds[key]


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
