"""Drops whole months of the record once their export is proven; the chain goes on from a signed
checkpoint.

Run by a person with the owner's rights: no service may delete a row, and the triggers let go only
what a checkpoint covers.
"""

from __future__ import annotations

import datetime as dt

import psycopg

from libs.common.contracts.messages import AuditEvent
from libs.common.kernel.errors import ConflictError, UnavailableError
from services.audit.adapters.anchor_files import AnchorFiles
from services.audit.anchors import AnchorKey, Statement, line_of
from services.audit.archive import Manifest, digest_of
from services.audit.telling import outbox_row

CONNECT_TIMEOUT_S = 5


def prune(
    url: str, manifest: Manifest, files: AnchorFiles, key: AnchorKey, actor: str, now: dt.datetime
) -> int:
    """Drop the rows of an export that has been checked; return how many.

    Raises ConflictError where they are not whole months that are over, not the oldest rows, not
    finally anchored, or not what the database holds; UnavailableError.
    """
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.execute("SET LOCAL statement_timeout = 0")
            _allow(connection, manifest, now)
            statement = Statement(
                kind="pruned",
                day=now.date().isoformat(),
                first_seq=manifest.first_seq,
                last_seq=manifest.last_seq,
                root=digest_of(manifest),
                head=manifest.head,
                made_at=now.isoformat(),
                previous=files.previous(),
                key=key.public,
            )
            anchor = key.sign(statement)
            # First what nobody can take back: a checkpoint that is not anchored is not believed.
            files.append(anchor)
            connection.execute(
                "INSERT INTO audit_checkpoints (seq, statement) VALUES (%s, %s)",
                (manifest.last_seq, line_of(anchor).decode()),
            )
            gone = connection.execute(
                "DELETE FROM audit_log WHERE seq <= %s", (manifest.last_seq,)
            ).rowcount
            _tell(connection, manifest, actor, now)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConflictError("dropping rows takes the rights of the tables' owner") from error
    except psycopg.OperationalError as error:
        raise UnavailableError(f"database: {str(error).splitlines()[0]}") from error
    for one in manifest.anchors:
        files.forget_hashes(one.day)
    return gone


def _allow(connection: psycopg.Connection, manifest: Manifest, now: dt.datetime) -> None:
    """Raise ConflictError unless the rows of `manifest` may go."""
    covered = sum(anchor.rows for anchor in manifest.anchors)
    if covered != manifest.rows:
        raise ConflictError(
            f"{manifest.rows - covered} of its rows are not covered by the last anchor of their day"
        )
    found = connection.execute(
        "SELECT (SELECT min(seq) FROM audit_log), (SELECT encode(hash, 'hex') FROM audit_log"
        " WHERE seq = %(last)s), (SELECT recorded_at FROM audit_log WHERE seq = %(next)s)",
        {"last": manifest.last_seq, "next": manifest.last_seq + 1},
    ).fetchone()
    assert found is not None
    oldest, head, following = found
    if oldest != manifest.first_seq:
        raise ConflictError(f"the oldest row is {oldest}, the export begins with another")
    if head != manifest.head:
        raise ConflictError("the database holds other rows than the export")
    last_day = dt.date.fromisoformat(manifest.anchors[-1].day)
    month_end = (last_day.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    over = now.astimezone(dt.UTC).date() >= month_end
    if not over or (following is not None and following.astimezone(dt.UTC).date() < month_end):
        raise ConflictError("only whole months that are over are dropped")


def _tell(connection: psycopg.Connection, manifest: Manifest, actor: str, now: dt.datetime) -> None:
    """Put it on record."""
    event = AuditEvent(
        event_type="AuditPruned",
        actor=actor,
        action="prune",
        resource="audit_log",
        outcome="dropped",
        ts=now,
        details={
            "first_seq": str(manifest.first_seq),
            "last_seq": str(manifest.last_seq),
            "manifest": digest_of(manifest),
        },
    )
    connection.execute(
        "INSERT INTO outbox (id, source, channel, stream, message)"
        " VALUES (%(id)s, %(source)s, %(channel)s, %(stream)s, %(message)s)",
        outbox_row(event),
    )
