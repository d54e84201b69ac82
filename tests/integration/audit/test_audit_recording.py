"""Audit on real servers: everything recorded once, nothing lost."""

from __future__ import annotations

import asyncio
import random

import httpx
import psycopg
import pytest
import redis.asyncio as redis

from libs.common.contracts.channels import DEAD_LETTERS, LOG_CHANNELS
from libs.common.runtime.bus import FIELD
from libs.common.runtime.database import Database
from services.audit.adapters.chain_scan import verify_chain
from services.audit.entries import entry_of
from services.audit.store import AuditStore
from tests.support.audit_service import (
    NOW,
    as_audit,
    audit_service,
    count,
    event,
    recorded,
    send,
    whole,
)
from tests.support.runtimes import eventually, ready, serving
from tests.support.servers import ServerProcess

pytestmark = pytest.mark.slow


async def test_every_log_channel_is_recorded_in_one_chain(
    database_url: str, redis_url: str
) -> None:
    messages = [event(n, channel.stream) for n, channel in enumerate(LOG_CHANNELS)]
    async with serving(audit_service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, messages)
        await recorded(database_url, len(LOG_CHANNELS))
        listed = (await client.get("/api/v1/audit/events")).json()
        verdict = (await client.get("/api/v1/audit/verify")).json()
    assert {item["channel"] for item in listed["items"]} == {c.topic for c in LOG_CHANNELS}
    assert listed["next"] is None
    assert (verdict["valid"], verdict["broken"]) == (True, None)
    assert verdict["head"]["seq"] == verdict["rows"] >= len(messages)


async def test_the_same_message_twice_is_one_row(database_url: str, redis_url: str) -> None:
    messages = [event(n) for n in range(5)]
    async with serving(audit_service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, messages)
        await recorded(database_url, 5)
        await send(redis_url, [*messages, event(9)])
        await recorded(database_url, 6)
        metrics = (await client.get("/metrics")).text
    assert count(database_url) == 6
    assert "audit_duplicates_total" in metrics
    assert verify_chain(database_url).valid


async def test_backlog_is_read_when_audit_comes_back(database_url: str, redis_url: str) -> None:
    async with serving(audit_service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, [event(0)])
        await recorded(database_url, 1)
    await send(redis_url, [event(n) for n in range(1, 1200)])
    async with serving(audit_service(database_url, redis_url)) as client:
        await recorded(database_url, 1200)
        await eventually(lambda: idle(client), what="a backlog of none in the metrics")
    assert whole(database_url) == 1200


async def idle(client: httpx.AsyncClient) -> bool:
    text = (await client.get("/metrics")).text
    return 'audit_backlog_messages{stream="log:audit.events"} 0.0' in text


@pytest.mark.parametrize("holder", ["0", "another"])
async def test_what_a_dead_consumer_had_been_given_is_recorded(
    database_url: str, redis_url: str, holder: str
) -> None:
    await send(redis_url, [event(n) for n in range(3)])
    async with redis.Redis.from_url(redis_url) as client:
        await client.xgroup_create("log:audit.events", "audit", id="0", mkstream=True)
        taken = await client.xreadgroup("audit", holder, {"log:audit.events": ">"})
        assert taken
    async with serving(audit_service(database_url, redis_url)):
        await recorded(database_url, 3)
    assert whole(database_url) == 3


async def test_garbage_goes_to_the_dead_letters_and_the_rest_is_recorded(
    database_url: str, redis_url: str
) -> None:
    async with redis.Redis.from_url(redis_url) as client:
        await client.xadd("log:signals", {FIELD: b"{not json"})
        await send(redis_url, [event(1, "log:signals")])
        async with serving(audit_service(database_url, redis_url)):
            await recorded(database_url, 1)
            await eventually(lambda: dead(client), what="a dead letter")
        entry = (await client.xrange(DEAD_LETTERS))[0][1]
        pending = await client.xpending("log:signals", "audit")
    assert entry[b"stream"] == b"log:signals"
    assert entry[b"message"] == b"{not json"
    assert pending["pending"] == 0


async def test_poison_that_breaks_the_recording_does_not_hold_up_the_others(
    database_url: str, redis_url: str
) -> None:
    deep = b"[" * 5000 + b"]" * 5000
    poison = event(1).data.replace(b'"details":{', b'"deep":' + deep + b',"details":{')
    lone = event(2).data.replace(b'"resource":"button', b'"resource":"\\ud800')
    async with redis.Redis.from_url(redis_url) as client:
        for data in (poison, lone):
            await client.xadd("log:audit.events", {FIELD: data})
        await send(redis_url, [event(n) for n in range(3, 8)])
        async with serving(audit_service(database_url, redis_url)):
            await recorded(database_url, 5)
            await eventually(lambda: dead(client), what="a dead letter")
            await eventually(lambda: acknowledged(client), what="nothing pending")
    assert verify_chain(database_url).valid


async def test_an_overlong_name_is_cut_and_does_not_hold_up_the_others(
    database_url: str, redis_url: str
) -> None:
    # Longer than an index can hold, and nothing that compresses.
    name = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=30_000))
    long = event(1).data.replace(b'"resource":"button', b'"resource":"' + name.encode())
    async with redis.Redis.from_url(redis_url) as client:
        await client.xadd("log:audit.events", {FIELD: long})
        await send(redis_url, [event(2)])
        async with serving(audit_service(database_url, redis_url)):
            await recorded(database_url, 2)
        assert not await dead(client)
    cut = f"SELECT count(*) FROM audit_log WHERE resource LIKE '{name[:100]}%'"
    assert count(database_url, f"{cut} AND details LIKE '%{name[-100:]}%'") == 1


async def test_a_database_that_refuses_delays_the_record_and_loses_nothing(
    pg_server: ServerProcess, database_url: str, redis_url: str
) -> None:
    own_url = as_audit(database_url)
    async with serving(audit_service(own_url, redis_url)) as client:
        await ready(client)
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute("REVOKE INSERT ON audit_log FROM audit")
        await send(redis_url, [event(n) for n in range(20)])
        await eventually(lambda: unready(client), what="not ready")
        reasons = (await client.get("/ready")).json()["reasons"]
        with psycopg.connect(database_url, autocommit=True) as owner:
            owner.execute("GRANT INSERT ON audit_log TO audit")
        await recorded(database_url, 20)
        await ready(client)
    async with redis.Redis.from_url(redis_url) as server:
        assert not await dead(server)
    assert "permission denied" in reasons["log"]
    assert whole(database_url) == 20


async def test_what_the_server_gives_to_a_connection_that_was_given_up_is_recorded(
    database_url: str, redis_url: str
) -> None:
    async with serving(audit_service(database_url, redis_url, claim_idle_s=600)) as client:
        await ready(client)
        await send(redis_url, [event(1)])
        await recorded(database_url, 1)
        # In one step, so that the service's own reading cannot come in between: the server
        # carries out the question of a connection that nobody listens to any more.
        async with redis.Redis.from_url(redis_url) as server:
            pipe = server.pipeline(transaction=True)
            for number in range(2, 7):
                pipe.xadd("log:audit.events", {FIELD: event(number).data})
            pipe.xreadgroup("audit", "0", {"log:audit.events": ">"})
            taken = (await pipe.execute())[-1]
        assert taken
        await recorded(database_url, 6)
    assert whole(database_url) == 6


async def dead(client: redis.Redis) -> bool:
    return bool(await client.xlen(DEAD_LETTERS))


async def acknowledged(client: redis.Redis) -> bool:
    return bool((await client.xpending("log:audit.events", "audit"))["pending"] == 0)


async def test_flushed_redis_is_followed_anew(database_url: str, redis_url: str) -> None:
    async with serving(audit_service(database_url, redis_url)) as client:
        await ready(client)
        async with redis.Redis.from_url(redis_url) as server:
            await server.flushall()
        await send(redis_url, [event(1)])
        await recorded(database_url, 1)


async def test_database_away_delays_the_record_and_loses_nothing(
    pg_server: ServerProcess, database_url: str, redis_url: str
) -> None:
    async with serving(audit_service(database_url, redis_url, database_timeout_s=2.0)) as client:
        await ready(client)
        pg_server.stop()
        try:
            await send(redis_url, [event(n) for n in range(20)])
            await eventually(lambda: unready(client), what="not ready")
        finally:
            pg_server.start()
        await recorded(database_url, 20)
        await ready(client)
    assert whole(database_url) == 20


async def unready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/ready")).status_code == 503


async def test_writers_side_by_side_leave_no_gap(database_url: str) -> None:
    stores = [
        AuditStore(Database(database_url, pool_size=2, timeout_s=10, name=f"w{n}"))
        for n in range(3)
    ]
    shared = [entry_of(event(n).data, "audit.events", NOW) for n in range(40)]

    async def write(store: AuditStore, start: int) -> None:
        for at in range(0, 40, 5):
            own = [entry_of(event(100 + start + at).data, "audit.events", NOW)]
            await store.append(shared[at : at + 5] + own)

    await asyncio.gather(*(write(store, n * 1000) for n, store in enumerate(stores)))
    found = verify_chain(database_url)
    assert (found.valid, found.rows) == (True, 40 + 3 * 8)
