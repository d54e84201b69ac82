"""The desk: takes runs from the queue and sees each to its end."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import UUID

from libs.common.contracts.messages import Notification
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import TradewindError, UnavailableError
from libs.common.runtime.logging import get_logger
from services.backtester.hub import Hub
from services.backtester.metrics import DURATION, ENDED, RUNNING, WAITING
from services.backtester.ports import Ended, Launcher, Progress, Run, Runs, Status

_log = get_logger(__name__)
POLL_S: Final = 1.0
NOTE_NS: Final = 1_000_000_000
Notice = Callable[[Run, Status, Ended, Clock], Notification | None]
"""What people are told of a run that has ended, None if nothing."""


class Desk:
    """Several workers on one queue; each sees one run at a time to its end."""

    def __init__(
        self,
        runs: Runs,
        launcher: Launcher,
        hub: Hub,
        clock: Clock,
        folder: Path,
        instance: str,
        notice: Notice,
    ) -> None:
        self._notice = notice
        self._runs = runs
        self._launcher = launcher
        self._hub = hub
        self._clock = clock
        self._folder = folder
        self._instance = instance
        self._work: dict[UUID, asyncio.Task[Ended]] = {}
        self._bell = asyncio.Event()

    def folder_of(self, run_id: UUID) -> Path:
        """Return the folder of a run's files."""
        return self._folder / str(run_id)

    def ring(self) -> None:
        """Tell the workers that something waits."""
        self._bell.set()

    @property
    def running(self) -> int:
        """Return how many runs are at work."""
        return len(self._work)

    async def begin(self) -> None:
        """Mark what the last life of this instance left unfinished."""
        self._folder.mkdir(parents=True, exist_ok=True)
        left = await self._runs.interrupt(self._instance)
        if left:
            _log.warning("backtests_interrupted", count=left)

    async def work(self) -> None:
        """Take runs from the queue until cancelled."""
        while True:
            WAITING.set(await self._runs.waiting())
            run = await self._runs.claim(self._instance)
            if run is None:
                self._bell.clear()
                try:
                    await asyncio.wait_for(self._bell.wait(), POLL_S)
                except TimeoutError:
                    continue
            else:
                await self._see_to_its_end(run)

    async def stop(self) -> None:
        """End what is at work; the next start finds it interrupted."""
        for task in list(self._work.values()):
            task.cancel()
        await asyncio.gather(*self._work.values(), return_exceptions=True)
        await self._runs.interrupt(self._instance)

    def drop(self, run_id: UUID) -> None:
        """End a run that was cancelled, if it is at work here."""
        task = self._work.get(run_id)
        if task is not None:
            task.cancel()
        self._hub.end(run_id)

    def forget(self, run_id: UUID) -> None:
        """Delete a run's files."""
        shutil.rmtree(self.folder_of(run_id), ignore_errors=True)

    async def _see_to_its_end(self, run: Run) -> None:
        began = self._clock.monotonic_ns()
        RUNNING.inc()
        task = asyncio.create_task(self._launch(run), name=f"backtest {run.id}")
        self._work[run.id] = task
        try:
            await asyncio.wait({task})
            status, ended = self._verdict(task)
            if status is not Status.CANCELLED:
                await self._finish(run, status, ended)
            ENDED.labels(run.kind, status.value).inc()
        finally:
            task.cancel()
            del self._work[run.id]
            RUNNING.dec()
            DURATION.labels(run.kind).observe((self._clock.monotonic_ns() - began) / 1e9)
            self._hub.end(run.id)

    def _verdict(self, task: asyncio.Task[Ended]) -> tuple[Status, Ended]:
        if task.cancelled():
            return Status.CANCELLED, Ended(None, None)
        error = task.exception()
        if error is None:
            ended = task.result()
            return (Status.DONE if ended.error is None else Status.FAILED), ended
        if isinstance(error, TradewindError):
            return Status.FAILED, Ended(None, str(error))
        _log.error("backtest_failed", exc_info=error)
        return Status.FAILED, Ended(None, "the service failed; its log has the details")

    async def _finish(self, run: Run, status: Status, ended: Ended) -> None:
        """Store how a run ended; what a run has worked out is not lost with the database."""
        notice = self._notice(run, status, ended, self._clock)
        while True:
            try:
                await self._runs.finish(run.id, status, ended, notice)
            except UnavailableError as error:
                _log.warning("backtest_result_waits", run=str(run.id), error=str(error))
                await asyncio.sleep(POLL_S)
            else:
                return

    async def _launch(self, run: Run) -> Ended:
        noted, notes = 0, set[asyncio.Task[None]]()

        def tell(progress: Progress) -> None:
            nonlocal noted
            self._hub.tell(run.id, progress)
            now = self._clock.monotonic_ns()
            if now - noted >= NOTE_NS:
                noted = now
                note = asyncio.create_task(self._note(run.id, progress))
                notes.add(note)
                note.add_done_callback(notes.discard)

        return await self._launcher.run(run, self.folder_of(run.id), tell)

    async def _note(self, run_id: UUID, progress: Progress) -> None:
        try:
            await self._runs.note(run_id, progress)
        except UnavailableError as error:  # the next note heals it
            _log.warning("backtest_progress_not_stored", run=str(run_id), error=str(error))
