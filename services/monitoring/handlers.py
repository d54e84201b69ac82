"""What monitoring does: alerts from messages, alerts from silence, people told of the loud ones."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from libs.common.contracts.channels import NOTIFICATIONS, RISK_ALERTS, SYSTEM_HEALTH
from libs.common.contracts.envelope import Envelope
from libs.common.contracts.messages import Heartbeat, Notification, RiskAlert
from libs.common.domain.vocabulary import Level
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import get_logger
from services.monitoring import metrics
from services.monitoring.alerts import (
    Raise,
    fingerprint_of,
    of_notification,
    of_risk_alert,
    worth_telling,
)
from services.monitoring.board import Board, ServiceHealth
from services.monitoring.courier import Courier
from services.monitoring.logic import LEVELS, HealthState
from services.monitoring.ports import Alerts, Parcel

_log = get_logger(__name__)

NAME: Final = "monitoring"
_WORDS: Final = {
    HealthState.OK: "is well",
    HealthState.DEGRADED: "is not ready",
    HealthState.STALE: "has gone quiet",
    HealthState.DOWN: "is down",
}
_SCALE: Final = (HealthState.OK, HealthState.DEGRADED, HealthState.STALE, HealthState.DOWN)


@dataclass
class Watch:
    """The people's end of the system: the board, the alerts and who carries them out."""

    board: Board
    alerts: Alerts
    courier: Courier | None
    clock: Clock
    ids: IdSource
    repeat_after: dt.timedelta
    settle: dt.timedelta
    check_s: float
    _announced: dict[str, HealthState] = field(default_factory=dict)
    _deaf: bool = False
    _unsaved: list[Raise] = field(default_factory=list)
    _told: set[UUID] = field(default_factory=set)

    async def take(self, raised: Raise) -> None:
        """Note an occurrence and tell people if it is worth it. Raises UnavailableError.

        One of level INFO says that all is well again: it resolves the open alert of its
        fingerprint and opens none.
        """
        if raised.level is Level.INFO:
            await self.alerts.settle(raised)
            return
        noted = await self.alerts.note(raised)
        if noted.repeated:
            metrics.REPEATS.inc()
            return
        metrics.ALERTS.labels(raised.level.value).inc()
        if worth_telling(raised, noted.known, self.clock.now(), self.repeat_after):
            self.tell(raised)

    def tell(self, raised: Raise) -> None:
        """Hand an occurrence to the courier, where there is one; never waits."""
        if self.courier is not None:
            self.courier.offer(
                Parcel(
                    raised.message_id,
                    raised.fingerprint,
                    raised.level,
                    raised.title,
                    raised.message,
                )
            )

    async def start(self) -> None:
        """Take up what an earlier life did not deliver."""
        if self.courier is not None:
            for parcel in await self.alerts.untold():
                self.courier.offer(parcel)

    async def run(self) -> None:
        """Judge everyone's health until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(self.check_s)

    async def check(self) -> None:
        """Judge health once; raise or resolve alerts for what changed."""
        now = self.clock.now()
        self.board.check(now, self.clock.monotonic_ns())
        self._show()
        if self.board.deaf != self._deaf:
            self._deaf = self.board.deaf
            self._unsaved.append(self._of_deafness(self._deaf))
        for line in self.board.lines:
            if self._is_news(line, now):
                self._announced[line.judgement.service] = line.judgement.state
                self._unsaved.append(self._of_health(line))
        await self._save()

    def _is_news(self, line: ServiceHealth, now: dt.datetime) -> bool:
        """Tell whether a state is new and has lasted. What is down or well again is news at once;
        so is being well at our start, where an earlier life may have left an alert open. Not to
        have heard of a service yet is none."""
        found = line.judgement
        unheard = found.state is HealthState.STALE and found.age_s is None
        if unheard or self._announced.get(found.service) is found.state:
            return False
        passing = found.state in (HealthState.DEGRADED, HealthState.STALE)
        return not passing or now - line.since >= self.settle

    async def _save(self) -> None:
        """Store the health alerts; what cannot be stored now is told at once and stored later."""
        waiting, self._unsaved = self._unsaved, []
        for position, raised in enumerate(waiting):
            try:
                if raised.level is Level.INFO:
                    await self.alerts.settle(raised, announce=True)
                    continue
                noted = await self.alerts.note(raised, announce=True)
                if raised.message_id in self._told:
                    self._told.discard(raised.message_id)
                elif worth_telling(raised, noted.known, self.clock.now(), self.repeat_after):
                    self.tell(raised)
            except UnavailableError as error:
                _log.warning("health_alert_waits", title=raised.title, error=str(error))
                self._unsaved = waiting[position:] + self._unsaved
                self._tell_unsaved()
                return
        await self._count()

    def _tell_unsaved(self) -> None:
        """Tell, once, of the loud ones that no table can take now."""
        for raised in self._unsaved:
            loud = raised.level in (Level.ERROR, Level.CRITICAL)
            if loud and raised.message_id not in self._told:
                self._told.add(raised.message_id)
                self.tell(raised)

    async def _count(self) -> None:
        try:
            counts = await self.alerts.open_levels()
        except UnavailableError:
            return
        for level in Level:
            metrics.OPEN_ALERTS.labels(level.value).set(counts.get(level, 0))

    def _of_health(self, line: ServiceHealth) -> Raise:
        found = line.judgement
        level = LEVELS[found.state]
        metrics.CHANGES.labels(found.service).inc()
        _log.info("health_changed", about=found.service, state=found.state, reasons=found.reasons)
        return Raise(
            message_id=self.ids.new(),
            # Where nobody is heard there is one cause, not one for each service.
            level=Level.WARNING if self._deaf and level is Level.ERROR else level,
            source=NAME,
            fingerprint=fingerprint_of("health", found.service),
            title=f"{found.service} {_WORDS[found.state]}",
            message="; ".join(found.reasons) or f"{found.service} answers again",
            ts=self.clock.now(),
            context={"service": found.service, "state": found.state.value},
        )

    def note_restart(self, heartbeat: Heartbeat) -> None:
        """Raise a warning at the next check: a service ended and was started again while we
        watched, perhaps too quickly to be missed."""
        named = f"{heartbeat.service} (instance {heartbeat.instance})"
        _log.warning("service_restarted", about=heartbeat.service, instance=heartbeat.instance)
        self._unsaved.append(
            Raise(
                message_id=self.ids.new(),
                level=Level.WARNING,
                source=NAME,
                fingerprint=fingerprint_of("restart", heartbeat.service),
                title=f"{heartbeat.service} was restarted",
                message=f"{named} started at {heartbeat.started_at.isoformat()}",
                ts=self.clock.now(),
                context={"service": heartbeat.service, "instance": heartbeat.instance},
            )
        )

    def _of_deafness(self, deaf: bool) -> Raise:
        return Raise(
            message_id=self.ids.new(),
            level=Level.ERROR if deaf else Level.INFO,
            source=NAME,
            fingerprint=fingerprint_of("health", "bus"),
            title="No heartbeat of any service arrives" if deaf else "Heartbeats arrive again",
            message="Redis is away, or every service is" if deaf else "",
            ts=self.clock.now(),
        )

    def _show(self) -> None:
        for line in self.board.lines:
            found = line.judgement
            metrics.HEALTH.labels(found.service).set(_SCALE.index(found.state))
            if found.age_s is not None:
                metrics.HEARTBEAT_AGE.labels(found.service).set(found.age_s)


async def take_heartbeat(watch: Watch, envelope: Envelope[Heartbeat]) -> None:
    """A sign of life; a service that was started anew is worth a word, however quickly it came."""
    if watch.board.hear(envelope.payload, watch.clock.monotonic_ns()):
        watch.note_restart(envelope.payload)


async def take_notifications(watch: Watch, envelopes: Sequence[Envelope[Notification]]) -> None:
    """What a service wants people to know; our own words come back and are passed over."""
    for envelope in envelopes:
        if envelope.source != NAME:
            await watch.take(of_notification(envelope.payload, envelope.id, envelope.source))


async def take_risk_alerts(watch: Watch, envelopes: Sequence[Envelope[RiskAlert]]) -> None:
    """What the risk manager warns of."""
    for envelope in envelopes:
        await watch.take(of_risk_alert(envelope.payload, envelope.id, envelope.source))


LOG_HANDLERS: Final[dict[Any, Any]] = {
    NOTIFICATIONS: take_notifications,
    RISK_ALERTS: take_risk_alerts,
}
BROADCAST_HANDLERS: Final[dict[Any, Any]] = {SYSTEM_HEALTH: take_heartbeat}
