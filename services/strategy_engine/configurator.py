"""Strategies added, changed and disabled while the engine runs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from libs.common.contracts.messages import AuditEvent, Notification
from libs.common.domain.vocabulary import Level, StrategyMode
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import get_logger
from libs.common.strategy.registry import Registry
from services.strategy_engine.configuration import (
    Change,
    Configuration,
    NewStrategy,
    changed,
    configuration_of,
    differences,
)
from services.strategy_engine.engine import Engine
from services.strategy_engine.filler import Filler
from services.strategy_engine.metrics import DEMOTIONS
from services.strategy_engine.ports import Book, Instruments, Told
from services.strategy_engine.roster import Member, Roster, renewed, saved_state, with_own
from services.strategy_engine.streams import Turn

_log = get_logger(__name__)

_NAMED_MAX: Final = 20


class Configurator:
    """Changes one member between two bars; the streams of all others are not touched."""

    def __init__(
        self,
        engine: Engine,
        filler: Filler,
        *,
        book: Book,
        instruments: Instruments,
        collected: Sequence[str],
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._engine = engine
        self._filler = filler
        self._book = book
        self._instruments = instruments
        self._collected = collected
        self._clock = clock
        self._ids = ids

    async def add(
        self, new: NewStrategy, correlation_id: uuid.UUID | None, *, actor: str
    ) -> Member:
        """Run one more strategy. Raises InvalidInputError, ConflictError, UnavailableError."""
        async with self._engine.boundary() as roster:
            taken = roster.members.get(new.id)
            if taken is not None:
                raise ConflictError(_taken(taken.configuration))
            check_strategy(roster.registry, new.class_name, new.params)
            await self._check_symbols(new.universe)
            wanted = configuration_of(new, roster.registry)
            return await self._put(roster, None, wanted, correlation_id, actor=actor)

    async def change(
        self,
        strategy_id: str,
        change: Change,
        correlation_id: uuid.UUID | None,
        *,
        actor: str,
        check: Callable[[Configuration], None] | None = None,
    ) -> Member:
        """Run a strategy otherwise than before, or not at all; `check` may object to what it is
        now.

        Where nothing differs, nothing is done. Raises NotFoundError, InvalidInputError,
        UnavailableError, and what `check` raises.
        """
        async with self._engine.boundary() as roster:
            member = self._engine.member(strategy_id)
            before = member.configuration
            if check is not None:
                check(before)
            wanted = changed(before, change)
            if wanted == before:
                return member
            begins = wanted.enabled and not before.enabled
            if begins or change.params is not None:
                known = with_own(roster.registry, wanted, member)
                check_strategy(known, wanted.class_name, wanted.params)
            if begins or change.universe is not None:
                await self._check_symbols(wanted.universe)
            return await self._put(roster, member, wanted, correlation_id, actor=actor)

    async def demote(self, strategy_id: str, reason: str) -> None:
        """Put a live strategy into shadow because it passed a limit of its own; people hear of it.

        Raises NotFoundError, UnavailableError.
        """
        async with self._engine.boundary() as roster:
            member = self._engine.member(strategy_id)
            before = member.configuration
            if before.mode is not StrategyMode.LIVE:
                return
            correlation_id = self._ids.new()
            wanted = dataclasses.replace(before, mode=StrategyMode.SHADOW)
            told = [
                Told(_demoted(before, reason, self._clock.now()), correlation_id),
                Told(_alert(before, reason, self._clock.now()), correlation_id),
            ]
            await self._put(roster, member, wanted, correlation_id, told)
        DEMOTIONS.labels(strategy_id).inc()
        _log.error("strategy_demoted", strategy_id=strategy_id, reason=reason)

    async def _check_symbols(self, universe: Sequence[str]) -> None:
        check_symbols(universe, await self._instruments.symbols(), self._collected)

    async def _put(
        self,
        roster: Roster,
        before: Member | None,
        wanted: Configuration,
        correlation_id: uuid.UUID | None,
        told: Sequence[Told] = (),
        *,
        actor: str = "strategy_engine",
    ) -> Member:
        member = renewed(roster.kit, roster.registry, wanted, before)
        if member.loaded is not None:
            version = member.loaded.version_hash
            member.configuration = dataclasses.replace(wanted, version_hash=version)
        going_on = [symbol for symbol, s in member.streams.items() if s.warmed]
        await self._warm(roster, member)
        if before is not None and before.configuration.mode is not wanted.mode:
            # A strategy that goes live is traded from its present target on.
            for stream in member.streams.values():
                stream.runner.forget_stated()
        try:
            await self._book.configure(
                member.configuration,
                new=before is None,
                going_on=going_on,
                states=[saved_state(s) for s in member.streams.values() if s.runner.ts],
                told=told
                or [Told(self._event(before, wanted, actor), correlation_id or self._ids.new())],
                epoch=None if before is None else self._engine.holdings.epochs[wanted.id],
            )
        except BaseException:
            # It may have been stored without our hearing of it: the tables know.
            self._engine.distrust()
            raise
        if before is None:
            self._engine.holdings.epochs = {**self._engine.holdings.epochs, wanted.id: 1}
        roster.put(member)
        return member

    async def _warm(self, roster: Roster, member: Member) -> None:
        """Bring new streams to where their feeds are; on a new feed, the first bar does that."""
        for stream in member.streams.values():
            reached = stream.resume_ts or roster.reached(stream)
            if reached and not stream.warmed:
                end = reached + stream.configuration.span_ns
                await self._filler.warm(stream, end, Turn())

    def _event(self, before: Member | None, wanted: Configuration, actor: str) -> AuditEvent:
        if before is None:
            details = {
                "class_name": wanted.class_name,
                "params": str(dict(wanted.params)),
                "universe": ",".join(wanted.universe),
                "timeframe": wanted.timeframe.value,
                "weight": str(wanted.weight),
                "mode": wanted.mode.value,
            }
        else:
            details = differences(before.configuration, wanted)
        return AuditEvent(
            event_type="strategy.added" if before is None else "strategy.changed",
            actor=actor,
            action="add" if before is None else "change",
            resource=f"strategy:{wanted.id}",
            outcome="success",
            ts=self._clock.now(),
            details=details,
        )


def _demoted(configuration: Configuration, reason: str, ts: dt.datetime) -> AuditEvent:
    return AuditEvent(
        event_type="strategy.demoted",
        actor="strategy_engine",
        action="demote",
        resource=f"strategy:{configuration.id}",
        outcome="success",
        ts=ts,
        details={"mode": "live -> shadow", "reason": reason},
    )


def _alert(configuration: Configuration, reason: str, ts: dt.datetime) -> Notification:
    return Notification(
        level=Level.CRITICAL,
        title=f"Strategy {configuration.id} demoted to shadow",
        message=f"{reason}. Its signals are recorded, not traded; its positions stay as they are",
        fingerprint=f"strategy_demoted:{configuration.id}",
        ts=ts,
        context={"strategy_id": configuration.id, "reason": reason},
    )


def check_strategy(registry: Registry, class_name: str, params: Mapping[str, object]) -> None:
    """Raise InvalidInputError unless `class_name` is loaded and `params` fit its schema."""
    try:
        loaded = registry.get(class_name)
    except NotFoundError as error:
        raise InvalidInputError(f"class_name: {error}") from error
    loaded.definition.parse(params)


def check_symbols(
    universe: Sequence[str], known: Collection[str], collected: Sequence[str]
) -> None:
    """Raise InvalidInputError naming every symbol that does not exist or is not collected."""
    problems = []
    for symbol in universe:
        if symbol in collected and symbol in known:
            continue
        near = difflib.get_close_matches(symbol.upper(), {*known, *collected}, n=3, cutoff=0.6)
        if symbol in known:
            problems.append(f"{symbol} is not collected")
        elif near:
            problems.append(f"{symbol} is not a known instrument (did you mean {', '.join(near)}?)")
        else:
            problems.append(f"{symbol} is not a known instrument")
    if problems:
        raise InvalidInputError(f"universe: {'; '.join(problems)}. {_how_to_collect(collected)}")


def _how_to_collect(collected: Sequence[str]) -> str:
    named = ", ".join(collected[:_NAMED_MAX])
    more = f" and {len(collected) - _NAMED_MAX} more" if len(collected) > _NAMED_MAX else ""
    return (
        f"Market data is collected for TRADEWIND_SYMBOLS: {named}{more}; to use another symbol "
        "of the market, add it there (`make run SYMBOLS=…`) and start again"
    )


def _taken(taken: Configuration) -> str:
    if taken.enabled:
        return f"a strategy has the id {taken.id!r} already; choose another, or change that one"
    return (
        f"the id {taken.id!r} belongs to a strategy that is disabled and whose history stays; "
        "choose another id, or enable that one"
    )
