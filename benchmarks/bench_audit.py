"""Audit log: messages recorded, rows verified.

The same 60 000 messages (a story's nine kinds, about 1 KB each) every time, in batches of 500.
Append: from encoded messages to committed rows. Floor of the same run: the very rows, hashed
beforehand, written by COPY in the same batches and nothing else. Through the bus: messages lie on
their Redis streams, the service's reader and recorder take them to the table. API calls: 250 in a
message as services send them, address and user agent sealed with a month's key. Verify: a table of
a million such rows, the chain and the anchors of its ten days, read by as many processes as there
are processors. Floor: the same rows read by the same COPY in one process and their details hashed
by SHA-256, without a chain. Noting: what recording adds to a request before it is answered, and
what it costs later.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from benchmarks.results import Measurement
from infra.migrate import migrate
from libs.common.contracts.channels import AUDIT_CALLS, DEAD_LETTERS, LOG_CHANNELS
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import ApiCall, ApiCalls
from libs.common.runtime.bus import Bus, LogMessage
from libs.common.runtime.clocks import SystemClock, Uuid7Ids
from libs.common.runtime.database import Database
from libs.common.runtime.endings import end_all
from libs.common.runtime.readiness import Readiness
from libs.common.runtime.recording import CALLS_MAX, Call, CallRecorder, event_of
from libs.common.runtime.secrets import SecretBox, new_key
from services.audit.adapters.anchor_files import AnchorFiles
from services.audit.adapters.chain_scan import Evidence, verify_chain
from services.audit.adapters.streams import StreamTail
from services.audit.anchoring import Anchorer
from services.audit.anchors import AnchorKey
from services.audit.entries import entry_of
from services.audit.handlers import Recorder
from services.audit.key_store import KeyStore
from services.audit.logic import Entry, Head, Row, link
from services.audit.ports import Delivery
from services.audit.sealing import Sealer
from services.audit.store import AuditStore, copy_rows
from tests.support.servers import running_postgres, running_redis
from tests.support.story import MadeUpStory

MESSAGES = 60_000
BATCH = 500
STALLED_S = 90.0
"""How long no row may come; longer than what another consumer holds is left to it."""
MANY = 1_000_000
DAYS = 10
FIRST_DAY = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
TARGET_APPEND_S = 5_000
TARGET_VERIFY_S = 100_000


def run() -> list[Measurement]:
    """Return rates in messages/s and rows/s."""
    directory = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    directory.chmod(0o755)
    with running_postgres(directory) as postgres, running_redis(directory) as redis:
        urls = [
            _database(postgres.url, name) for name in ("floor", "append", "bus", "calls", "many")
        ]
        return asyncio.run(_measure(urls, redis.url))


def _database(url: str, name: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE bench_{name}")
    made = url.rsplit("/", 1)[0] + f"/bench_{name}"
    migrate(made)
    return made


async def _measure(urls: Sequence[str], redis_url: str) -> list[Measurement]:
    messages = [
        message
        for _ in range(MESSAGES // len(MadeUpStory().messages) + 1)
        for message in MadeUpStory().messages
    ][:MESSAGES]
    now = dt.datetime.now(dt.UTC)
    entries = [
        entry_of(message.data, message.stream.removeprefix("log:"), now) for message in messages
    ]
    rows = list(link(Head(), entries))
    floor = await _bare_copy(urls[0], rows)
    append = await _append(urls[1], messages)
    bus = await _through_bus(urls[2], redis_url, messages)
    calls = await _append_calls(urls[3])
    anchored = await _fill(urls[4], _many(entries))
    floor_read = _bare_reading(urls[4])
    started = time.perf_counter()
    found = await asyncio.to_thread(
        verify_chain, urls[4], evidence=anchored, jobs=os.cpu_count() or 1
    )
    verify = MANY / (time.perf_counter() - started)
    assert (found.valid, found.rows, found.anchors) == (True, MANY, DAYS), found
    note_us, later_us = _note()
    return [
        Measurement(
            "append: read, hash, link, commit", append, "messages/s", floor, "bare COPY",
            target_value=TARGET_APPEND_S,
        ),
        Measurement(
            "recorded through Redis", bus, "messages/s", floor, "bare COPY",
            target_value=TARGET_APPEND_S,
        ),
        Measurement(
            "append of API calls, personal details sealed", calls, "calls/s", floor, "bare COPY",
            target_value=TARGET_APPEND_S,
        ),
        Measurement(
            "verify 1 000 000 rows: chain and anchors", verify, "rows/s", floor_read,
            "bare COPY and SHA-256", target_value=TARGET_VERIFY_S,
        ),
        Measurement(
            "noting a call before its answer is done", note_us, "µs", target_value=20.0,
            higher_is_better=False,
        ),
        Measurement(
            "making its record, later", later_us, "µs", target_value=200.0, higher_is_better=False
        ),
    ]  # fmt: skip


def _many(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Yield MANY entries, each a new one, a tenth of them on each of ten days."""
    for place, entry in enumerate(islice(cycle(entries), MANY)):
        yield msgspec.structs.replace(
            entry,
            message_id=uuid.uuid4(),
            recorded_at=FIRST_DAY + dt.timedelta(days=place * DAYS // MANY),
        )


async def _fill(url: str, entries: Iterator[Entry]) -> Evidence:
    """Fill a table by bare COPY, anchor its days; return the anchors."""
    database = Database(url, pool_size=1, timeout_s=60, name="bench")
    head = Head()
    while rows := list(link(head, islice(entries, 10_000))):
        async with database.write() as tx:
            await copy_rows(tx, rows)
        head = Head(rows[-1].seq, rows[-1].hash)
    files = AnchorFiles(Path(tempfile.mkdtemp(prefix="tradewind-anchors-")))
    anchorer = Anchorer(AuditStore(database), files, AnchorKey(bytes(32)))
    await anchorer.anchor(FIRST_DAY + dt.timedelta(days=DAYS))
    await database.close()
    return Evidence(files.read(), files.hashes)


def _bare_reading(url: str) -> float:
    query = b"COPY (SELECT * FROM audit_log ORDER BY seq) TO STDOUT"
    started = time.perf_counter()
    with (
        psycopg.connect(url) as connection,
        connection.cursor() as cursor,
        cursor.copy(query) as copy,
    ):
        for line in copy:
            hashlib.sha256(line).hexdigest()
    return MANY / (time.perf_counter() - started)


async def _append_calls(url: str) -> float:
    """Record as many API calls as a story's messages, with a key that seals."""
    database = Database(url, pool_size=1, timeout_s=10, name="bench")
    sealer = Sealer(KeyStore(database), SecretBox([new_key()]))
    recorder = Recorder(AuditStore(database), SystemClock(), sealer)
    deliveries = [
        Delivery(AUDIT_CALLS.stream, "0-0", _message(at)) for at in range(0, MESSAGES, CALLS_MAX)
    ]
    started = time.perf_counter()
    for at in range(0, len(deliveries), BATCH // CALLS_MAX):
        await recorder.record(deliveries[at : at + BATCH // CALLS_MAX])
    rate = MESSAGES / (time.perf_counter() - started)
    await database.close()
    return rate


def _call(number: int) -> Call:
    headers = [(b"host", b"localhost"), (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64)")]
    return Call(
        time.time_ns(), "GET", "/api/v1/orders/{order_id}", f"/api/v1/orders/{number}", 200, 0.004,
        uuid.uuid4(), headers, ("127.0.0.1", 4711), None,
    )  # fmt: skip


def _message(first: int) -> bytes:
    """Return a message of calls as a service makes it."""
    calls = [
        ApiCall(
            id=uuid.uuid4(),
            correlation_id=uuid.uuid4(),
            event=event_of(_call(number), "trade_executor"),
        )
        for number in range(first, first + CALLS_MAX)
    ]
    return encode(
        seal(
            ApiCalls(calls=calls),
            message_id=uuid.uuid4(),
            ts_ns=time.time_ns(),
            source="trade_executor",
            correlation_id=uuid.uuid4(),
        )
    )


def _note() -> tuple[float, float]:
    """Return what noting a call costs, and making its message, in microseconds."""
    recorder = CallRecorder(
        service="bench", database=None, outbox=None,  # type: ignore[arg-type]
        clock=SystemClock(), ids=Uuid7Ids(), every_s=1.0, calls_max=MESSAGES,
    )  # fmt: skip
    scope = {"method": "GET", "path": "/x", "headers": [], "client": ("127.0.0.1", 1)}
    name = uuid.uuid4()
    started = time.perf_counter()
    for _ in range(MESSAGES):
        recorder.note(scope, "/x", 200, 0.001, name)
    noted = time.perf_counter()
    for first in range(0, MESSAGES, CALLS_MAX):
        _message(first)
    done = time.perf_counter()
    return (noted - started) / MESSAGES * 1e6, (done - noted) / MESSAGES * 1e6


async def _bare_copy(url: str, rows: Sequence[Row]) -> float:
    database = Database(url, pool_size=1, timeout_s=10, name="bench")
    started = time.perf_counter()
    for at in range(0, MESSAGES, BATCH):
        async with database.write() as tx:
            await copy_rows(tx, rows[at : at + BATCH])
    rate = MESSAGES / (time.perf_counter() - started)
    await database.close()
    return rate


async def _append(url: str, messages: Sequence[LogMessage]) -> float:
    database = Database(url, pool_size=1, timeout_s=10, name="bench")
    recorder = Recorder(AuditStore(database), SystemClock())
    deliveries = [Delivery(message.stream, "0-0", message.data) for message in messages]
    started = time.perf_counter()
    for at in range(0, MESSAGES, BATCH):
        await recorder.record(deliveries[at : at + BATCH])
    rate = MESSAGES / (time.perf_counter() - started)
    await database.close()
    return rate


async def _through_bus(url: str, redis_url: str, messages: Sequence[LogMessage]) -> float:
    database = Database(url, pool_size=1, timeout_s=10, name="bench")
    bus = Bus(redis_url, timeout_s=10, name="bench")
    for at in range(0, MESSAGES, BATCH):
        await bus.append(messages[at : at + BATCH])
    recorder = Recorder(AuditStore(database), SystemClock())
    tail = StreamTail(
        bus,
        [channel.stream for channel in LOG_CHANNELS],
        group="audit",
        consumer="bench",
        readiness=Readiness(),
        batch=BATCH,
        block_ms=100,
        claim_idle_s=30.0,
    )
    started = time.perf_counter()
    reading = asyncio.create_task(tail.run(recorder.record))
    try:
        await _all_recorded(bus, tail, recorder, reading)
        return MESSAGES / (time.perf_counter() - started)
    finally:
        await end_all([reading])
        await bus.close()
        await database.close()


async def _all_recorded(
    bus: Bus, tail: StreamTail, recorder: Recorder, reading: asyncio.Task[None]
) -> None:
    """Wait for the last row; where none comes any more, or the reader ended, say what is missing
    and where it is."""
    seen, moved_at = 0, time.monotonic()
    while recorder.head.seq < MESSAGES:
        if recorder.head.seq > seen:
            seen, moved_at = recorder.head.seq, time.monotonic()
        if reading.done() or time.monotonic() - moved_at > STALLED_S:
            waiting = {
                stream: backlog.messages
                for stream, backlog in (await tail.backlog()).items()
                if backlog.messages
            }
            dead: Any = await bus.client.xrange(DEAD_LETTERS)
            why = reading.exception() if reading.done() else None
            raise RuntimeError(
                f"through Redis: {seen} of {MESSAGES} messages recorded, no more for {STALLED_S} s;"
                f" on the streams {waiting}, dead letters {len(dead)}"
                f" {sorted({entry[1][b'error'].decode() for entry in dead})[:3]},"
                f" reader {'ended' if reading.done() else 'running'}"
            ) from why
        await asyncio.sleep(0.02)
