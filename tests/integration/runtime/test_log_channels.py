"""Log channels: a message is delivered if and only if its transaction committed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
import redis.asyncio
from sqlalchemy import text

from libs.common.contracts.channels import AUDIT_EVENTS, DEAD_LETTERS, NOTIFICATIONS
from libs.common.contracts.envelope import Envelope
from libs.common.contracts.messages import AuditEvent, Notification
from libs.common.domain.vocabulary import Level
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.app import create_app
from libs.common.runtime.bus import FIELD
from libs.common.runtime.consumers import LogConsumer
from libs.common.runtime.runtime import Runtime
from tests.support.runtimes import eventually, ready, runtime_for, serving
from tests.support.servers import ServerProcess


class Recorder:
    """Remembers the titles it was given; may refuse some."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.calls = 0
        self.broken: set[str] = set()
        self.away = False

    async def handle(self, batch: Sequence[Envelope[Notification]]) -> None:
        self.calls += 1
        if self.away:
            raise UnavailableError("away")
        for envelope in batch:
            if envelope.payload.title in self.broken:
                raise ValueError(f"cannot digest {envelope.payload.title}")
        self.titles.extend(envelope.payload.title for envelope in batch)


def note(title: str, runtime: Runtime) -> Notification:
    return Notification(
        level=Level.INFO,
        title=title,
        message="",
        fingerprint=title,
        ts=runtime.clock.now(),
    )


async def say(runtime: Runtime, title: str) -> None:
    async with runtime.database.write() as tx:
        await runtime.outbox.add(
            tx, NOTIFICATIONS, note(title, runtime), correlation_id=uuid.uuid4(), key="test"
        )


async def unconfirmed(runtime: Runtime) -> int:
    async with runtime.database.read() as session:
        row = await session.row(
            text(
                "SELECT count(*) n FROM outbox"
                " WHERE confirmed_at IS NULL"
                " AND stream NOT IN ('log:audit.operations', 'log:audit.calls')"
            )
        )
    assert row is not None
    return int(row["n"])


@pytest.fixture
def runtime(database_url: str, redis_url: str) -> Runtime:
    return runtime_for("monitoring", database_url, redis_url)


async def test_messages_arrive_in_order_and_are_confirmed(runtime: Runtime) -> None:
    recorder, audit = Recorder(), Recorder()
    app = create_app(
        runtime,
        consumers=[
            LogConsumer(NOTIFICATIONS, recorder.handle),
            LogConsumer(NOTIFICATIONS, audit.handle, group="audit"),
        ],
    )
    async with serving(app) as client:
        await ready(client)
        for number in range(200):
            await say(runtime, f"n{number}")
        await eventually(lambda: len(recorder.titles) >= 200, what="200 messages")
        assert recorder.titles == [f"n{number}" for number in range(200)]

        async def all_confirmed() -> bool:
            return await unconfirmed(runtime) == 0

        await eventually(all_confirmed, what="all confirmed")


@pytest.mark.parametrize("turns", [0, 4])
async def test_commits_in_quick_succession_keep_their_order(runtime: Runtime, turns: int) -> None:
    recorder = Recorder()
    runtime.outbox.give_way(turns)
    app = create_app(runtime, consumers=[LogConsumer(NOTIFICATIONS, recorder.handle)])
    async with serving(app) as client:
        await ready(client)
        titles = [str(number) for number in range(150)]
        for title in titles:
            await say(runtime, title)
        await eventually(lambda: len(set(recorder.titles)) >= len(titles), within_s=60, what="all")
    # What is swept before its confirmation is told twice; the first telling keeps the order.
    assert list(dict.fromkeys(recorder.titles)) == titles


async def test_a_rolled_back_transaction_says_nothing(runtime: Runtime) -> None:
    recorder = Recorder()
    app = create_app(runtime, consumers=[LogConsumer(NOTIFICATIONS, recorder.handle)])
    async with serving(app) as client:
        await ready(client)

        async def fail() -> None:
            async with runtime.database.write() as tx:
                await runtime.outbox.add(
                    tx, NOTIFICATIONS, note("no", runtime), correlation_id=uuid.uuid4(), key="t"
                )
                raise RuntimeError("the handler failed after all")

        with pytest.raises(RuntimeError):
            await fail()
        await say(runtime, "yes")
        await eventually(lambda: "yes" in recorder.titles, what="the second message")
        assert recorder.titles == ["yes"]


async def test_what_a_crash_left_unpublished_is_swept(
    database_url: str, redis_url: str, runtime: Runtime
) -> None:
    # A runtime whose outbox task never runs stands for a process that died after its commit.
    dead = runtime_for("monitoring", database_url, redis_url)
    for number in range(3):
        await say(dead, f"left{number}")
    await dead.close()
    recorder = Recorder()
    app = create_app(runtime, consumers=[LogConsumer(NOTIFICATIONS, recorder.handle)])
    async with serving(app):
        await eventually(lambda: len(recorder.titles) >= 3, what="the swept messages")
    assert recorder.titles == ["left0", "left1", "left2"]


async def test_a_flushed_redis_gets_all_unacknowledged_messages_again(
    runtime: Runtime, redis_url: str
) -> None:
    recorder = Recorder()
    recorder.away = True
    app = create_app(runtime, consumers=[LogConsumer(NOTIFICATIONS, recorder.handle)])
    async with serving(app) as client:
        await ready(client)
        for number in range(5):
            await say(runtime, f"n{number}")
        await eventually(lambda: recorder.calls > 0, what="a first attempt")
        with redis.Redis.from_url(redis_url) as raw:
            raw.flushall()
        recorder.away = False
        await say(runtime, "after")
        await eventually(
            lambda: set(recorder.titles) >= {*(f"n{i}" for i in range(5)), "after"},
            what="all messages after the flush",
        )


async def test_a_restarted_redis_is_survived(runtime: Runtime, redis_server: ServerProcess) -> None:
    recorder = Recorder()
    app = create_app(runtime, consumers=[LogConsumer(NOTIFICATIONS, recorder.handle)])
    async with serving(app) as client:
        await ready(client)
        await say(runtime, "before")
        await eventually(lambda: "before" in recorder.titles, what="the message before")
        redis_server.kill()
        await say(runtime, "during")
        await asyncio.sleep(0.3)
        redis_server.start()
        await eventually(lambda: "during" in recorder.titles, what="the message in between")
        await ready(client)


async def test_a_message_that_always_fails_goes_to_the_dead_letters(
    runtime: Runtime, redis_url: str
) -> None:
    recorder = Recorder()
    recorder.broken = {"poison"}
    app = create_app(runtime, consumers=[LogConsumer(NOTIFICATIONS, recorder.handle)])
    async with serving(app) as client:
        await ready(client)
        for title in ("a", "poison", "b"):
            await say(runtime, title)
        await eventually(lambda: "b" in recorder.titles, what="the message after the poison")
    assert recorder.titles == ["a", "b"]
    with redis.Redis.from_url(redis_url) as raw:
        entries = raw.xrange(DEAD_LETTERS)
    assert len(entries) == 1
    fields = entries[0][1]
    assert fields[b"stream"] == b"log:notifications"
    assert b"poison" in fields[b"message"]


async def test_an_unknown_version_is_refused_loudly(runtime: Runtime, redis_url: str) -> None:
    recorder = Recorder()
    app = create_app(runtime, consumers=[LogConsumer(NOTIFICATIONS, recorder.handle)])
    async with serving(app) as client:
        await ready(client)
        message = runtime.outbox.prepare(
            NOTIFICATIONS, note("new", runtime), correlation_id=uuid.uuid4(), key="t"
        )
        newer = message.data.replace(b'"version":1', b'"version":2')
        with redis.Redis.from_url(redis_url) as raw:
            raw.xadd(message.stream, {"message": newer})
            await eventually(lambda: raw.xlen(DEAD_LETTERS) == 1, what="the dead letter")
            assert b"version 2 is unknown" in raw.xrange(DEAD_LETTERS)[0][1][b"error"]
    assert recorder.titles == []


async def test_what_a_dead_consumer_held_is_claimed(runtime: Runtime, redis_url: str) -> None:
    message = runtime.outbox.prepare(
        NOTIFICATIONS, note("held", runtime), correlation_id=uuid.uuid4(), key="t"
    )
    with redis.Redis.from_url(redis_url) as raw:
        raw.xadd(message.stream, {"message": message.data})
        raw.xgroup_create(message.stream, "monitoring", id="0")
        raw.xreadgroup("monitoring", "another-that-died", {message.stream: ">"})
    recorder = Recorder()
    app = create_app(runtime, consumers=[LogConsumer(NOTIFICATIONS, recorder.handle)])
    async with serving(app):
        await eventually(lambda: recorder.titles == ["held"], what="the claim")


async def test_a_reader_that_stays_away_fills_no_memory_and_misses_nothing(
    runtime: Runtime, redis_url: str
) -> None:
    stream = AUDIT_EVENTS.stream
    async with redis.asyncio.Redis.from_url(redis_url) as server:
        await server.xgroup_create(stream, "audit", id="0", mkstream=True)
        pipe = server.pipeline(transaction=False)
        for _ in range(AUDIT_EVENTS.length_max + 1):
            pipe.xadd(stream, {FIELD: b"old"})
        await pipe.execute()
        before = await server.xlen(stream)
        task = asyncio.create_task(runtime.outbox.run())
        try:
            await eventually(lambda: bool(runtime.outbox._full), what="a stream that is full")
            async with runtime.database.write() as tx:
                event = AuditEvent(
                    event_type="x", actor="a", action="b", resource="c", outcome="d",
                    ts=runtime.clock.now(),
                )  # fmt: skip
                await runtime.outbox.add(tx, AUDIT_EVENTS, event, correlation_id=uuid.uuid4())
            # What others wait for goes on.
            await say(runtime, "on")
            await eventually(
                lambda: length(server, NOTIFICATIONS.stream, 1), what="another stream's message"
            )
            assert await server.xlen(stream) == before
            assert await unconfirmed(runtime) == 2
            await server.xgroup_setid(stream, "audit", "$")
            await eventually(
                lambda: newest(server, stream, b'"event_type":"x"'), what="the message that waited"
            )
            assert await server.xlen(stream) < before
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await runtime.close()


async def length(server: redis.asyncio.Redis, stream: str, count: int) -> bool:
    return int(await server.xlen(stream)) == count


async def newest(server: redis.asyncio.Redis, stream: str, part: bytes) -> bool:
    entries: Any = await server.xrevrange(stream, count=1)
    return part in entries[0][1][FIELD.encode()]


async def test_a_stream_is_trimmed_while_its_first_entry_waits(runtime: Runtime) -> None:
    bus, stream = runtime.bus, "log:trimmed"
    try:
        for entry in ("1-0", "2-0", "3-0"):
            await bus.client.xadd(stream, {"m": entry}, id=entry)
        await bus.client.xgroup_create(stream, "reader", id="0")
        await bus.client.xreadgroup("reader", "one", {stream: ">"}, count=2)
        await bus.client.xack(stream, "reader", "1-0")
        positions = await bus.positions(stream)
        assert positions == {"reader": (2, -1)}
        await bus.trim(stream, positions["reader"])
        assert [entry for entry, _ in await bus.client.xrange(stream, "2", "+")] == [b"2-0", b"3-0"]
    finally:
        await bus.client.delete(stream)
        await bus.close()
