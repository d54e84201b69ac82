"""The last recorded session, replayed each night: who differs is told of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from libs.common.backtest.request import Recorded, Request
from libs.common.contracts.messages import Notification
from libs.common.domain.vocabulary import Level
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import TradewindError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import get_logger
from services.backtester.desk import Desk
from services.backtester.handlers import submit
from services.backtester.metrics import PARITY_DIFFERENCES, PARITY_UNEXPLAINED
from services.backtester.ports import Ended, Run, Runs, Sessions, Status

_log = get_logger(__name__)
KIND: Final = "parity"
# The machine was asleep at the time: later is better than not at all.
LATE_S: Final = 6 * 3600


class Nightly:
    """Queues the replay of the last session that is over, once for each day of market time."""

    def __init__(
        self, runs: Runs, desk: Desk, ids: IdSource, sessions: Sessions, queue_max: int
    ) -> None:
        self._runs = runs
        self._desk = desk
        self._ids = ids
        self._sessions = sessions
        self._queue_max = queue_max

    async def queue(self) -> Run | None:
        """Queue it; return the run, which may be an earlier one, None if nothing is recorded.

        Raises UnavailableError, QueueFullError.
        """
        day = await self._sessions.last_day()
        if day is None:
            _log.info("nightly_parity_nothing_recorded")
            return None
        request = Request(kind=KIND, recorded=Recorded(day=day, nightly=True))
        key = f"nightly-parity-{day}"
        return await submit(
            self._runs, self._desk, self._ids, request, key=key, queue_max=self._queue_max,
            data=None,
        )  # fmt: skip

    async def try_to_queue(self) -> None:
        """Queue it; where that cannot be done, the log says so and the next night tries again."""
        try:
            await self.queue()
        except TradewindError as error:
            _log.error("nightly_parity_not_queued", reason=str(error))


class Nights:
    """Calls a task each night at a time (UTC), until it is stopped."""

    def __init__(self, task: Callable[[], Awaitable[None]], hour: int, minute: int) -> None:
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._scheduler.add_job(
            task,
            CronTrigger(hour=hour, minute=minute, timezone="UTC"),
            misfire_grace_time=LATE_S,
            coalesce=True,
            max_instances=1,
        )

    async def start(self) -> None:
        """Begin to wait for the next night."""
        self._scheduler.start()

    async def stop(self) -> None:
        """Wait no more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)


def notice_of(run: Run, status: Status, ended: Ended, clock: Clock) -> Notification | None:
    """Return what people are told of a run that has ended: of nightly ones that found a difference
    in the decisions, or failed."""
    recorded = run.request.get("recorded")
    if not recorded or not recorded["nightly"]:
        return None
    day = recorded["day"]
    fingerprint = f"nightly_parity:{day}"
    if status is Status.FAILED:
        title, text = f"The session of {day} could not be replayed", ended.error or "no reason"
        return Notification(level=Level.WARNING, title=title, message=text,
                            fingerprint=fingerprint, ts=clock.now())  # fmt: skip
    if ended.result is None:
        return None
    causes: Mapping[str, Any] = ended.result["decisions"]["causes"]
    PARITY_UNEXPLAINED.set(ended.result["unexplained"])
    PARITY_DIFFERENCES.set(sum(causes.values()))
    if not causes:
        return None
    return Notification(
        level=Level.ERROR if ended.result["unexplained"] else Level.WARNING,
        title=f"Live decisions of {day} differ from their replay",
        message=", ".join(f"{cause} {count}" for cause, count in causes.items())
        + f"; GET /api/v1/backtests/{run.id} has the report",
        fingerprint=fingerprint,
        ts=clock.now(),
        context={"run": str(run.id), "day": day},
    )
