"""A strategy's code or parameters exchanged while it runs, and back again."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from libs.common.contracts.messages import AuditEvent
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import get_logger
from libs.common.strategy.loader import Loaded
from libs.common.strategy.registry import Registry
from services.strategy_engine.configuration import Configuration, Version
from services.strategy_engine.engine import Engine
from services.strategy_engine.metrics import SWAP_PAUSE, SWAPS
from services.strategy_engine.ports import Book, History, Told
from services.strategy_engine.roster import Former, Member, Roster, saved_state, streams_of
from services.strategy_engine.streams import Stream, StreamStatus
from services.strategy_engine.swap import Proof, Swap, proof_of, replayed, swap_view
from services.strategy_engine.worker import Worker

_log = get_logger(__name__)

_POLL_S: Final = 0.05
_CHUNK: Final = 5000


@dataclass
class Candidate:
    """What is to take a member's place: its streams by symbol, not yet part of the roster.

    `carried`: the streams whose memory is the old one's at the exchange.
    """

    old: Member
    loaded: Loaded
    registry: Registry
    configuration: Configuration
    worker: Worker | None
    streams: dict[str, Stream]
    carried: frozenset[str]
    proofs: dict[str, Proof]
    shadow_bars: int
    rollback: bool
    correlation_id: uuid.UUID
    status: str = "shadowing"
    reason: str = ""

    @property
    def ridden(self) -> int:
        """Return how many live bars every symbol has gone along for."""
        return min((s.ridden for s in self.streams.values()), default=self.shadow_bars)

    def view(self) -> dict[str, Any]:
        """Return how it stands, to be shown."""
        wanted = self.configuration
        return swap_view(
            self.proofs,
            status=self.status,
            reason=self.reason,
            class_name=wanted.class_name,
            params=dict(wanted.params),
            version_hash=wanted.version_hash,
            rollback=self.rollback,
            carried=sorted(self.carried),
            shadow_bars=self.shadow_bars,
            shadowed=self.ridden if self.shadow_bars else 0,
        )


class Swapper:
    """Prepares beside what runs, exchanges between two bars."""

    def __init__(
        self, engine: Engine, *, book: Book, history: History, clock: Clock, ids: IdSource
    ) -> None:
        self._engine = engine
        self._book = book
        self._history = history
        self._clock = clock
        self._ids = ids
        self._candidates: dict[str, Candidate] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def last(self, strategy_id: str) -> dict[str, Any] | None:
        """Return how the strategy's last swap since the start stands or went."""
        candidate = self._candidates.get(strategy_id)
        return candidate.view() if candidate else None

    async def swap(
        self, strategy_id: str, wish: Swap, correlation_id: uuid.UUID | None
    ) -> Candidate:
        """Prepare and prove the new version; exchange it now, or after its bars in shadow.

        Raises NotFoundError, ConflictError, InvalidInputError, UnavailableError; then what runs is
        untouched.
        """
        if strategy_id in self._tasks:
            raise ConflictError(f"{strategy_id}: a swap is under way; cancel it or let it end")
        member = self._engine.member(strategy_id)
        if not member.configuration.enabled:
            raise ConflictError(f"{strategy_id} is disabled; change it, then enable it")
        candidate = await self._prepare(member, wish, correlation_id or self._ids.new())
        try:
            await self._prove(candidate, wish.replay_bars)
        except BaseException:
            await self._dismiss(candidate)
            raise
        if strategy_id in self._tasks:
            raise ConflictError(f"{strategy_id}: another swap has begun meanwhile")
        self._candidates[strategy_id] = candidate
        if not wish.shadow_bars:
            try:
                await self._exchange(candidate)
            except BaseException:
                await self._dismiss(candidate)
                raise
            return candidate
        await self._let_ride(candidate)
        task = asyncio.create_task(self._follow(candidate), name=f"swap of {strategy_id}")
        self._tasks[strategy_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(strategy_id, None))
        return candidate

    async def cancel(self, strategy_id: str) -> Candidate:
        """Give up a swap that is under way. Raises NotFoundError where there is none."""
        task, candidate = self._tasks.get(strategy_id), self._candidates.get(strategy_id)
        if task is None or candidate is None:
            raise NotFoundError(f"{strategy_id}: no swap is under way")
        task.cancel()
        await asyncio.wait({task})
        if candidate.status == "shadowing":
            await self._dismiss(candidate)
            candidate.status, candidate.reason = "cancelled", "by request"
        return candidate

    async def stop(self) -> None:
        """Give up all swaps that are under way; what runs goes on at the next start."""
        for strategy_id in list(self._tasks):
            await self.cancel(strategy_id)

    async def _dismiss(self, candidate: Candidate) -> None:
        """Take what was prepared out of the feeds, and end its process."""
        roster = self._engine.roster
        roster.unseat(candidate.configuration.id)
        if candidate.worker is not None and candidate.worker not in roster.workers():
            await candidate.worker.end()

    # Preparing, beside what runs ------------------------------------------------------------

    async def _prepare(self, member: Member, wish: Swap, correlation_id: uuid.UUID) -> Candidate:
        before = member.configuration
        registry = await self._engine.load_files()
        if wish.rollback:
            loaded, params = self._former(member, registry)
        else:
            loaded = _wanted(registry, wish.class_name or before.class_name)
            same = loaded.definition.name == before.class_name
            params = {**(before.params if same else {}), **(wish.params or {})}
            params = {name: value for name, value in params.items() if value is not None}
        loaded.definition.parse(params)
        wanted = dataclasses.replace(
            before,
            class_name=loaded.definition.name,
            params=params,
            version_hash=loaded.version_hash,
            previous=Version(before.class_name, dict(before.params), before.version_hash),
        )
        if _same(before, wanted) and member.loaded is not None:
            raise ConflictError(
                f"{before.id}: nothing to swap: it runs this version of {before.class_name} with "
                "these parameters already"
            )
        worker = self._engine.roster.kit.worker(loaded, wanted)
        streams = {s.symbol: s for s in streams_of(loaded, wanted, worker)}
        for stream in streams.values():
            stream.rides = True
        carried = frozenset(
            symbol
            for symbol, stream in streams.items()
            if wanted.class_name == before.class_name
            and symbol in member.streams
            and member.streams[symbol].runner.layout == stream.runner.layout
        )
        return Candidate(
            member, loaded, registry, wanted, worker, streams, carried, {}, wish.shadow_bars,
            wish.rollback, correlation_id,
        )  # fmt: skip

    def _former(self, member: Member, registry: Registry) -> tuple[Loaded, dict[str, object]]:
        configuration = member.configuration
        version = configuration.previous
        if version is None:
            raise ConflictError(f"{configuration.id}: it has never been swapped")
        if member.before is not None:
            return member.before.loaded, dict(version.params)
        loaded = registry.strategies.get(version.class_name)
        if loaded is None or loaded.version_hash != version.version_hash:
            raise ConflictError(
                f"{configuration.id}: the code of {version.class_name} that ran before "
                f"(version {version.version_hash[:12]}) is no longer at hand; put that file back "
                "and roll back again"
            )
        return loaded, dict(version.params)

    async def _prove(self, candidate: Candidate, bars: int) -> None:
        """Step a blank one of the new and a blank one of the old over the same stored bars."""
        old, wanted = candidate.old, candidate.configuration
        beside = streams_of(old.loaded, old.configuration, old.worker) if old.loaded else []
        old_warmup = max((s.runner.warmup for s in beside), default=0)
        proven = streams_of(candidate.loaded, wanted, candidate.worker)
        for stream in proven:
            present = _stood(old, stream)
            if not present:
                continue
            count = max(stream.runner.warmup, old_warmup) + bars
            history = {
                symbol: await self._history.before(
                    wanted.timeframe, symbol, present + wanted.span_ns, count
                )
                for symbol in stream.symbols
            }
            new = await replayed(stream, history)
            former: dict[str, np.ndarray] = {}
            for other in beside:
                if set(other.symbols) <= set(history):
                    former |= await replayed(other, {s: history[s] for s in other.symbols})
            for symbol in stream.symbols:
                candidate.proofs[symbol] = proof_of(
                    symbol, len(history[symbol]), bars, new[symbol], former.get(symbol)
                )
            # So that hardly a bar is left to be stepped over while the others wait.
            await self._follow_up(candidate, candidate.streams[stream.symbol], present)

    async def _follow_up(self, candidate: Candidate, stream: Stream, end: int) -> None:
        """Bring a stream's memory to the bar that starts at `end`, from the table."""
        runner = stream.runner
        former = candidate.old.before if candidate.rollback else None
        kept = (former.memories if former else {}).get(stream.symbol)
        if not runner.ts and kept is not None and former and former.layout == runner.layout:
            runner.restore(kept[1])
        timeframe, span = candidate.configuration.timeframe, candidate.configuration.span_ns
        if not runner.ts:
            history = {
                symbol: await self._history.before(
                    timeframe, symbol, end + span, max(runner.warmup, 1)
                )
                for symbol in stream.symbols
            }
            if any(map(len, history.values())):
                await replayed(stream, history)
        while 0 < runner.ts < end:
            since = dict.fromkeys(stream.symbols, runner.ts)
            found = await self._history.since(timeframe, since, _CHUNK)
            # Of symbols read in part, none is stepped over beyond where the first of them ends.
            cut = min([end, *(int(b["ts"][-1]) for b in found.values() if len(b) == _CHUNK)])
            due = {s: np.ascontiguousarray(b[b["ts"] <= cut]) for s, b in found.items()}
            if not any(map(len, due.values())):
                break
            await replayed(stream, due)

    async def _let_ride(self, candidate: Candidate) -> None:
        async with self._engine.boundary() as roster:
            self._check_unchanged(candidate, roster)
            for stream in candidate.streams.values():
                await self._align(candidate, stream)
            roster.ride(candidate.streams.values())

    async def _follow(self, candidate: Candidate) -> None:
        strategy_id = candidate.configuration.id
        try:
            while candidate.ridden < candidate.shadow_bars:
                self._check_riding(candidate)
                await asyncio.sleep(_POLL_S)
            self._check_riding(candidate)
            await self._exchange(candidate)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a task's edge: the swap is off, and says why
            await self._dismiss(candidate)
            candidate.status, candidate.reason = "refused", str(error)
            SWAPS.labels("refused").inc()
            _log.error("swap_refused", strategy_id=strategy_id, reason=str(error))

    def _check_riding(self, candidate: Candidate) -> None:
        for stream in candidate.streams.values():
            if stream.status is StreamStatus.FAULTED:
                raise InvalidInputError(f"{stream.symbol}: {stream.reason}")
        riding = {
            id(stream) for feed in self._engine.roster.feeds.values() for stream in feed.streams
        }
        if not all(id(stream) in riding for stream in candidate.streams.values()):
            raise ConflictError("the strategy was restored or changed meanwhile")

    # The exchange, between two bars -----------------------------------------------------------

    async def _exchange(self, candidate: Candidate) -> None:
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
        if stream.runner.ts <= _stood(candidate.old, stream) or stream.symbol in candidate.carried:
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
        stood = _stood(candidate.old, stream)
        if not stood:
            stream.warmed = old.warmed if old else False
        elif stream.symbol in candidate.carried and old is not None:
            stream.runner.restore(old.runner.save())
            stream.backlog = old.backlog
            stream.warmed = old.warmed
        else:
            await self._follow_up(candidate, stream, stood)
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
            actor="api",
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


def _wanted(registry: Registry, name: str) -> Loaded:
    try:
        loaded = registry.get(name)
    except NotFoundError as error:
        refused = "; ".join(str(refusal) for refusal in registry.refused)
        raise InvalidInputError(
            f"class_name: {error}" + (f" ({refused})" * bool(refused))
        ) from error
    for refusal in registry.refused:
        if refusal.path == loaded.path:
            raise InvalidInputError(str(refusal)) from refusal
    return loaded


def _same(a: Configuration, b: Configuration) -> bool:
    return (a.class_name, a.version_hash, a.params) == (b.class_name, b.version_hash, b.params)


def _stood(old: Member, stream: Stream) -> int:
    """Return the last bar (ns) that the old streams of these symbols have seen, 0 if none."""
    symbols = set(stream.symbols)
    seen = (s.runner.ts for s in old.streams.values() if symbols & set(s.symbols))
    return max(seen, default=0)


def _left(member: Member) -> Former | None:
    if member.loaded is None:
        return None
    memories = {s: (stream.runner.ts, stream.runner.save()) for s, stream in member.streams.items()}
    layouts = {stream.runner.layout for stream in member.streams.values()}
    return Former(member.loaded, layouts.pop() if layouts else "", memories)


def _called(configuration: Configuration) -> str:
    values = ", ".join(f"{name}={value}" for name, value in sorted(configuration.params.items()))
    return f"{configuration.class_name}({values})@{configuration.version_hash[:12]}"
