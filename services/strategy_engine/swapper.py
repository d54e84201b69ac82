"""A strategy's code or parameters exchanged while it runs, and back again."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Final

from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import get_logger
from services.strategy_engine.candidate import Candidate
from services.strategy_engine.engine import Engine
from services.strategy_engine.exchange import Exchange
from services.strategy_engine.metrics import SWAPS
from services.strategy_engine.ports import Book, History
from services.strategy_engine.rehearsal import Rehearsal
from services.strategy_engine.streams import StreamStatus
from services.strategy_engine.swap import Swap

_log = get_logger(__name__)

_POLL_S: Final = 0.05


class Swapper:
    """Prepares beside what runs, exchanges between two bars."""

    def __init__(
        self, engine: Engine, *, book: Book, history: History, clock: Clock, ids: IdSource
    ) -> None:
        self._engine = engine
        self._ids = ids
        self._rehearsal = Rehearsal(engine, history)
        self._exchange = Exchange(engine, self._rehearsal, book=book, clock=clock)
        self._candidates: dict[str, Candidate] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def last(self, strategy_id: str) -> dict[str, Any] | None:
        """Return how the strategy's last swap since the start stands or went."""
        candidate = self._candidates.get(strategy_id)
        return candidate.view() if candidate else None

    async def swap(
        self, strategy_id: str, wish: Swap, correlation_id: uuid.UUID | None, actor: str
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
        candidate = await self._rehearsal.prepare(
            member, wish, correlation_id or self._ids.new(), actor
        )
        try:
            await self._rehearsal.prove(candidate, wish.replay_bars)
        except BaseException:
            await self._dismiss(candidate)
            raise
        if strategy_id in self._tasks:
            raise ConflictError(f"{strategy_id}: another swap has begun meanwhile")
        self._candidates[strategy_id] = candidate
        if not wish.shadow_bars:
            try:
                await self._exchange.exchange(candidate)
            except BaseException:
                await self._dismiss(candidate)
                raise
            return candidate
        await self._exchange.let_ride(candidate)
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

    async def _follow(self, candidate: Candidate) -> None:
        strategy_id = candidate.configuration.id
        try:
            while candidate.ridden < candidate.shadow_bars:
                self._check_riding(candidate)
                await asyncio.sleep(_POLL_S)
            self._check_riding(candidate)
            await self._exchange.exchange(candidate)
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
