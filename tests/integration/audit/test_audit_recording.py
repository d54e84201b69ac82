"""Audit on real servers: everything recorded once, nothing lost, nothing changed unseen."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import uuid
from collections.abc import Sequence
from typing import Any

import httpx
import psycopg
import pytest
import redis.asyncio as redis
from fastapi import FastAPI

from libs.common.contracts.channels import AUDIT_EVENTS, DEAD_LETTERS, LOG_CHANNELS
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import AuditEvent
from libs.common.runtime.bus import FIELD, Bus, LogMessage
from libs.common.runtime.database import Database
from services.audit.adapters.chain_scan import verify_chain
from services.audit.entries import entry_of
from services.audit.main import build
from services.audit.settings import AuditSettings
from services.audit.store import AuditStore
from services.audit.verify import main as verify_command
from tests.support.runtimes import eventually, ready, serving
from tests.support.servers import ServerProcess
from tests.support.story import MadeUpStory

pytestmark = pytest.mark.slow

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)


def settings(database_url: str, redis_url: str, **changes: Any) -> AuditSettings:
    return AuditSettings.model_validate(
        {
            "database_url": database_url,
            "redis_url": redis_url,
            "outbox_sweep_s": 0.1,
            "claim_idle_s": 1.0,
            "audit_block_ms": 50,
            "audit_lag_s": 0.1,
            **changes,
        }
    )


def service(database_url: str, redis_url: str, **changes: Any) -> FastAPI:
    return build(settings(database_url, redis_url, **changes))


def event(number: int, channel: str = "log:audit.events") -> LogMessage:
    payload = AuditEvent(
        event_type="test", actor="ann", action="click", resource=f"button:{number}",
        outcome="done", ts=NOW, details={"n": str(number), "odd": 'tab\t "quote" \\ ü \n'},
    )  # fmt: skip
    envelope = seal(
        payload,
        message_id=uuid.uuid4(),
        ts_ns=1_700_000_000_000_000_000 + number,
        source="test",
        correlation_id=uuid.uuid4(),
    )
    return LogMessage(envelope.id, AUDIT_EVENTS.name(), channel, encode(envelope))


async def send(redis_url: str, messages: Sequence[LogMessage]) -> None:
    bus = Bus(redis_url, timeout_s=5, name="test")
    await bus.append(messages)
    await bus.close()


# What the service says of itself: its calls, starts, jobs.
OWN = "('ApiCall', 'JobRun', 'ServiceStarted', 'ServiceStopped')"
OTHERS = f"SELECT count(*) FROM audit_log WHERE event_type NOT IN {OWN}"


def whole(database_url: str) -> int:
    """Return how many rows others caused, in a chain that is whole."""
    assert verify_chain(database_url).valid
    return count(database_url)


def count(database_url: str, query: str = OTHERS) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


async def recorded(database_url: str, rows: int) -> None:
    await eventually(lambda: count(database_url) >= rows, what=f"{rows} rows recorded")


async def test_every_log_channel_is_recorded_in_one_chain(
    database_url: str, redis_url: str
) -> None:
    messages = [event(n, channel.stream) for n, channel in enumerate(LOG_CHANNELS)]
    async with serving(service(database_url, redis_url)) as client:
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
    async with serving(service(database_url, redis_url)) as client:
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
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, [event(0)])
        await recorded(database_url, 1)
    await send(redis_url, [event(n) for n in range(1, 1200)])
    async with serving(service(database_url, redis_url)) as client:
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
    async with serving(service(database_url, redis_url)):
        await recorded(database_url, 3)
    assert whole(database_url) == 3


async def test_garbage_goes_to_the_dead_letters_and_the_rest_is_recorded(
    database_url: str, redis_url: str
) -> None:
    async with redis.Redis.from_url(redis_url) as client:
        await client.xadd("log:signals", {FIELD: b"{not json"})
        await send(redis_url, [event(1, "log:signals")])
        async with serving(service(database_url, redis_url)):
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
        async with serving(service(database_url, redis_url)):
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
        async with serving(service(database_url, redis_url)):
            await recorded(database_url, 2)
        assert not await dead(client)
    cut = f"SELECT count(*) FROM audit_log WHERE resource LIKE '{name[:100]}%'"
    assert count(database_url, f"{cut} AND details LIKE '%{name[-100:]}%'") == 1


async def test_a_database_that_refuses_delays_the_record_and_loses_nothing(
    pg_server: ServerProcess, database_url: str, redis_url: str
) -> None:
    own_url = as_audit(database_url)
    async with serving(service(own_url, redis_url)) as client:
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
    async with serving(service(database_url, redis_url, claim_idle_s=600)) as client:
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
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        async with redis.Redis.from_url(redis_url) as server:
            await server.flushall()
        await send(redis_url, [event(1)])
        await recorded(database_url, 1)


async def test_database_away_delays_the_record_and_loses_nothing(
    pg_server: ServerProcess, database_url: str, redis_url: str
) -> None:
    async with serving(service(database_url, redis_url, database_timeout_s=2.0)) as client:
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


def as_audit(database_url: str) -> str:
    """Return the URL with which the service's own role logs in."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("ALTER ROLE audit LOGIN PASSWORD 'audit-test'")
    url = database_url.replace("postgres:test-only@", "audit:audit-test@")
    assert url != database_url
    return url


async def test_the_services_own_role_can_append_and_nothing_else(
    pg_server: ServerProcess, database_url: str
) -> None:
    url = as_audit(database_url)
    store = AuditStore(Database(url, pool_size=1, timeout_s=5, name="audit"))
    await store.append([entry_of(event(1).data, "audit.events", NOW)])
    assert verify_chain(url).rows == 1
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE audit_log SET outcome = 'x'")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_log SET outcome = 'other' WHERE seq = 3",
        "DELETE FROM audit_log WHERE seq = 3",
        "TRUNCATE audit_log",
        "TRUNCATE audit_checkpoints CASCADE",
    ],
)
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_even_a_superuser_is_refused_a_change(
    database_url: str, change: str, role: str
) -> None:
    await fill(database_url, 5)
    with psycopg.connect(database_url) as connection:
        connection.execute(f"SET session_replication_role = {role}")  # type: ignore[arg-type]
        with pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute(change)  # type: ignore[arg-type]
    assert whole(database_url) == 5


async def fill(database_url: str, rows: int) -> None:
    store = AuditStore(Database(database_url, pool_size=1, timeout_s=5, name="test"))
    await store.append([entry_of(event(n).data, "audit.events", NOW) for n in range(rows)])


def tamper(database_url: str, change: str) -> None:
    """As a superuser who switches the triggers off."""
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE audit_log DISABLE TRIGGER ALL")
        connection.execute(change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "seq", "code"),
    [
        ("UPDATE audit_log SET outcome = 'refused' WHERE seq = 3", 3, "HASH_MISMATCH"),
        ("UPDATE audit_log SET details = '{}' WHERE seq = 4", 4, "HASH_MISMATCH"),
        ("UPDATE audit_log SET ip = '' WHERE seq = 2", 2, "HASH_MISMATCH"),
        ("UPDATE audit_log SET ts = ts + interval '1 us' WHERE seq = 5", 5, "HASH_MISMATCH"),
        ("UPDATE audit_log SET hash = sha256('x') WHERE seq = 3", 3, "HASH_MISMATCH"),
        ("DELETE FROM audit_log WHERE seq = 3", 4, "SEQ_GAP"),
        ("DELETE FROM audit_log WHERE seq = 1", 2, "SEQ_GAP"),
        ("UPDATE audit_log SET seq = 30 WHERE seq = 3", 4, "SEQ_GAP"),
    ],
)
async def test_tampering_is_found_at_its_row(
    database_url: str,
    redis_url: str,
    change: str,
    seq: int,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await fill(database_url, 6)
    tamper(database_url, change)
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        verdict = (await client.get("/api/v1/audit/verify")).json()
        await eventually(
            lambda: (
                count(
                    database_url, "SELECT count(*) FROM outbox WHERE stream = 'log:notifications'"
                )
                == 1
            ),
            what="an alarm",
        )
    assert verdict["valid"] is False
    assert (verdict["broken"]["seq"], verdict["broken"]["code"]) == (seq, code)
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", database_url)
    assert await asyncio.to_thread(verify_command, []) == 1
    assert f"row {seq}: {code}" in capsys.readouterr().err


async def test_a_chain_cut_off_at_its_end_is_noticed_by_its_writer(
    database_url: str, redis_url: str
) -> None:
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, [event(n) for n in range(4)])
        await recorded(database_url, 4)
        tamper(database_url, "DELETE FROM audit_log WHERE seq >= 4")
        # Though the writer goes on where the end is now.
        await send(redis_url, [event(9)])
        await recorded(database_url, 4)
        await eventually(
            lambda: (
                count(
                    database_url, "SELECT count(*) FROM outbox WHERE stream = 'log:notifications'"
                )
                == 1
            ),
            what="an alarm",
        )


async def test_verify_command_says_valid_and_unreachable(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(database_url, 3)
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", database_url)
    assert await asyncio.to_thread(verify_command, []) == 0
    assert "3 rows" in capsys.readouterr().err
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", "postgresql://x@127.0.0.1:9/none")
    assert await asyncio.to_thread(verify_command, ["--first", "2"]) == 2


async def test_a_part_of_the_chain_can_be_verified(database_url: str, redis_url: str) -> None:
    await fill(database_url, 10)
    tamper(database_url, "UPDATE audit_log SET actor = 'eve' WHERE seq = 2")
    async with serving(service(database_url, redis_url)) as client:
        part = await client.get("/api/v1/audit/verify?first_seq=3&last_seq=7")
    assert (part.json()["valid"], part.json()["rows"], part.json()["broken"]) == (True, 5, None)


async def test_events_are_filtered_and_paged(database_url: str, redis_url: str) -> None:
    story = MadeUpStory()
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, [*story.messages, *(event(n) for n in range(5))])
        await recorded(database_url, len(story.messages) + 5)
        first = (await client.get("/api/v1/audit/events?actor=ann&limit=3")).json()
        rest = (
            await client.get(f"/api/v1/audit/events?actor=ann&limit=3&after={first['next']}")
        ).json()
        of_story = (
            await client.get(f"/api/v1/audit/events?correlation_id={story.correlation_id}")
        ).json()
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (3, 2, None)
    seqs = [item["seq"] for item in first["items"] + rest["items"]]
    assert seqs == sorted(seqs, reverse=True)
    assert len(of_story["items"]) == len(story.messages)
    assert json.loads(json.dumps(first["items"][0]["details"]))["payload"]["actor"] == "ann"


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/api/v1/audit/events?limit=0", 422, "limit"),
        ("/api/v1/audit/events?limit=x", 422, "limit"),
        ("/api/v1/audit/events?after=-1", 422, "after"),
        ("/api/v1/audit/events?colour=blue", 422, "colour"),
        ("/api/v1/audit/events?since=yesterday", 422, "since"),
        ("/api/v1/audit/events?since=2026-11-20T00:00:00", 422, "since"),
        ("/api/v1/audit/events?correlation_id=1", 422, "correlation_id"),
        ("/api/v1/audit/verify?first_seq=0", 422, "first_seq"),
        ("/api/v1/audit/verify?last_seq=99999999999999999999", 422, "last_seq"),
        ("/api/v1/audit/trace/nonsense", 422, "story_id"),
        ("/api/v1/audit/trace/01a1fd39-0000-7000-8000-00000000dead", 404, "nothing is known"),
    ],
)
async def test_bad_requests_name_what_is_wrong(
    database_url: str, redis_url: str, path: str, status: int, word: str
) -> None:
    async with serving(service(database_url, redis_url)) as client:
        response = await client.get(path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert word in response.text


async def test_trace_tells_the_whole_story_from_any_of_its_ids(
    database_url: str, redis_url: str
) -> None:
    story = MadeUpStory()
    story.store(database_url)
    other = MadeUpStory()
    ids = [
        story.correlation_id,
        story.signal_id,
        story.assessment_id,
        story.order_id,
        story.trade_id,
        story.messages[0].id,
        story.messages[-1].id,
    ]
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        before = (await client.get(f"/api/v1/audit/trace/{story.order_id}")).json()
        await send(redis_url, [*story.messages, *other.messages])
        await recorded(database_url, len(story.messages) * 2)
        told = [(await client.get(f"/api/v1/audit/trace/{one}")).json() for one in ids]
    kinds = [timed["step"]["kind"] for timed in told[0]["steps"]]
    assert kinds == [
        "bar", "signal", "judgement", "approval", "order_event", "ledger", "order_event",
        "order_event", "order_event", "trade", "ledger", "ledger",
    ]  # fmt: skip
    assert all(one["steps"] == told[0]["steps"] for one in told)
    gaps = [timed["since_previous_ms"] for timed in told[0]["steps"]]
    assert gaps == [None, 0.0, 10.0, 0.0, 10.0, 0.0, 10.0, 10.0, 10.0, 0.0, 0.0, 0.0]
    assert told[0]["duration_ms"] == 50.0
    assert told[0]["unrecorded"] == 0
    judgement = told[0]["steps"][2]["step"]
    assert judgement["details"]["checks"][0]["code"] == "PRICE_STALE"
    assert told[0]["steps"][0]["step"]["ts"] is None
    # Before audit has read the streams the tables tell the story, and say that they do.
    assert before["unrecorded"] == 7
    assert [timed["step"]["kind"] for timed in before["steps"]] == [
        k for k in kinds if k != "approval"
    ]
