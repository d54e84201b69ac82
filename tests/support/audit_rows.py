"""Rows of an audit log, made up, and ways to spoil them that only a superuser has."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg

from libs.common.runtime.database import Database
from services.audit.anchoring import Stretch
from services.audit.logic import Entry, Head, Row, canonical_details, link
from services.audit.ports import Filters
from services.audit.store import AuditStore, copy_rows

DAY = dt.datetime(2026, 11, 18, tzinfo=dt.UTC)


def entry(number: int, recorded_at: dt.datetime, **changes: Any) -> Entry:
    """Return a made-up entry."""
    made = Entry(
        message_id=uuid.uuid4(),
        ts=recorded_at,
        event_type="Test",
        actor="ann",
        action="click",
        resource=f"button:{number}",
        outcome="done",
        channel="audit.events",
        correlation_id=uuid.uuid4(),
        details=canonical_details({"n": number}),
        recorded_at=recorded_at,
    )
    return msgspec.structs.replace(made, **changes)


def store_of(database_url: str) -> AuditStore:
    """Return a store of its own on the database."""
    return AuditStore(Database(database_url, pool_size=1, timeout_s=10, name="test"))


def three_days(rows: int = 10) -> list[Entry]:
    """Return `rows` entries on each of three days from DAY on."""
    return [
        entry(n, DAY + dt.timedelta(days=day, hours=10, minutes=n))
        for day in range(3)
        for n in range(rows)
    ]


def changed(seq: int, **how: Any) -> Callable[[list[Row]], list[Row]]:
    """Edit: another outcome, or what `how` says."""
    return lambda rows: [
        msgspec.structs.replace(row, **(how or {"outcome": "never"})) if row.seq == seq else row
        for row in rows
    ]


def removed(seq: int) -> Callable[[list[Row]], list[Row]]:
    """Edit: one row less."""
    return lambda rows: [row for row in rows if row.seq != seq]


def inserted(seq: int) -> Callable[[list[Row]], list[Row]]:
    """Edit: one row more, before row `seq`."""

    def edit(rows: list[Row]) -> list[Row]:
        forged = msgspec.structs.replace(rows[seq - 1], message_id=uuid.uuid4())
        return [*rows[: seq - 1], forged, *rows[seq - 1 :]]

    return edit


def swapped(seq: int) -> Callable[[list[Row]], list[Row]]:
    """Edit: row `seq` and the next one change places."""
    return lambda rows: [*rows[: seq - 1], rows[seq], rows[seq - 1], *rows[seq + 1 :]]


def cut(seq: int) -> Callable[[list[Row]], list[Row]]:
    """Edit: nothing from row `seq` on."""
    return lambda rows: rows[: seq - 1]


def chained(rows: list[Row], edit: Callable[[list[Row]], list[Row]]) -> list[Row]:
    """Return the rows edited and chained anew: whole in itself, and not what it was."""
    names = Entry.__struct_fields__
    return list(
        link(Head(), [Entry(**{name: getattr(row, name) for name in names}) for row in edit(rows)])
    )


def tamper(database_url: str, change: str) -> None:
    """As a superuser who switches the triggers off."""
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE audit_log DISABLE TRIGGER ALL")
        connection.execute(change)  # type: ignore[arg-type]


async def recompute(database_url: str, edit: Callable[[list[Row]], list[Row]]) -> None:
    """As one with every right and our code: put the edited rows, chained anew, in their place."""
    database = Database(database_url, pool_size=1, timeout_s=10, name="test")
    page = await AuditStore(database).page(Filters(), None, 10_000)
    forged = chained(sorted(page.rows, key=lambda row: row.seq), edit)
    tamper(database_url, "DELETE FROM audit_log")
    async with database.write() as tx:
        await copy_rows(tx, forged)
    await database.close()


class ChainInMemory:
    """The chain as anchoring sees it, without a database."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    async def stretch(self, after: int, up_to: int) -> Stretch:
        """Return the rows after `after` up to `up_to`."""
        part = [row for row in self.rows if after < row.seq <= up_to]
        before = part[0].prev_hash if part else ""
        return Stretch(before, [bytes.fromhex(row.hash) for row in part], max(after, up_to))

    async def last_before(self, moment: dt.datetime | None) -> int:
        """Return the last row recorded before `moment`."""
        return max(
            (row.seq for row in self.rows if moment is None or row.recorded_at < moment), default=0
        )

    async def first_day(self, after: int) -> dt.date | None:
        """Return the day of the row that follows `after`."""
        return next((row.recorded_at.date() for row in self.rows if row.seq > after), None)
