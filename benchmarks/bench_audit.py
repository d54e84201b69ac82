"""Audit log: messages recorded, rows verified.

The same 60 000 messages (a story's nine kinds, about 1 KB each) every time, in batches of 500.
Append: from encoded messages to committed rows. Floor of the same run: the very rows, hashed
beforehand, written by COPY in the same batches and nothing else. Through the bus: messages lie on
their Redis streams, the service's reader and recorder take them to the table. Verify: the chain
read and checked from the table. Floor: SHA-256 over the canonical bytes of the same rows.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from benchmarks.results import Measurement
from infra.migrate import migrate
from libs.common.contracts.channels import LOG_CHANNELS
from libs.common.runtime.bus import Bus, LogMessage
from libs.common.runtime.clocks import SystemClock
from libs.common.runtime.database import Database
from libs.common.runtime.readiness import Readiness
from services.audit.adapters.chain_scan import verify_chain
from services.audit.adapters.streams import StreamTail
from services.audit.entries import entry_of
from services.audit.handlers import Recorder
from services.audit.logic import Head, Row, canonical, canonical_bytes, link
from services.audit.ports import Delivery
from services.audit.store import AuditStore, copy_rows
from tests.support.runtimes import eventually
from tests.support.servers import running_postgres, running_redis
from tests.support.story import MadeUpStory

MESSAGES = 60_000
BATCH = 500
TARGET_APPEND_S = 5_000
TARGET_VERIFY_S = 100_000


def run() -> list[Measurement]:
    """Return rates in messages/s and rows/s."""
    directory = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    directory.chmod(0o755)
    with running_postgres(directory) as postgres, running_redis(directory) as redis:
        urls = [_database(postgres.url, name) for name in ("floor", "append", "bus")]
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
    hashing = _bare_hashing(rows)
    started = time.perf_counter()
    found = await asyncio.to_thread(verify_chain, urls[1])
    verify = MESSAGES / (time.perf_counter() - started)
    assert found.valid, found
    assert found.rows == MESSAGES, found
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
            "verify: read and check the chain", verify, "rows/s", hashing, "bare SHA-256",
            target_value=TARGET_VERIFY_S,
        ),
    ]  # fmt: skip


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
    await eventually(lambda: recorder.head.seq >= MESSAGES, within_s=300, what="all recorded")
    rate = MESSAGES / (time.perf_counter() - started)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await bus.close()
    await database.close()
    return rate


def _bare_hashing(rows: Sequence[Row]) -> float:
    lines = [canonical_bytes(canonical(row, row.seq, row.prev_hash)) for row in rows]
    started = time.perf_counter()
    for line in lines:
        hashlib.sha256(line).hexdigest()
    return MESSAGES / (time.perf_counter() - started)
