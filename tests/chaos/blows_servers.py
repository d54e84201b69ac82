"""Blows at the servers and the venue from inside: connections, memory, disk, switches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial

import httpx
import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.embedded.credentials import Credentials
from infra.embedded.home import Home
from tests.chaos.plan import Fault
from tests.chaos.stage import MissedError, Stage, patiently
from tests.support.tie_out import database_url

CONNECT_S_MAX = 3
OFF_S_MAX = 60.0


@contextmanager
def pg_terminate(stage: Stage, fault: Fault) -> Iterator[str]:
    """End a service's database connections from the server's side."""
    try:
        with psycopg.connect(
            database_url(stage.system), connect_timeout=CONNECT_S_MAX, autocommit=True
        ) as connection:
            rows = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = %s",
                (fault.target,),
            ).fetchall()
    except (psycopg.Error, KeyError) as error:
        raise MissedError(f"PostgreSQL is away: {error}") from error
    yield f"ended {len(rows)} connections"


def _redis(stage: Stage) -> redis.Redis:
    state = stage.system.state()
    try:
        port = state["ports"]["redis"]
        password = Credentials(Home(stage.system.home, state["books"])).secret("redis")
    except KeyError as error:
        raise MissedError("the system is not up") from error
    return redis.Redis(
        port=port, password=password, socket_timeout=CONNECT_S_MAX, retry=Retry(NoBackoff(), 0)
    )


@contextmanager
def redis_flush(stage: Stage, fault: Fault) -> Iterator[str]:
    """Forget everything that Redis knows."""
    try:
        with _redis(stage) as client:
            keys = client.dbsize()
            client.flushall()
    except redis.RedisError as error:
        raise MissedError(f"Redis is away: {error}") from error
    yield f"{keys} keys forgotten"


@contextmanager
def redis_clients(stage: Stage, fault: Fault) -> Iterator[str]:
    """Cut every client of Redis, readers and publishers."""
    try:
        with _redis(stage) as client:
            cut = client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            cut += client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    except redis.RedisError as error:
        raise MissedError(f"Redis is away: {error}") from error
    yield f"{cut} connections cut"


@contextmanager
def redis_shutdown(stage: Stage, fault: Fault) -> Iterator[str]:
    """Let Redis end in good order; the supervisor brings an empty one."""
    try:
        with _redis(stage) as client, suppress(redis.ConnectionError):
            client.shutdown(nosave=True)
    except redis.RedisError as error:
        raise MissedError(f"Redis is away: {error}") from error
    yield "shut down"


@contextmanager
def disk_full(stage: Stage, fault: Fault) -> Iterator[str]:
    """Fill the disk of the books to the last byte, and free it."""
    assert stage.disk is not None
    try:
        stage.disk.fill()
        yield "not one byte left"
    finally:
        stage.disk.free()


@contextmanager
def venue(stage: Stage, fault: Fault) -> Iterator[str]:
    """Switch a fault of the simulator's on, by the name behind `venue_`."""
    kind = fault.kind.removeprefix("venue_")
    body: dict[str, object]
    if kind == "disconnect":
        body = {"disconnect": ["trading", "data"]}
    elif kind == "refuse":
        body = {"refuse_s": fault.lasts_s}
    else:
        body = {"faults": [_switch(kind, fault)]}
    try:
        answer = stage.system.request(
            "POST", "/sim/faults", "broker_simulator", json=body, timeout=5
        )
    except (httpx.HTTPError, KeyError) as error:
        raise MissedError(f"the simulator is away: {error}") from error
    assert answer.status_code == 201, answer.text
    numbers = [item["id"] for item in answer.json()["items"]]
    try:
        yield "switched on"
    finally:
        for number in numbers:
            patiently(partial(_switched_off, stage, number), OFF_S_MAX)


def _switched_off(stage: Stage, number: int) -> bool | None:
    """Take a switch back; None while the simulator is away. One that was restarted has forgotten
    its switches, which is as good."""
    try:
        path = f"/sim/faults/{number}"
        return stage.system.request("DELETE", path, "broker_simulator").is_success or None
    except (httpx.HTTPError, KeyError):
        return None


def _switch(kind: str, fault: Fault) -> dict[str, object]:
    switch: dict[str, object] = {"kind": kind, "probability": fault.size or 1.0}
    if kind in {"lost_answer", "error_after", "error_before", "garbled_answer", "drop_request"}:
        switch["path"] = "/v2/*"
    if kind in {"latency", "delay", "reorder"}:
        switch |= {"seconds": 0.1, "seconds_max": 3.0}
    if kind in {"duplicate", "reorder", "delay", "missing", "mute"}:
        switch["stream"] = "trading"
    return switch


BLOWS: dict[str, Callable[[Stage, Fault], AbstractContextManager[str]]] = {
    "pg_terminate": pg_terminate,
    "redis_flush": redis_flush,
    "redis_clients": redis_clients,
    "redis_shutdown": redis_shutdown,
    "disk_full": disk_full,
}
