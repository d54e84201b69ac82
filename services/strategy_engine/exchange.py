"""The exchange of a strategy for its new version, between two bars and in one transaction."""

from __future__ import annotations

from libs.common.contracts.messages import AuditEvent
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError
from services.strategy_engine.candidate import Candidate, stood
from services.strategy_engine.configuration import Configuration
from services.strategy_engine.engine import Engine
from services.strategy_engine.metrics import SWAP_PAUSE, SWAPS
from services.strategy_engine.ports import Book, Told
from services.strategy_engine.rehearsal import Rehearsal
from services.strategy_engine.roster import Former, Member, Roster, saved_state, streams_of
from services.strategy_engine.streams import Stream


class Exchange:
    """Puts candidates into the roster."""

    def __init__(self, engine: Engine, rehearsal: Rehearsal, *, book: Book, clock: Clock) -> None:
        self._engine = engine
        self._rehearsal = rehearsal
        self._book = book
        self._clock = clock

    async def let_ride(self, candidate: Candidate) -> None:
        """Let the new version go along on live bars. Raises ConflictError, UnavailableError."""
        async with self._engine.boundary() as roster:
            self._check_unchanged(candidate, roster)
            for stream in candidate.streams.values():
                await self._align(candidate, stream)
            roster.ride(candidate.streams.values())

    async def exchange(self, candidate: Candidate) -> None:
        """Put the new version into the old one's place. Raises ConflictError, UnavailableError."""
        wanted = candidate.configuration
        async with self._engine.boundary() as roster:
            with SWAP_PAUSE.time():
                self._check_unchanged(candidate, roster)
                old = candidate.old
                for symbol, stream in list(candidate.streams.items()):
                    stream = self._not_ahead(candidate, stream)
                    await self._align(candidate, stream)
                    stream.rides = False
                    if symbol not in candidate.carried and stream.runner.ts:
                        stream.runner.forget_stated()
                member = Member(
                    wanted,
                    candidate.loaded,
                    candidate.streams,
                    before=_left(old),
                    worker=candidate.worker,
                )
                await self._store(candidate, member)
                candidate.status = "exchanged"
                # Others keep their own code; who begins from here on gets the new one.
                roster.registry = candidate.registry
                roster.put(member)
        SWAPS.labels("rolled_back" if candidate.rollback else "exchanged").inc()

    def _not_ahead(self, candidate: Candidate, stream: Stream) -> Stream:
        """Return the stream, or a blank one if it has gone along beyond where the old one is: its
        signals on those bars are still to be given."""
        old = candidate.old.streams.get(stream.symbol)
        if stream.runner.ts <= stood(candidate.old, stream) or stream.symbol in candidate.carried:
            return stream
        for blank in streams_of(candidate.loaded, candidate.configuration, candidate.worker):
            if blank.symbol == stream.symbol:
                blank.warmed = old.warmed if old else False
                candidate.streams[stream.symbol] = blank
                return blank
        return stream

    async def _align(self, candidate: Candidate, stream: Stream) -> None:
        """Bring the new stream to the very bar where the old one stands."""
        old = candidate.old.streams.get(stream.symbol)
        last = stood(candidate.old, stream)
        if not last:
            stream.warmed = old.warmed if old else False
        elif stream.symbol in candidate.carried and old is not None:
            stream.runner.restore(old.runner.save())
            stream.backlog = old.backlog
            stream.warmed = old.warmed
        else:
            await self._rehearsal.follow_up(candidate, stream, last)
            stream.warmed = True

    def _check_unchanged(self, candidate: Candidate, roster: Roster) -> None:
        old = candidate.old
        if roster.members.get(old.configuration.id) is not old:
            raise ConflictError(f"{old.configuration.id} was changed meanwhile; swap again")

    async def _store(self, candidate: Candidate, member: Member) -> None:
        try:
            await self._book.configure(
                member.configuration,
                new=False,
                going_on=[symbol for symbol, s in member.streams.items() if s.runner.ts],
                states=[saved_state(s) for s in member.streams.values() if s.runner.ts],
                told=[Told(self._event(candidate), candidate.correlation_id)],
                epoch=self._engine.holdings.epochs[member.configuration.id],
            )
        except BaseException:
            # It may have been stored without our hearing of it: the tables know.
            self._engine.distrust()
            raise

    def _event(self, candidate: Candidate) -> AuditEvent:
        before, after = candidate.old.configuration, candidate.configuration
        return AuditEvent(
            event_type="strategy.rolled_back" if candidate.rollback else "strategy.swapped",
            actor=candidate.actor,
            action="rollback" if candidate.rollback else "swap",
            resource=f"strategy:{after.id}",
            outcome="success",
            ts=self._clock.now(),
            details={
                "from": _called(before),
                "to": _called(after),
                "state": "carried" if candidate.carried else "warmed by replay",
            },
        )


def _left(member: Member) -> Former | None:
    if member.loaded is None:
        return None
    memories = {s: (stream.runner.ts, stream.runner.save()) for s, stream in member.streams.items()}
    layouts = {stream.runner.layout for stream in member.streams.values()}
    return Former(member.loaded, layouts.pop() if layouts else "", memories)


def _called(configuration: Configuration) -> str:
    values = ", ".join(f"{name}={value}" for name, value in sorted(configuration.params.items()))
    return f"{configuration.class_name}({values})@{configuration.version_hash[:12]}"
