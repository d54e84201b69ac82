"""The months' data keys in PostgreSQL, wrapped."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from libs.common.contracts.messages import AuditEvent
from libs.common.runtime.database import Database
from libs.common.runtime.schema.audit import audit_keys
from libs.common.runtime.schema.outbox import outbox
from services.audit.store import refusal_waits
from services.audit.telling import outbox_row


class KeyStore:
    """The table `audit_keys`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def wrapped(self, period: str, fresh: str | None) -> str | None:
        """Return a period's wrapped key, None where it was erased or there is none; with `fresh`
        that one is kept where there is none."""
        with refusal_waits():
            async with self._database.write() as tx:
                if fresh is not None:
                    await tx.execute(
                        insert(audit_keys)
                        .values(period=period, wrapped=fresh)
                        .on_conflict_do_nothing(index_elements=[audit_keys.c.period])
                    )
                query = select(audit_keys.c.wrapped).where(audit_keys.c.period == period)
                row = await tx.row(query)
        return None if row is None else row["wrapped"]

    async def periods(self) -> Mapping[str, str | None]:
        """Return all periods with their wrapped keys, None where it was erased."""
        async with self._database.read() as tx:
            rows = await tx.rows(select(audit_keys.c.period, audit_keys.c.wrapped))
        return {row["period"]: row["wrapped"] for row in rows}

    async def rewrap(self, period: str, wrapped: str) -> None:
        """Keep a period's key under another wrapping."""
        async with self._database.write() as tx:
            await tx.execute(
                update(audit_keys)
                .where(audit_keys.c.period == period, audit_keys.c.wrapped.is_not(None))
                .values(wrapped=wrapped)
            )

    async def erase(self, period: str, actor: str, now: dt.datetime) -> bool:
        """Forget a period's key for good, and put on record that `actor` did; return whether there
        was one."""
        async with self._database.write() as tx:
            done = await tx.execute(
                update(audit_keys)
                .where(audit_keys.c.period == period, audit_keys.c.wrapped.is_not(None))
                .values(wrapped=None, erased_at=func.now())
            )
            if done.rowcount:
                await tx.execute(insert(outbox).values(outbox_row(_erased(period, actor, now))))
        return bool(done.rowcount)


def _erased(period: str, actor: str, now: dt.datetime) -> AuditEvent:
    return AuditEvent(
        event_type="PersonalDetailsErased",
        actor=actor,
        action="forget",
        resource=f"audit_key:{period}",
        outcome="erased",
        ts=now,
        details={"period": period},
    )
