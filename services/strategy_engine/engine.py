"""The engine: feeds bars to streams, commits what came of it, starts again where it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import NotFoundError, UnavailableError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import get_logger
from libs.common.runtime.trial import load_limits
from libs.common.runtime.vetting import Vetting
from libs.common.strategy.fusion import with_fusion
from libs.common.strategy.registry import Registry, load_directories
from services.strategy_engine.bars import Arrival
from services.strategy_engine.commit import commit
from services.strategy_engine.configuration import configuration_of
from services.strategy_engine.filler import Filler
from services.strategy_engine.kit import Kit
from services.strategy_engine.leases import Holdings, LeaseLostError
from services.strategy_engine.metrics import LEASES_LOST, STREAMS
from services.strategy_engine.panel import Panel
from services.strategy_engine.ports import Book, Leases
from services.strategy_engine.roster import Member, Roster, build_roster
from services.strategy_engine.settings import EngineSettings
from services.strategy_engine.streams import Feed, StreamStatus, Turn
from services.strategy_engine.worker import Worker

_log = get_logger(__name__)

_NS: Final = 1_000_000_000


class Engine:
    """Holds the roster. One task steps and commits; receiving only puts bars in their feeds.

    Memory is ahead of the tables between a step and its commit; a commit that fails because the
    database is away is tried again with the same content, after any other failure everything is
    restored from the tables. Signals have derived ids, so what was committed without our hearing
    of it is not stored or published twice.
    """

    def __init__(
        self,
        settings: EngineSettings,
        filler: Filler,
        *,
        book: Book,
        leases: Leases,
        replica: str,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._settings = settings
        self._filler = filler
        self._book = book
        self._leases = leases
        self.replica = replica
        self._clock = clock
        self._ids = ids
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._unsaved = Turn()
        self._stale = False
        self._swept_ns = 0
        self._asked_ns = 0
        self.holdings = Holdings()
        self.closes: dict[str, float] = {}
        self.heard: dict[tuple[str, str], int] = {}
        self._vet = Vetting(settings.trusted_dirs, load_limits(settings.load_timeout_s))
        self._kit = Kit(settings, clock, self._wake.set)
        self._workers: set[Worker] = set()
        self._ending: set[asyncio.Task[int | None]] = set()
        self.roster = Roster(self._kit)

    # Start and restart --------------------------------------------------------------------

    async def start(self) -> None:
        """Seed the table at first start, load the strategy files, restore and catch up."""
        registry = await self.load_files()
        seeds = [configuration_of(seed, registry) for seed in self._settings.seeds]
        if await self._book.seed(seeds):
            _log.info("strategies_seeded", strategies=[seed.id for seed in seeds])
        await self._leases.begin()
        await self._leases.renew()
        async with self._lock:
            await self._restore(registry, anew=True)

    async def reload(self) -> Registry:
        """Load the strategy files anew and restart what they define, from its saved state.

        A file that is broken now keeps the strategies that it gave before.
        """
        registry = await self.load_files()
        async with self._lock:
            await self._commit()
            await self._restore(registry, anew=True)
        self._wake.set()
        return registry

    async def load_files(self) -> Registry:
        """Load the strategy files anew; what runs is not touched."""
        before = self.roster.registry
        directories = self._settings.strategy_dirs
        registry = await asyncio.to_thread(load_directories, directories, before, self._vet)
        for refusal in registry.refused:
            _log.error("strategy_file_refused", file=str(refusal.path), reason=str(refusal))
        return with_fusion(registry, self._settings.trusted_dirs)

    async def _restore(self, registry: Registry, *, anew: bool = False) -> None:
        # Whatever fails from here on, the next turn begins with restoring again.
        self._stale = True
        held = await self._leases.held()
        configurations = [c for c in await self._book.configurations() if c.id in held]
        saved = await self._book.states()
        roster = build_roster(self._kit, registry, configurations, saved, self.roster, anew=anew)
        self._unsaved = Turn()
        self.holdings.epochs = held
        for member in roster.members.values():
            await self._note_version(member)
        for stream in roster.streams():
            if stream.resume_ts:
                after = stream.resume_ts + stream.configuration.span_ns
                await self._filler.warm(stream, after, self._unsaved)
        self.roster = roster
        self._settle(roster)
        more = True
        while more:
            begun = [feed for feed in roster.feeds.values() if feed.running and not feed.fresh]
            more = await self._filler.catch_up(begun, self._unsaved)
            await self._commit()
        self._stale = False

    async def _note_version(self, member: Member) -> None:
        configuration, loaded = member.configuration, member.loaded
        if member.absent:
            _log.error("strategy_absent", strategy_id=configuration.id, reason=member.absent)
        if uncollected := member.uncollected(self._settings.symbols):
            _log.error(
                "strategy_symbols_not_collected", strategy_id=configuration.id, symbols=uncollected
            )
        if loaded is not None and loaded.version_hash != configuration.version_hash:
            await self._book.set_version(configuration.id, loaded.version_hash)

    # Live ---------------------------------------------------------------------------------

    def receive(self, symbol: str, timeframe: str, arrivals: Iterable[Arrival]) -> None:
        """Put live bars where they wait for their turn."""
        arrivals = list(arrivals)
        for feed in self.roster.listening(symbol, timeframe):
            feed.heard_ns = self._clock.monotonic_ns()
            for arrival in arrivals:
                feed.offer(symbol, arrival, self._settings.pending_bars_max)
            self.closes[symbol] = float(arrivals[-1].bar["close"])
            self.heard[symbol, timeframe] = arrivals[-1].ts
        self._wake.set()

    async def run(self) -> None:
        """Step and commit until cancelled."""
        while True:
            async with self._lock:
                try:
                    if self._stale:
                        await self._restore(self.roster.registry)
                    await self._turn()
                except LeaseLostError as error:
                    # Somebody else has stepped over these bars; what is ours is looked up anew.
                    LEASES_LOST.inc()
                    _log.warning("strategies_parted", reason=str(error))
                    self._stale = True
                    continue
            # Not wait_for: before Python 3.12 it can swallow a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()
            self._wake.clear()

    async def save(self) -> None:
        """Commit what is not committed yet; at shutdown."""
        async with self._lock:
            await self._commit()

    def _pause_s(self) -> float:
        waiting = any(feed.waiting_since_ns is not None for feed in self.roster.feeds.values())
        return self._settings.gap_poll_s if waiting else self._settings.sweep_s

    async def _turn(self) -> None:
        await self._commit()
        gapped = [f for f in self.roster.feeds.values() if f.advance(self._unsaved)]
        await self._commit()
        now = self._clock.monotonic_ns()
        asking = self._due_gaps(gapped, now) + self._due_sweep(gapped, now)
        if asking:
            await self._filler.begin([feed for feed in asking if feed.fresh], self._unsaved)
            await self._filler.catch_up([f for f in asking if not f.fresh], self._unsaved)
            await self._commit()

    def _due_gaps(self, gapped: list[Feed | Panel], now: int) -> list[Feed | Panel]:
        new = [feed for feed in gapped if feed.waiting_since_ns is None]
        for feed in new:
            feed.waiting_since_ns = now
        if new or now - self._asked_ns >= self._settings.gap_poll_s * _NS:
            self._asked_ns = now
            return gapped
        return []

    def _due_sweep(self, gapped: list[Feed | Panel], now: int) -> list[Feed | Panel]:
        pause = self._settings.sweep_s * _NS
        if now - self._swept_ns < pause:
            return []
        self._swept_ns = now
        quiet = (f for f in self.roster.feeds.values() if now - f.heard_ns >= pause)
        return [feed for feed in quiet if feed not in gapped and feed.running]

    def _settle(self, roster: Roster) -> None:
        """End the processes that nobody steps in any more."""
        _count(roster)
        workers = roster.workers()
        for worker in self._workers - workers:
            task = asyncio.create_task(worker.end(), name="end of a strategy's process")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._workers = workers

    async def close(self) -> None:
        """End all processes of strategies; the last act at shutdown."""
        for feed in self.roster.feeds.values():
            if isinstance(feed, Panel):
                await feed.close()
        for worker in self._workers:
            await worker.end()

    # The tables ---------------------------------------------------------------------------

    async def _commit(self) -> None:
        while self._unsaved:
            part = self._unsaved.take_urgent()
            try:
                await commit(part, self._book, self.holdings, self._clock, self._ids)
            except BaseException as error:
                self._unsaved.put_back(part)
                if not isinstance(error, UnavailableError | asyncio.CancelledError):
                    self._stale = True
                raise
            if part.faulted:
                _count(self.roster)

    # Commands -----------------------------------------------------------------------------

    @property
    def collected(self) -> tuple[str, ...]:
        """Return the symbols whose market data is collected."""
        return self._settings.symbols

    def member(self, strategy_id: str) -> Member:
        """Return the member called `strategy_id`. Raises NotFoundError."""
        member = self.roster.members.get(strategy_id)
        if member is None:
            known = ", ".join(sorted(self.roster.members)) or "none"
            raise NotFoundError(f"no strategy has the id {strategy_id!r}; there are: {known}")
        return member

    @asynccontextmanager
    async def boundary(self) -> AsyncIterator[Roster]:
        """Hold the roster still between two bars, all that was stepped being stored.

        Bars that come meanwhile wait in their feeds. Raises UnavailableError.
        """
        async with self._lock:
            if self._stale:
                await self._restore(self.roster.registry)
            await self._commit()
            yield self.roster
            self._settle(self.roster)
        self._wake.set()

    def distrust(self) -> None:
        """Restore everything from the tables before the next step."""
        self._stale = True
        self._wake.set()

    def figures(self) -> dict[str, float]:
        """Return what the heartbeat tells of the engine."""
        streams = list(self.roster.streams())
        faulted = sum(stream.status is StreamStatus.FAULTED for stream in streams)
        return {
            "streams": float(len(streams)),
            "streams_faulted": float(faulted),
            "strategies_absent": float(sum(bool(m.absent) for m in self.roster.members.values())),
            "files_refused": float(len(self.roster.registry.refused)),
        }


def _count(roster: Roster) -> None:
    streams = list(roster.streams())
    for status in StreamStatus:
        STREAMS.labels(status.value).set(sum(s.status is status for s in streams))
