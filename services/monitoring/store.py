"""Alerts and the delivery log in PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, func, insert, select, text, update
from sqlalchemy.engine import RowMapping

from libs.common.contracts.channels import NOTIFICATIONS
from libs.common.contracts.messages import Notification
from libs.common.domain.vocabulary import Level
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, NotFoundError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.database import Database, WriteSession
from libs.common.runtime.outbox import Outbox
from libs.common.runtime.schema.monitoring import alerts, notification_deliveries
from services.monitoring.alerts import RANK, AlertState, Known, Raise
from services.monitoring.ports import Alert, DeliveryRow, Noted, Outcome, Parcel, Receipt

_LOUD: Final = [level.value for level in Level if RANK[level] >= RANK[Level.ERROR]]
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtext('alert:' || :fingerprint))")
ANNOUNCED_AS: Final = "health"


class AlertStore:
    """The alerts of one database."""

    def __init__(self, database: Database, outbox: Outbox, clock: Clock, ids: IdSource) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._ids = ids

    async def note(self, raised: Raise, *, announce: bool = False) -> Noted:
        """Open an alert or join the open one; `announce` publishes it as a Notification too."""
        async with self._database.write() as tx:
            latest = await self._latest(tx, raised.fingerprint)
            if latest is not None and _counted(latest, raised):
                return Noted(latest["id"], _known(latest), repeated=True)
            if announce:
                await self._announce(tx, raised)
            if latest is None or latest["state"] == AlertState.RESOLVED:
                return Noted(await self._open(tx, raised), None)
            known = _known(latest)
            worse = RANK[raised.level] > RANK[known.level]
            await tx.execute(
                update(alerts)
                .where(alerts.c.id == latest["id"])
                .values(
                    level=raised.level if worse else known.level,
                    # What got worse needs to be seen again.
                    state=AlertState.FIRING.value if worse else latest["state"],
                    title=raised.title,
                    message=raised.message,
                    context=raised.context,
                    count=alerts.c.count + 1,
                    last_at=self._clock.now(),
                    last_message_id=raised.message_id,
                )
            )
        return Noted(latest["id"], known)

    async def settle(self, raised: Raise, *, announce: bool = False) -> bool:
        """Resolve the open alert of a fingerprint, if any; tell whether there was one."""
        async with self._database.write() as tx:
            latest = await self._latest(tx, raised.fingerprint)
            if latest is None or latest["state"] == AlertState.RESOLVED:
                return False
            if _counted(latest, raised):
                return False
            if announce:
                await self._announce(tx, raised)
            await tx.execute(
                update(alerts)
                .where(alerts.c.id == latest["id"])
                .values(
                    state=AlertState.RESOLVED.value,
                    resolved_at=self._clock.now(),
                    last_message_id=raised.message_id,
                )
            )
        return True

    async def receipt(self, receipt: Receipt) -> None:
        """Add to the delivery log; a delivered parcel marks its alert as told."""
        parcel = receipt.parcel
        mark = {"at": receipt.ts.isoformat(), "channel": receipt.channel, "level": parcel.level}
        async with self._database.write() as tx:
            await tx.execute(
                insert(notification_deliveries).values(
                    message_id=parcel.message_id,
                    channel=receipt.channel,
                    level=parcel.level,
                    title=parcel.title,
                    outcome=receipt.outcome,
                    attempts=receipt.attempts,
                    error=receipt.error,
                    ts=receipt.ts,
                )
            )
            if receipt.outcome is Outcome.DELIVERED:
                await tx.execute(
                    update(alerts)
                    .where(
                        alerts.c.fingerprint == parcel.fingerprint,
                        alerts.c.state != AlertState.RESOLVED.value,
                    )
                    .values(escalations=alerts.c.escalations.concat([mark]))
                )

    async def untold(self) -> Sequence[Parcel]:
        """Return the firing alerts of ERROR and above that nobody was told of yet."""
        query = (
            select(alerts)
            .where(
                alerts.c.state == AlertState.FIRING.value,
                alerts.c.level.in_(_LOUD),
                alerts.c.escalations == text("'[]'::jsonb"),
            )
            .order_by(alerts.c.id)
        )
        async with self._database.read() as tx:
            rows = await tx.rows(query)
        return [
            Parcel(
                row["last_message_id"] or row["id"],
                row["fingerprint"],
                Level(row["level"]),
                row["title"],
                row["message"],
            )
            for row in rows
        ]

    async def open_levels(self) -> dict[Level, int]:
        """Return how many alerts are open, by level."""
        query = (
            select(alerts.c.level, func.count().label("number"))
            .where(alerts.c.state != AlertState.RESOLVED.value)
            .group_by(alerts.c.level)
        )
        async with self._database.read() as tx:
            return {Level(row["level"]): row["number"] for row in await tx.rows(query)}

    async def page(
        self, state: AlertState | None, level: Level | None, before: UUID | None, limit: int
    ) -> list[Alert]:
        """Return alerts, newest first."""
        query = select(alerts).order_by(alerts.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(alerts.c.state == state.value)
        if level is not None:
            query = query.where(alerts.c.level == level.value)
        if before is not None:
            query = query.where(alerts.c.id < before)
        async with self._database.read() as tx:
            return [_alert(row) for row in await tx.rows(query)]

    async def acknowledge(self, alert_id: UUID, by: str) -> Alert:
        """Mark as seen. Raises NotFoundError, ConflictError if it is resolved."""
        changes = {
            "state": AlertState.ACKNOWLEDGED.value,
            "acknowledged_by": by,
            "acknowledged_at": self._clock.now(),
        }
        return await self._change(alert_id, changes)

    async def resolve(self, alert_id: UUID) -> Alert:
        """Close. Raises NotFoundError, ConflictError if it is resolved already."""
        changes = {"state": AlertState.RESOLVED.value, "resolved_at": self._clock.now()}
        return await self._change(alert_id, changes)

    async def deliveries(self, before: int | None, limit: int) -> list[DeliveryRow]:
        """Return the delivery log, newest first."""
        table = notification_deliveries.c
        query = select(notification_deliveries).order_by(table.id.desc()).limit(limit)
        if before is not None:
            query = query.where(table.id < before)
        async with self._database.read() as tx:
            rows = await tx.rows(query)
        return [
            DeliveryRow(
                id=row["id"],
                message_id=row["message_id"],
                channel=row["channel"],
                level=Level(row["level"]),
                title=row["title"],
                outcome=Outcome(row["outcome"]),
                attempts=row["attempts"],
                error=row["error"],
                ts=row["ts"],
            )
            for row in rows
        ]

    async def _change(self, alert_id: UUID, changes: dict[str, Any]) -> Alert:
        this: ColumnElement[bool] = alerts.c.id == alert_id
        async with self._database.write() as tx:
            row = await tx.row(select(alerts).where(this).with_for_update())
            if row is None:
                raise NotFoundError(f"there is no alert {alert_id}")
            if row["state"] == AlertState.RESOLVED:
                raise ConflictError(f"alert {alert_id} is resolved already")
            changed = await tx.row(update(alerts).where(this).values(**changes).returning(alerts))
        assert changed is not None
        return _alert(changed)

    async def _latest(self, tx: WriteSession, fingerprint: str) -> RowMapping | None:
        """Return the newest alert of a fingerprint, alone until the end of the transaction."""
        await tx.execute(_LOCK, {"fingerprint": fingerprint})
        return await tx.row(
            select(alerts)
            .where(alerts.c.fingerprint == fingerprint)
            .order_by((alerts.c.state == AlertState.RESOLVED.value), alerts.c.id.desc())
            .limit(1)
        )

    async def _open(self, tx: WriteSession, raised: Raise) -> UUID:
        alert_id, now = self._ids.new(), self._clock.now()
        await tx.execute(
            insert(alerts).values(
                id=alert_id,
                level=raised.level,
                source=raised.source,
                fingerprint=raised.fingerprint,
                title=raised.title,
                message=raised.message,
                context=raised.context,
                state=AlertState.FIRING.value,
                first_at=now,
                last_at=now,
                last_message_id=raised.message_id,
            )
        )
        return alert_id

    async def _announce(self, tx: WriteSession, raised: Raise) -> None:
        note = Notification(
            level=raised.level,
            title=raised.title,
            message=raised.message,
            fingerprint=raised.fingerprint,
            ts=raised.ts,
            context=raised.context,
        )
        correlation_id = raised.message_id
        await self._outbox.add(
            tx, NOTIFICATIONS, note, correlation_id=correlation_id, key=ANNOUNCED_AS
        )


def _counted(row: RowMapping, raised: Raise) -> bool:
    """Whether the message was counted before: ids of version 7 rise with time.

    A late message of before is passed over with it, unless it is worse than what is known.
    """
    last: UUID | None = row["last_message_id"]
    if last is None or last == raised.message_id:
        return last is not None
    ordered = last.version == raised.message_id.version == 7
    older = ordered and raised.source == row["source"] and raised.message_id < last
    return older and RANK[raised.level] <= RANK[Level(row["level"])]


def _known(row: RowMapping) -> Known:
    told = row["escalations"]
    return Known(
        level=Level(row["level"]),
        state=AlertState(row["state"]),
        told_at=dt.datetime.fromisoformat(told[-1]["at"]) if told else None,
    )


def _alert(row: RowMapping) -> Alert:
    names = (
        "id", "source", "fingerprint", "title", "message", "context", "count", "first_at",
        "last_at", "acknowledged_by", "acknowledged_at", "resolved_at", "escalations",
    )  # fmt: skip
    return Alert(
        level=Level(row["level"]),
        state=AlertState(row["state"]),
        **{name: row[name] for name in names},
    )
