"""Who listens to a run hears of it: the latest word, never a backlog."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from services.backtester.ports import Progress


class Ear:
    """One listener; `wait` returns when there is something new."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def rouse(self) -> None:
        """Tell that there is something new."""
        self._news.set()

    async def wait(self, within_s: float) -> bool:
        """Wait for news; False if none came in time."""
        try:
            await asyncio.wait_for(self._news.wait(), within_s)
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Hub:
    """The latest progress of running runs, and who listens."""

    def __init__(self) -> None:
        self._latest: dict[UUID, Progress] = {}
        self._ears: dict[UUID, set[Ear]] = {}

    def tell(self, run_id: UUID, progress: Progress) -> None:
        """Note how far a run is."""
        self._latest[run_id] = progress
        self._rouse(run_id)

    def end(self, run_id: UUID) -> None:
        """Note that a run has changed for good: it ended, or waits again."""
        self._latest.pop(run_id, None)
        self._rouse(run_id)

    def latest(self, run_id: UUID) -> Progress | None:
        """Return how far a running run is, None if it has not said."""
        return self._latest.get(run_id)

    @asynccontextmanager
    async def listen(self, run_id: UUID) -> AsyncIterator[Ear]:
        """Listen to a run within the block."""
        ear = Ear()
        self._ears.setdefault(run_id, set()).add(ear)
        try:
            yield ear
        finally:
            self._ears[run_id].discard(ear)
            if not self._ears[run_id]:
                del self._ears[run_id]

    def _rouse(self, run_id: UUID) -> None:
        for ear in self._ears.get(run_id, ()):
            ear.rouse()
