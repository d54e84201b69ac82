"""Calls of an API, many in a message, on real servers: a row each, once, as if each had come by
itself."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
import redis.asyncio as redis

from libs.common.contracts.channels import AUDIT_CALLS, AUDIT_OPERATIONS, DEAD_LETTERS, Channel
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import ApiCall, ApiCalls, AuditEvent, Payload
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.bus import Bus, LogMessage
from libs.common.runtime.clocks import SystemClock
from libs.common.runtime.database import Database
from libs.common.runtime.secrets import new_key
from services.audit import metrics
from services.audit.adapters.chain_scan import verify_chain
from services.audit.handlers import ROWS_MAX, Recorder
from services.audit.logic import Entry
from services.audit.main import build
from services.audit.ports import Appended, Delivery
from services.audit.settings import AuditSettings
from services.audit.store import AuditStore
from tests.support.runtimes import eventually, ready, serving

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
TS_NS = 1_763_640_000_000_000_000


def call(number: int) -> ApiCall:
    event = AuditEvent(
        event_type="ApiCall", actor="user:ada", action="GET", resource="/api/v1/orders/{order_id}",
        outcome="ok", ts=NOW, details={"n": str(number), "ip": "203.0.113.77", "user_agent": "odd"},
    )  # fmt: skip
    return ApiCall(id=uuid.uuid4(), correlation_id=uuid.uuid4(), event=event)


def message(
    payload: Payload, channel: Channel, message_id: uuid.UUID, correlation_id: uuid.UUID
) -> LogMessage:
    envelope = seal(
        payload, message_id=message_id, ts_ns=TS_NS, source="portfolio",
        correlation_id=correlation_id,
    )  # fmt: skip
    return LogMessage(message_id, channel.name(), channel.stream, encode(envelope))


def together(calls: Sequence[ApiCall]) -> LogMessage:
    """Return the message that holds all `calls`."""
    return message(ApiCalls(calls=list(calls)), AUDIT_CALLS, uuid.uuid4(), uuid.uuid4())


def alone(one: ApiCall) -> LogMessage:
    """Return the message that a service of the version before sent of one call."""
    return message(one.event, AUDIT_OPERATIONS, one.id, one.correlation_id)


async def send(redis_url: str, *messages: LogMessage) -> None:
    bus = Bus(redis_url, timeout_s=5, name="test")
    await bus.append(messages)
    await bus.close()


def settings(database_url: str, redis_url: str) -> AuditSettings:
    return AuditSettings.model_validate(
        {
            "database_url": database_url, "redis_url": redis_url, "outbox_sweep_s": 0.1,
            "claim_idle_s": 1.0, "audit_block_ms": 50, "audit_lag_s": 0.1,
            "encryption_keys": new_key(),
        }
    )  # fmt: skip


def rows(database_url: str) -> list[tuple[Any, ...]]:
    """Return what stands of the calls of others, without its place in the chain."""
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT message_id, ts, event_type, actor, action, resource, outcome, ip, user_agent,"
            " channel, correlation_id, causation_id, details FROM audit_log"
            " WHERE actor = 'user:ada' ORDER BY seq"
        ).fetchall()


async def test_calls_in_one_message_are_the_rows_that_each_alone_would_be(
    database_url: str, redis_url: str
) -> None:
    first, second = [call(n) for n in range(20)], [call(n) for n in range(20, 40)]
    async with serving(build(settings(database_url, redis_url))) as client:
        await ready(client)
        known = metrics.DUPLICATES._value.get()
        # Old and new beside each other, and every call by both ways: whichever comes first.
        await send(redis_url, together(first), *(alone(one) for one in second))
        await eventually(lambda: len(rows(database_url)) == 40, what="forty rows")
        before = rows(database_url)
        again = [together(first), together(second), *(alone(one) for one in first)]
        await send(redis_url, *again, together([last := call(40)]))
        await eventually(lambda: len(rows(database_url)) == 41, what="one row more")
        listed = await client.get(
            f"/api/v1/audit/events/sensitive?ip=203.0.113.77&correlation_id={last.correlation_id}"
        )
        told = (await client.get(f"/api/v1/audit/trace/{last.correlation_id}")).json()
        figures = (await client.get("/metrics")).text
    assert rows(database_url)[:40] == before
    assert {row[0] for row in before} == {one.id for one in first + second}
    assert {row[2:7] + row[9:10] for row in before} == {
        ("ApiCall", "user:ada", "GET", "/api/v1/orders/{order_id}", "ok", "audit.operations")
    }
    assert "203.0.113.77" not in str(before)
    (item,) = listed.json()["items"]
    assert (item["message_id"], item["channel"]) == (str(last.id), "audit.operations")
    assert item["ip"] == "203.0.113.77"
    assert [step["step"]["kind"] for step in told["steps"]] == ["event"]
    doubled = next(line for line in figures.splitlines() if line.startswith("audit_duplicates_t"))
    assert float(doubled.split()[1]) - known >= 60
    assert verify_chain(database_url).valid


async def test_a_message_of_calls_that_cannot_be_read_is_kept_and_one_of_a_later_version_recorded(
    database_url: str, redis_url: str
) -> None:
    later = json.loads(together([call(1)]).data) | {"version": 2}
    broken = json.loads(together([call(2)]).data)
    broken["payload"]["calls"][0]["id"] = "7"
    bodies = [json.dumps(one).encode() for one in (later, broken)]
    async with serving(build(settings(database_url, redis_url))) as client:
        await ready(client)
        async with redis.Redis.from_url(redis_url) as server:
            for body in bodies:
                await server.xadd(AUDIT_CALLS.stream, {"message": body})
            await eventually(lambda: buried(server), what="a dead letter")
            entry = (await server.xrange(DEAD_LETTERS))[0][1]
        await eventually(lambda: len(unread(database_url)) == 1, what="the later version's row")
    assert entry[b"message"] == bodies[1]
    (row,) = unread(database_url)
    assert "203.0.113.77" not in row[0]
    assert "enc1:" in row[0]


async def buried(server: redis.Redis) -> bool:
    return bool(await server.xlen(DEAD_LETTERS) == 1)


def unread(database_url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT details FROM audit_log WHERE event_type = 'ApiCalls'"
        ).fetchall()


class Dying(AuditStore):
    """A log whose process dies after its first transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.appended: list[int] = []

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """Store once; then nothing more."""
        if self.appended:
            raise UnavailableError("the process died")
        self.appended.append(len(entries))
        return await super().append(entries)


async def test_a_death_between_the_transactions_of_a_batch_loses_and_doubles_nothing(
    database_url: str,
) -> None:
    calls = [call(n) for n in range(ROWS_MAX + 300)]
    deliveries = [
        Delivery(AUDIT_CALLS.stream, f"{at}-0", together(calls[at : at + 250]).data)
        for at in range(0, len(calls), 250)
    ]
    database = Database(database_url, pool_size=1, timeout_s=30, name="test")
    dying = Dying(database)
    with pytest.raises(UnavailableError):
        await Recorder(dying, SystemClock()).record(deliveries)
    assert dying.appended == [ROWS_MAX]
    # Nothing was acknowledged: the next process is given the same again.
    successor = Recorder(AuditStore(database), SystemClock())
    assert await successor.record(deliveries) == []
    await database.close()
    assert [row[0] for row in rows(database_url)] == [one.id for one in calls]
    found = verify_chain(database_url)
    assert (found.valid, found.rows) == (True, len(calls))
