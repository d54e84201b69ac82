"""The chain read out by COPY: the whole table at hundreds of thousands of rows a second.

One row is one line of text, taken apart here rather than by a driver's type adapters: those
cost several times what the hash costs. Runs in the caller's thread and blocks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import psycopg

from libs.common.kernel.errors import UnavailableError
from services.audit.logic import Canonical, Claim, Head, Verification, find_break

CONNECT_TIMEOUT_S: Final = 5
PROGRESS_ROWS: Final = 20_000
_LAST_SEQ: Final = 2**62
# A nullable text gets a leading "=", so that the empty field can only mean null.
_QUERY: Final = """
    COPY (
        SELECT action, actor, causation_id, channel, correlation_id, details, event_type,
               '=' || ip, message_id, outcome, encode(prev_hash, 'hex'), recorded_at, resource,
               seq, ts, '=' || user_agent, encode(hash, 'hex')
        FROM audit_log WHERE seq BETWEEN {first} AND {last} ORDER BY seq
    ) TO STDOUT (NULL '')
"""
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED: Final = {
    "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
}  # fmt: skip
_FULL_TIME: Final = len("2026-11-20 15:30:00.123456+00")


class ScanStoppedError(Exception):
    """The caller's `progress` asked to stop."""


def verify_chain(
    url: str,
    first_seq: int = 1,
    last_seq: int | None = None,
    progress: Callable[[int], bool] | None = None,
) -> Verification:
    """Read the chain of database `url` and stop at the first row that does not fit.

    The row before `first_seq` is taken on trust. `progress` is called with the rows read so far
    and returns whether to go on. Raises UnavailableError, and ScanStoppedError when stopped.
    """
    with _reading(url) as connection:
        return _verify(connection, first_seq, last_seq or _LAST_SEQ, progress)


def row_count(url: str, first_seq: int = 1, last_seq: int | None = None) -> int:
    """Return about how many rows a verification will read: the span up to the last row."""
    with _reading(url) as connection:
        row = connection.execute("SELECT coalesce(max(seq), 0) FROM audit_log").fetchone()
    last = min(row[0] if row else 0, last_seq or _LAST_SEQ)
    return max(0, last - first_seq + 1)


@contextmanager
def _reading(url: str) -> Iterator[psycopg.Connection]:
    scheme, _, rest = url.partition("://")
    try:
        with psycopg.connect(
            f"{scheme.split('+')[0]}://{rest}", connect_timeout=CONNECT_TIMEOUT_S
        ) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("SET LOCAL TIME ZONE 'UTC'")
            connection.execute("SET LOCAL DateStyle = 'ISO'")
            connection.execute("SET LOCAL statement_timeout = 0")
            yield connection
    except psycopg.OperationalError as error:
        raise UnavailableError(f"database: {str(error).splitlines()[0]}") from error


def _verify(
    connection: psycopg.Connection,
    first_seq: int,
    last_seq: int,
    progress: Callable[[int], bool] | None,
) -> Verification:
    head = _before(connection, first_seq)
    count = 0
    for claim in _claims(connection, first_seq, last_seq):
        broken = find_break(claim, head)
        if broken is not None:
            return Verification(count, head, broken)
        head = Head(claim[0].seq, claim[1])
        count += 1
        if progress is not None and count % PROGRESS_ROWS == 0 and not progress(count):
            raise ScanStoppedError
    return Verification(count, head, None)


def _before(connection: psycopg.Connection, first_seq: int) -> Head:
    if first_seq <= 1:
        return Head()
    query = "SELECT encode(hash, 'hex') FROM audit_log WHERE seq = %s"
    row = connection.execute(query, (first_seq - 1,)).fetchone()
    return Head(first_seq - 2) if row is None else Head(first_seq - 1, row[0])


def _claims(connection: psycopg.Connection, first_seq: int, last_seq: int) -> Iterator[Claim]:
    query = _QUERY.format(first=int(first_seq), last=int(last_seq))
    with connection.cursor() as cursor, cursor.copy(query.encode()) as copy:
        for line in copy:
            yield claim_of_line(bytes(line))


def claim_of_line(line: bytes) -> Claim:
    """Return what one line of the COPY claims: 17 fields, tab-separated, newline-terminated."""
    fields = line[:-1].decode().split("\t")
    if b"\\" in line:
        fields = [_ESCAPE.sub(_unescape, field) if "\\" in field else field for field in fields]
    (
        action, actor, causation_id, channel, correlation_id, details, event_type, ip, message_id,
        outcome, prev_hash, recorded_at, resource, seq, ts, user_agent, claimed,
    ) = fields  # fmt: skip
    form = Canonical(
        action,
        actor,
        causation_id or None,
        channel,
        correlation_id,
        msgspec.Raw(details),
        event_type,
        ip[1:] if ip else None,
        message_id,
        outcome,
        prev_hash,
        rfc3339(recorded_at),
        resource,
        int(seq),
        rfc3339(ts),
        user_agent[1:] if user_agent else None,
    )
    return form, claimed


def rfc3339(text: str) -> str:
    """Return PostgreSQL's ISO time in UTC as RFC 3339 with six fraction digits or none.

    '2026-11-20 15:30:00.12+00' -> '2026-11-20T15:30:00.120000Z'.
    """
    if len(text) == _FULL_TIME:
        return f"{text[:10]}T{text[11:26]}Z"
    moment, _, fraction = text.removesuffix("+00").partition(".")
    return f"{moment[:10]}T{moment[11:]}{f'.{fraction:0<6}' if fraction else ''}Z"


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[1])
