"""The jobs of audit: anchor what is new, bring anchors away, verify."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from libs.common.runtime.runtime import Runtime
from services.audit import metrics
from services.audit.adapters.anchor_targets import Deliveries, GitTarget, PostTarget, Target
from services.audit.anchoring import Anchorer, Chain, HistoryError
from services.audit.anchors import AnchorError
from services.audit.evidence import Anchorage
from services.audit.guard import ChainGuard
from services.audit.schedule import NOTHING_NEW, Job
from services.audit.sealing import Sealer
from services.audit.settings import AuditSettings

FIRST_VERIFY_S = 60.0
AFTER_MIDNIGHT = "1"
"""The minute of the hour in which a day that is over gets its last anchor."""


class AnchorWork:
    """Makes anchors and sends them where they go."""

    def __init__(
        self,
        runtime: Runtime,
        settings: AuditSettings,
        anchorage: Anchorage,
        chain: Chain,
        guard: ChainGuard,
    ) -> None:
        assert anchorage.key is not None
        self._runtime = runtime
        self._files = anchorage.files
        self._guard = guard
        self._anchorer = Anchorer(chain, anchorage.files, anchorage.key, former_keys=anchorage.keys)
        self._deliveries = Deliveries(anchorage.files.folder, _targets(settings))

    async def anchor(self) -> str:
        """Anchor what is new; a chain that contradicts its anchors raises the alarm instead."""
        try:
            made = await self._anchorer.anchor(self._runtime.clock.now())
        except HistoryError as error:
            await self._guard.alarm("HISTORY_CHANGED", str(error))
            raise
        except AnchorError as error:
            await self._guard.alarm("ANCHORS_BROKEN", str(error))
            raise
        if not made:
            return NOTHING_NEW
        metrics.ANCHORED_SEQ.set(made[-1].last_seq)
        self._count_left()
        return "; ".join(f"{one.day} ({one.kind}) up to row {one.last_seq}" for one in made)

    async def deliver(self) -> str:
        """Send what a target has not got."""
        try:
            reached = await self._deliveries.deliver(self._files.lines())
        finally:
            self._count_left()
        return f"delivered to {', '.join(reached)}" if reached else NOTHING_NEW

    def _count_left(self) -> None:
        for name, left in self._deliveries.left(len(self._files.lines())).items():
            metrics.UNDELIVERED.labels(name).set(left)


def jobs_of(
    runtime: Runtime,
    settings: AuditSettings,
    anchorage: Anchorage | None,
    chain: Chain,
    guard: ChainGuard,
    sealer: Sealer | None = None,
) -> list[Job]:
    """Return the jobs that the settings ask for. Raises InvalidInputError for a bad target."""
    every = IntervalTrigger(seconds=settings.audit_verify_s)
    jobs = [Job("verify", every, guard.patrol, min(FIRST_VERIFY_S, settings.audit_verify_s))]
    if sealer is not None:
        jobs.append(Job("keys", CronTrigger(hour="0", timezone="UTC"), _rotating(sealer)))
    if anchorage is None or anchorage.key is None:
        return jobs
    work = AnchorWork(runtime, settings, anchorage, chain, guard)
    midnight = CronTrigger(hour="0", minute=AFTER_MIDNIGHT, timezone="UTC")
    often = OrTrigger([IntervalTrigger(seconds=settings.audit_anchor_s), midnight])
    jobs.append(Job("anchor", often, work.anchor))
    if settings.audit_anchor_git or settings.audit_anchor_post_url:
        deliver = IntervalTrigger(seconds=settings.audit_deliver_s)
        jobs.append(Job("deliver", deliver, work.deliver, 1.0))
    return jobs


def _rotating(sealer: Sealer) -> Callable[[], Awaitable[str]]:
    """Return the job that brings the months' keys under the newest of the installation's keys."""

    async def rotate() -> str:
        count = await sealer.rotate()
        return f"{count} keys wrapped anew" if count else NOTHING_NEW

    return rotate


def _targets(settings: AuditSettings) -> list[Target]:
    targets: list[Target] = []
    if settings.audit_anchor_git:
        targets.append(GitTarget(Path(settings.audit_anchor_git)))
    if settings.audit_anchor_post_url:
        targets.append(PostTarget(settings.audit_anchor_post_url))
    return targets
