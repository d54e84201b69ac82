"""The audit log in PostgreSQL: appended under one lock, read in order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, Final, cast
from uuid import UUID

import psycopg
from sqlalchemy import ColumnElement, select, text
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import DBAPIError

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.database import Database, ReadSession, WriteSession
from libs.common.runtime.schema.audit import audit_log
from services.audit.anchoring import HistoryError, Stretch
from services.audit.logic import Entry, Head, Row, link
from services.audit.ports import Appended, Filters, Page

APPEND_LOCK: Final = 0x7472_6164_6175_6469
"""Key of the advisory lock that makes one writer of many."""

SCAN_ROWS_MAX: Final = 100_000
"""Most rows that one page looks through where no index helps."""
_STRETCH_ROWS: Final = 50_000

_NAMES: Final = Row.__struct_fields__
_VALUES: Final = attrgetter(*_NAMES)
_HASHES: Final = tuple(at for at, name in enumerate(_NAMES) if name.endswith("hash"))
_COLUMNS: Final = ", ".join(_NAMES)
_COPY: Final = f"COPY audit_log ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
_TYPES: Final = [
    {"message_id": "uuid", "ts": "timestamptz", "recorded_at": "timestamptz", "seq": "int8"}.get(
        name,
        "uuid" if name.endswith("_id") else "bytea" if name.endswith("hash") else "text",
    )
    for name in _NAMES
]
_HEAD: Final = text("SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1")
_AT: Final = text("SELECT seq, hash FROM audit_log WHERE seq = :seq")
_KNOWN: Final = text("SELECT message_id FROM audit_log WHERE message_id = ANY(:ids)")
_STRETCH: Final = text(
    "SELECT seq, hash, prev_hash FROM audit_log WHERE seq > :after AND seq <= :up_to ORDER BY seq"
)
_LAST_BEFORE: Final = text(
    "SELECT seq FROM audit_log WHERE CAST(:moment AS timestamptz) IS NULL"
    " OR recorded_at < :moment ORDER BY seq DESC LIMIT 1"
)
_NEXT_RECORDED: Final = text(
    "SELECT recorded_at FROM audit_log WHERE seq > :after ORDER BY seq LIMIT 1"
)
_LOCK: Final = text("SELECT pg_advisory_xact_lock(:key)")


@contextmanager
def refusal_waits() -> Iterator[None]:
    """Turn what the database refuses into UnavailableError: a right that is missing or a table that
    is being changed says nothing against the messages, which must not be buried for it. What it
    says of a value (SQLSTATE class 22) stays what it is."""
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, psycopg.DataError):
            raise
        raise UnavailableError(f"database: {str(cause).splitlines()[0]}") from error


class AuditStore:
    """The audit log of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """Link and store what is new, in one transaction and in the given order.

        Raises UnavailableError whatever the database says, but where it is of a value.
        """
        with refusal_waits():
            async with self._database.write() as tx:
                await tx.execute(_LOCK, {"key": APPEND_LOCK})
                before = head = await _head(tx)
                fresh = await _unknown(tx, entries)
                rows = list(link(head, fresh))
                if rows:
                    await copy_rows(tx, rows)
                    head = Head(rows[-1].seq, rows[-1].hash)
        return Appended(len(rows), len(entries) - len(rows), before, head)

    async def holds(self, head: Head) -> bool:
        """Tell whether the row at `head` is still the one we know."""
        if head.seq == 0:
            return True
        async with self._database.read() as tx:
            row = await tx.row(_AT, {"seq": head.seq})
        return row is not None and row["hash"].hex() == head.hash

    async def stretch(self, after: int, up_to: int) -> Stretch:
        """Return the rows after `after` up to `up_to`. Raises HistoryError where one is missing."""
        before, last, hashes = "", after, list[bytes]()
        while last < up_to:
            part = {"after": last, "up_to": min(up_to, last + _STRETCH_ROWS)}
            async with self._database.read() as tx:
                rows = await tx.rows(_STRETCH, part)
            for row in rows:
                if row["seq"] != last + 1:
                    break
                before = before or row["prev_hash"].hex()
                hashes.append(bytes(row["hash"]))
                last = row["seq"]
            if last != part["up_to"]:
                raise HistoryError(f"row {last + 1} is missing")
        return Stretch(before, hashes, last)

    async def last_before(self, moment: dt.datetime | None) -> int:
        """Return the last row recorded before `moment` (at all: None), 0 where there is none."""
        async with self._database.read() as tx:
            row = await tx.row(_LAST_BEFORE, {"moment": moment})
        return 0 if row is None else int(row["seq"])

    async def first_day(self, after: int) -> dt.date | None:
        """Return the day on which the row that follows `after` was recorded."""
        async with self._database.read() as tx:
            row = await tx.row(_NEXT_RECORDED, {"after": after})
        return None if row is None else row["recorded_at"].astimezone(dt.UTC).date()

    async def page(self, filters: Filters, after: int | None, limit: int) -> Page:
        """Return rows with `seq` below `after`, newest first."""
        scans = filters.text is not None or filters.ip is not None or filters.user_agent is not None
        async with self._database.read() as tx:
            start = after
            if start is None:
                start = (await _head(tx)).seq + 1
            floor = max(0, start - SCAN_ROWS_MAX) if scans else 0
            query = (
                select(*(audit_log.c[name] for name in _NAMES))
                .where(audit_log.c.seq < start, audit_log.c.seq >= floor, *_matching(filters))
                .order_by(audit_log.c.seq.desc())
                .limit(limit + 1)
            )
            rows = [_row(row) for row in await tx.rows(query)]
        if len(rows) > limit:
            return Page(rows[:limit], rows[limit - 1].seq)
        return Page(rows, floor if floor > 1 else None)


def _matching(filters: Filters) -> list[ColumnElement[bool]]:
    table = audit_log.c
    found: list[ColumnElement[bool]] = [
        table[name] == getattr(filters, name)
        for name in (
            "event_type", "actor", "action", "resource", "outcome", "channel", "correlation_id",
            "causation_id", "message_id",
        )
        if getattr(filters, name) is not None
    ]  # fmt: skip
    for column, since, until in (
        (table.ts, filters.since, filters.until),
        (table.recorded_at, filters.recorded_since, filters.recorded_until),
    ):
        if since is not None:
            found.append(column >= since)
        if until is not None:
            found.append(column < until)
    if filters.text is not None:
        found.append(table.details.icontains(filters.text, autoescape=True))
    if filters.ip is not None:
        found.append(table.ip.in_(filters.ip))
    if filters.user_agent is not None:
        found.append(table.user_agent.in_(filters.user_agent))
    return found


async def _head(tx: ReadSession) -> Head:
    row = await tx.row(_HEAD)
    return Head() if row is None else Head(row["seq"], row["hash"].hex())


async def _unknown(tx: ReadSession, entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries whose message is not recorded yet, each message once."""
    unique: dict[UUID, Entry] = {}
    for entry in entries:
        unique.setdefault(entry.message_id, entry)
    known = await tx.rows(_KNOWN, {"ids": list(unique)})
    for row in known:
        del unique[row["message_id"]]
    return list(unique.values())


def _row(row: RowMapping) -> Row:
    return Row(**{**row, "prev_hash": row["prev_hash"].hex(), "hash": row["hash"].hex()})


async def copy_rows(tx: WriteSession, rows: Sequence[Row]) -> None:
    """Write linked rows, nothing else; the caller holds the lock."""
    async with (await _driver(tx)).cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for row in rows:
            values = list(_VALUES(row))
            for at in _HASHES:
                values[at] = bytes.fromhex(values[at])
            await copy.write_row(values)


async def _driver(tx: ReadSession) -> psycopg.AsyncConnection[Any]:
    raw = await tx.connection.get_raw_connection()
    return cast("psycopg.AsyncConnection[Any]", raw.driver_connection)
