"""What audit does by the clock; each run of a job is on record, like everything else."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from libs.common.contracts.channels import AUDIT_OPERATIONS
from libs.common.contracts.messages import AuditEvent
from libs.common.kernel.errors import ConflictError, TradewindError, UnavailableError
from libs.common.runtime.logging import get_logger
from libs.common.runtime.runtime import Runtime
from services.audit import metrics

_log = get_logger(__name__)

DONE: Final = "done"
NOTHING_NEW: Final = ""


@dataclass(frozen=True, slots=True)
class Job:
    """Work with a name. It returns what it did, nothing (an empty text) if there was nothing to
    do; it makes up for all that was missed, so that one late run does for many."""

    name: str
    trigger: BaseTrigger
    work: Callable[[], Awaitable[str]]
    first_after_s: float = 0.0


class Schedule:
    """Runs jobs at their times, the first time soon after the start."""

    def __init__(self, runtime: Runtime, jobs: list[Job]) -> None:
        self._runtime = runtime
        self._jobs = jobs
        for job in jobs:
            metrics.JOB_DONE_AT.labels(job.name)  # 0: it has not succeeded yet

    async def run(self) -> None:
        """Run until cancelled."""
        scheduler = AsyncIOScheduler(timezone=dt.UTC)
        now = self._runtime.clock.now()
        for job in self._jobs:
            scheduler.add_job(
                self.run_once,
                job.trigger,
                args=[job],
                id=job.name,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
                next_run_time=now + dt.timedelta(seconds=job.first_after_s),
            )
        scheduler.start()
        try:
            await asyncio.Event().wait()
        finally:
            scheduler.shutdown(wait=False)

    async def run_once(self, job: Job) -> None:
        """Do a job and put on record what came of it, unless there was nothing to do."""
        started = time.perf_counter()
        try:
            did, outcome = await job.work(), DONE
        except (ConflictError, UnavailableError) as error:
            did, outcome = str(error), "postponed"
            _log.warning("job_postponed", job=job.name, error=str(error))
        except TradewindError as error:
            did, outcome = str(error), "failed"
            _log.error("job_failed", job=job.name, error=str(error))
        except Exception as error:  # noqa: BLE001 - a job's edge: logged once, tried again in time
            did, outcome = type(error).__name__, "failed"
            _log.exception("job_failed", job=job.name)
        metrics.JOB_RUNS.labels(job.name, outcome).inc()
        if outcome == DONE:
            metrics.JOB_DONE_AT.labels(job.name).set_to_current_time()
        if did == NOTHING_NEW:
            return
        try:
            await self._record(job, did, outcome, time.perf_counter() - started)
        except UnavailableError as error:
            _log.warning("job_unrecorded", job=job.name, outcome=outcome, error=str(error))

    async def _record(self, job: Job, did: str, outcome: str, seconds: float) -> None:
        runtime = self._runtime
        async with runtime.database.write() as tx:
            await runtime.outbox.add(
                tx,
                AUDIT_OPERATIONS,
                AuditEvent(
                    event_type="JobRun",
                    actor=runtime.name,
                    action="run",
                    resource=f"job:{job.name}",
                    outcome=outcome,
                    ts=runtime.clock.now(),
                    details={"did": did[:1000], "seconds": f"{seconds:.3f}"},
                ),
                correlation_id=runtime.ids.new(),
            )
