"""The chain read out by COPY: the whole table at hundreds of thousands of rows a second.

One row is one line of text, taken apart here rather than by a driver's type adapters: those
cost several times what the hash costs. It is read in parts, by processes side by side if there are
processors for them; the parts are joined, and held against the anchors, in order.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import re
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import psycopg
from psycopg import sql

from libs.common.kernel.errors import UnavailableError
from services.audit.anchors import Anchor, AnchorError, read_line
from services.audit.logic import Break, Canonical, Claim, Head, Verification
from services.audit.spans import Span, follow, span_of
from services.audit.watch import AnchorWatch, Hashes

CONNECT_TIMEOUT_S: Final = 5
SPAN_ROWS: Final = 20_000
_SPANS_AHEAD: Final = 64
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
# Rows come by the index, in their order. Left to itself the planner sorts a part, on disk, where it
# has no statistics yet; compiling the query takes longer than a part does.
_IN_ORDER: Final = """
    SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true),
           set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)
"""
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED: Final = {
    "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
}  # fmt: skip
_FULL_TIME: Final = len("2026-11-20 15:30:00.123456+00")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is kept outside the database: anchors, and where the hashes of anchored rows are."""

    anchors: Sequence[Anchor] = ()
    hashes: Hashes = lambda day: b""


def verify_chain(
    url: str,
    first_seq: int = 1,
    last_seq: int | None = None,
    progress: Callable[[int], bool] | None = None,
    *,
    evidence: Evidence | None = None,
    jobs: int = 1,
    span_rows: int = SPAN_ROWS,
) -> Verification:
    """Read the chain of database `url` and stop at the first row that does not fit.

    Rows before `first_seq`, and those dropped behind a checkpoint, are taken on trust. With
    `evidence` the rows are held against the anchors too. With more than one of `jobs` processes of
    their own read and hash. `progress` is called with the rows read so far, after each
    part of `span_rows`, and returns whether to go on. Raises UnavailableError, and
    ScanStoppedError when stopped.
    """
    given = evidence or Evidence()
    with _reading(url) as connection:
        head, checkpointed = _start(connection, first_seq, given.anchors)
        if checkpointed is not None:
            return Verification(0, Head(), checkpointed)
        end = min(last_seq or _LAST_SEQ, _last(connection))
        snapshot = _snapshot(connection)
        watch = AnchorWatch(given.anchors, head.seq + 1, given.hashes)
        starts = range(head.seq + 1, end + 1, span_rows)
        ask = [(url, snapshot, at, min(at + span_rows - 1, end)) for at in starts]
        with closing(_spans(connection, ask, jobs)) as spans:
            found = follow(head, spans, watch, progress)
        if found.valid and last_seq is None:
            return replace(found, broken=watch.finish(found.head))
        return found


def read_claim(url: str, seq: int) -> Claim | None:
    """Return what row `seq` claims, None where there is none. Raises UnavailableError."""
    with _reading(url) as connection:
        return next(iter(_claims(connection, seq, seq)), None)


@contextmanager
def claims_of(url: str, first_seq: int, last_seq: int) -> Iterator[Iterator[Claim]]:
    """Open a reading of what rows `first_seq` to `last_seq` claim. Raises UnavailableError."""
    with _reading(url) as connection:
        yield _claims(connection, first_seq, last_seq)


def rows_between(url: str, start: dt.datetime, end: dt.datetime) -> tuple[int, int]:
    """Return the first row recorded from `start` on and the last one before `end`."""
    query = "SELECT coalesce(max(seq), %s) FROM audit_log WHERE recorded_at < %s"
    with _reading(url) as connection:
        oldest = connection.execute("SELECT coalesce(min(seq), 1) FROM audit_log").fetchone()
        assert oldest is not None
        found = [
            connection.execute(query, (oldest[0] - 1, moment)).fetchone() for moment in (start, end)
        ]
    assert found[0] is not None
    assert found[1] is not None
    return found[0][0] + 1, found[1][0]


def row_count(url: str, first_seq: int = 1, last_seq: int | None = None) -> int:
    """Return about how many rows a verification will read: the span up to the last row."""
    with _reading(url) as connection:
        row = connection.execute("SELECT coalesce(min(seq), 1) FROM audit_log").fetchone()
        last = min(_last(connection), last_seq or _LAST_SEQ)
    return max(0, last - max(first_seq, row[0] if row else 1) + 1)


@contextmanager
def _reading(url: str, snapshot: str = "") -> Iterator[psycopg.Connection]:
    scheme, _, rest = url.partition("://")
    try:
        with psycopg.connect(
            f"{scheme.split('+')[0]}://{rest}", connect_timeout=CONNECT_TIMEOUT_S
        ) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            if snapshot:
                connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot))
            connection.execute("SET LOCAL TIME ZONE 'UTC'")
            connection.execute("SET LOCAL DateStyle = 'ISO'")
            connection.execute("SET LOCAL statement_timeout = 0")
            yield connection
    except psycopg.OperationalError as error:
        raise UnavailableError(f"database: {str(error).splitlines()[0]}") from error


def _snapshot(connection: psycopg.Connection) -> str:
    row = connection.execute("SELECT pg_export_snapshot()").fetchone()
    assert row is not None
    return str(row[0])


def _last(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT coalesce(max(seq), 0) FROM audit_log").fetchone()
    return int(row[0]) if row else 0


def _start(
    connection: psycopg.Connection, first_seq: int, anchors: Sequence[Anchor]
) -> tuple[Head, Break | None]:
    """Return the head to begin after; what is wrong with the checkpoint, if rows were dropped."""
    if first_seq > 1:
        query = "SELECT encode(hash, 'hex') FROM audit_log WHERE seq = %s"
        row = connection.execute(query, (first_seq - 1,)).fetchone()
        if row is not None:
            return Head(first_seq - 1, row[0]), None
    found = connection.execute(
        "SELECT statement FROM audit_checkpoints ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    if found is None:
        # Nothing was dropped: a row missing at the start is a gap.
        return (Head() if first_seq <= 1 else Head(first_seq - 2)), None
    try:
        checkpoint = read_line(found[0].encode())
    except AnchorError as error:
        return Head(), Break(1, "CHECKPOINT_BROKEN", "a signed checkpoint", f"one that {error}")
    known = {one.key for one in anchors}
    if known and checkpoint not in anchors:
        return Head(), Break(
            checkpoint.last_seq, "CHECKPOINT_BROKEN", "a checkpoint that is anchored", "another"
        )
    if first_seq > checkpoint.last_seq + 1:
        return Head(first_seq - 2), None
    return Head(checkpoint.last_seq, checkpoint.head), None


def _spans(
    connection: psycopg.Connection, ask: Sequence[tuple[str, str, int, int]], jobs: int
) -> Generator[Span, None, None]:
    if jobs <= 1 or len(ask) <= jobs:
        for _, _, first, last in ask:
            yield span_of(_claims(connection, first, last), first)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs - 1, mp_context=context) as pool:
        rest = deque(ask)
        queue: deque[Future[Span] | Span] = deque()
        try:
            while rest or queue:
                asked = sum(isinstance(one, Future) and not one.done() for one in queue)
                while rest and asked < (jobs - 1) * 2:
                    queue.append(pool.submit(_span_of, *rest.popleft()))
                    asked += 1
                next_one = queue[0]
                if isinstance(next_one, Span):
                    queue.popleft()
                    yield next_one
                elif rest and not next_one.done() and len(queue) < _SPANS_AHEAD:
                    # Processes take a while to start: this one reads on meanwhile.
                    _, _, first, last = rest.popleft()
                    queue.append(span_of(_claims(connection, first, last), first))
                else:
                    queue.popleft()
                    yield next_one.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _span_of(url: str, snapshot: str, first: int, last: int) -> Span:
    """Read a part in a process of its own."""
    with _reading(url, snapshot) as connection:
        return span_of(_claims(connection, first, last), first)


def _claims(connection: psycopg.Connection, first_seq: int, last_seq: int) -> Iterator[Claim]:
    query = _QUERY.format(first=int(first_seq), last=int(last_seq))
    connection.execute(_IN_ORDER)
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
