"""Calls of the API on record: all of them, beside the path, and what was lost is said."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import APIRouter, FastAPI

from libs.common.contracts.messages import AuditEvent
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.app import create_app
from libs.common.runtime.clocks import SystemClock, Uuid7Ids
from libs.common.runtime.permissions import requires
from libs.common.runtime.recording import BYTES_MAX, CALLS_MAX, CallRecorder, event_of
from libs.common.runtime.runtime import Runtime
from tests.support.runtimes import eventually, ready, runtime_for, serving
from tests.support.servers import ServerProcess


def app_of(runtime: Runtime) -> FastAPI:
    router = APIRouter()

    @router.get("/things/{name}", dependencies=[requires("market:read")])
    async def thing(name: str) -> dict[str, str]:
        if name == "bug":
            raise RuntimeError("hunter2")
        return {"name": name}

    return create_app(runtime, routers=[router])


def sent(database_url: str) -> list[dict[str, Any]]:
    """Return the messages that tell of calls."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT message FROM outbox WHERE stream IN ('log:audit.operations', 'log:audit.calls')"
            " ORDER BY seq"
        ).fetchall()
    return [json.loads(bytes(row[0])) for row in rows]


def events(database_url: str) -> list[dict[str, Any]]:
    """Return what they tell, each call as a message of its own would."""
    found: list[dict[str, Any]] = []
    for one in sent(database_url):
        calls = one["payload"].get("calls")
        found += [one] if calls is None else [{**call, "payload": call["event"]} for call in calls]
    return found


def calls(database_url: str) -> list[dict[str, Any]]:
    return [one for one in events(database_url) if one["payload"]["action"] == "GET"]


async def test_each_call_is_recorded_once_with_who_what_and_how(
    database_url: str, redis_url: str
) -> None:
    correlation = str(uuid.uuid4())
    async with serving(app_of(runtime_for("portfolio", database_url, redis_url))) as client:
        await ready(client)
        await client.get("/metrics")
        await client.get(
            "/things/7?token=hunter2",
            headers={
                "X-Correlation-ID": correlation,
                "User-Agent": "x" * 1000,
                "X-Forwarded-For": "203.0.113.9",
            },
        )
        stranger = {"X-Correlation-ID": correlation}
        await client.get(
            "/things/8", headers={"Authorization": "Bearer hunter2", **stranger}, auth=None
        )
        await client.get("/things/7?colour=blue")
        await client.get("/nowhere/hunter2")
        await client.get("/things/bug")
        await eventually(lambda: len(calls(database_url)) == 5, what="five calls on record")
    found = calls(database_url)
    payloads = [one["payload"] for one in found]
    assert [(p["resource"], p["details"]["status"], p["outcome"]) for p in payloads] == [
        ("/things/{name}", "422", "refused"),
        ("/things/{name}", "401", "denied"),
        ("/things/{name}", "422", "refused"),
        ("unmatched", "404", "refused"),
        ("/things/{name}", "500", "failed"),
    ]
    assert [p["actor"] for p in payloads] == [
        "service:operator", "anonymous", "service:operator", "service:operator",
        "service:operator",
    ]  # fmt: skip
    assert payloads[1]["event_type"] == "PermissionDenied"
    assert found[0]["correlation_id"] == correlation
    details = payloads[0]["details"]
    assert (details["path"], details["ip"], details["service"]) == (
        "/things/7",
        "127.0.0.1",
        "portfolio",
    )
    assert details["user_agent"] == "x" * 200
    assert float(details["latency_ms"]) > 0
    assert "hunter2" not in json.dumps(found)


async def test_calls_wait_for_the_database_and_the_lost_are_counted(
    pg_server: ServerProcess, database_url: str, redis_url: str
) -> None:
    runtime = runtime_for(
        "portfolio", database_url, redis_url, database_timeout_s=1.0, call_records_max=20
    )
    async with serving(app_of(runtime)) as client:
        await ready(client)
        await client.get("/things/before")
        await eventually(lambda: len(calls(database_url)) == 1, what="a call on record")
        pg_server.stop()
        try:
            for number in range(50):
                answer = await client.get(f"/things/{number}")
                assert answer.status_code == 200
        finally:
            pg_server.start()

        def lost() -> list[str]:
            return [
                one["payload"]["details"]["calls"]
                for one in events(database_url)
                if one["payload"]["event_type"] == "ApiCallsNotRecorded"
            ]

        await eventually(lambda: bool(lost()), within_s=60, what="the loss on record")
        await eventually(
            lambda: len(calls(database_url)) + sum(map(int, lost())) == 51,
            within_s=60,
            what="every call recorded or counted",
        )
    assert len(calls(database_url)) >= 21


async def test_a_batch_whose_outcome_was_unknown_is_stored_once(
    database_url: str, redis_url: str
) -> None:
    runtime = runtime_for("portfolio", database_url, redis_url)
    recorder = CallRecorder(
        service="portfolio",
        database=runtime.database,
        outbox=Dropping(runtime),  # type: ignore[arg-type]
        clock=SystemClock(),
        ids=Uuid7Ids(),
        every_s=1.0,
        calls_max=10,
    )
    recorder.note(scope(), "/things/{name}", 200, 0.001, uuid.uuid4())
    with pytest.raises(UnavailableError):
        await recorder.flush()
    recorder.note(scope(), "/things/{name}", 200, 0.001, uuid.uuid4())
    await recorder.flush()
    assert len(calls(database_url)) == 2
    await runtime.close()


class Dropping:
    """An outbox whose first transaction commits and whose connection then seems to be lost."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._dropped = False
        self.prepare = runtime.outbox.prepare

    async def store(self, tx: Any, messages: Any) -> None:
        if self._dropped:
            await self._runtime.outbox.store(tx, messages)
            return
        self._dropped = True
        async with self._runtime.database.write() as other:
            await self._runtime.outbox.store(other, messages)
        raise UnavailableError("database: gone after the commit")


def scope(**changes: Any) -> dict[str, Any]:
    return {
        "method": "GET", "path": "/things/1", "headers": [], "client": ("127.0.0.1", 1), **changes,
    }  # fmt: skip


class Noted(CallRecorder):
    """Shows the event of the last call noted."""

    def event(self) -> AuditEvent:
        return event_of(self._calls[-1], "portfolio")


def test_what_a_header_says_of_the_address_is_for_the_server_to_believe() -> None:
    # Where the gateway said it, uvicorn has put it into `client` (TRADEWIND_TRUSTED_GATEWAY).
    headers = [(b"x-forwarded-for", b"6.6.6.6")]
    assert noted(client=("10.1.2.3", 1), headers=headers).event().details["ip"] == "10.1.2.3"
    assert "ip" not in noted(client=None, headers=headers).event().details


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (200, "ApiCall", "ok"),
        (401, "PermissionDenied", "denied"),
        (403, "PermissionDenied", "denied"),
        (429, "ApiCall", "refused"),
        (503, "ApiCall", "failed"),
    ],
)
def test_a_denied_permission_has_its_own_type(status: int, kind: str, outcome: str) -> None:
    event = noted(status=status).event()
    assert (event.event_type, event.outcome, event.actor) == (kind, outcome, "anonymous")


def noted(status: int = 200, **changes: Any) -> Noted:
    recorder = Noted(
        service="portfolio", database=None, outbox=None,  # type: ignore[arg-type]
        clock=SystemClock(), ids=Uuid7Ids(), every_s=1.0, calls_max=10,
    )  # fmt: skip
    recorder.note(scope(**changes), "/things/{name}", status, 0.001, uuid.uuid4())
    return recorder


def recorder_of(runtime: Runtime) -> CallRecorder:
    return CallRecorder(
        service="portfolio", database=runtime.database, outbox=runtime.outbox,
        clock=SystemClock(), ids=Uuid7Ids(), every_s=1.0, calls_max=10_000,
    )  # fmt: skip


@pytest.mark.parametrize(("agent", "messages"), [("x", 3), ("\x01" * 200, 6)])
async def test_a_message_is_bounded_by_calls_and_by_bytes(
    database_url: str, redis_url: str, agent: str, messages: int
) -> None:
    runtime = runtime_for("portfolio", database_url, redis_url)
    recorder = recorder_of(runtime)
    headers = [(b"user-agent", agent.encode())]
    ids = [uuid.uuid4() for _ in range(2 * CALLS_MAX + 3)]
    for one in ids:
        recorder.note(scope(headers=headers), "/things/{name}", 200, 0.001, one)
    await recorder.flush()
    packs = [one["payload"]["calls"] for one in sent(database_url)]
    assert len(packs) == messages
    for pack in packs:
        assert len(pack) <= CALLS_MAX
        assert len(json.dumps(pack[:-1], separators=(",", ":"))) < BYTES_MAX + 2 * CALLS_MAX
    assert [uuid.UUID(one["correlation_id"]) for one in calls(database_url)] == ids
    assert len({one["id"] for one in calls(database_url)}) == len(ids)
    await runtime.close()


async def test_what_is_packed_when_a_service_stops_is_stored_by_the_last_flush(
    database_url: str, redis_url: str
) -> None:
    runtime = runtime_for("portfolio", database_url, redis_url)
    recorder = recorder_of(runtime)
    for _ in range(120):
        recorder.note(scope(), "/things/{name}", 200, 0.001, uuid.uuid4())
    packing = asyncio.create_task(recorder.flush())
    await asyncio.sleep(0)  # it gives way to others with a part of them packed
    packing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await packing
    assert calls(database_url) == []
    await recorder.flush()
    assert len(calls(database_url)) == 120
    await runtime.close()


def test_memory_is_bounded() -> None:
    recorder = noted()
    for _ in range(20):
        recorder.note(scope(), "/things/{name}", 200, 0.001, uuid.uuid4())
    assert (len(recorder._calls), recorder._gap.calls) == (10, 11)


async def test_calls_of_a_service_that_stops_are_kept(database_url: str, redis_url: str) -> None:
    async with serving(app_of(runtime_for("portfolio", database_url, redis_url))) as client:
        await ready(client)
        assert isinstance(client, httpx.AsyncClient)
        await client.get("/things/last")
    assert len(calls(database_url)) == 1
