"""Tokens and logins: what a check adds to a request, how long a login takes, who waits for it.

The check is measured in process, on the service's whole frame: the same request to a public route
and to one that demands a permission, in turns. Logins run against a service of its own on a socket,
with the hash of the default settings; beside them somebody asks who they are.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import APIRouter, FastAPI
from fastapi.responses import Response

from benchmarks.results import Measurement, percentiles
from infra.embedded.ports import free_port
from infra.migrate import migrate
from libs.common.runtime.app import create_app, json_response
from libs.common.runtime.app import run as serve
from libs.common.runtime.permissions import PUBLIC, requires
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.settings import ServiceSettings
from services.security.handlers import NAME
from services.security.main import build
from services.security.settings import SecuritySettings
from tests.support import tokens
from tests.support.security_house import AUTH, FIRST, settings_for
from tests.support.servers import running_postgres, running_redis

REQUESTS = 20_000
FRESH = 2_000
LOGINS = 30
CALLERS = 4
"""Who log in again and again while others are asked for."""
ASKED_S = 8.0


def run() -> list[Measurement]:
    """Return the cost of a check, of a login, and of the logins of others."""
    return [*asyncio.run(_checks()), *_logins()]


async def _checks() -> list[Measurement]:
    app = _app()
    open_us, checked_us = await _in_turns(app, ["/open", "/checked"], REQUESTS)
    floor, with_check = percentiles(open_us), percentiles(checked_us)
    fresh = await _first_sights(app)
    return [
        Measurement(
            "token check, added to p99 of a request in process",
            with_check["p99"] - floor["p99"],
            "µs",
            target_value=150.0,
            higher_is_better=False,
            note=f"p50 {with_check['p50'] - floor['p50']:.0f} more; {REQUESTS} requests each",
        ),
        Measurement(
            "request with a checked token, p99",
            with_check["p99"],
            "µs",
            floor=floor["p99"],
            floor_name="the same request without",
            higher_is_better=False,
            note=f"p50 {with_check['p50']:.0f}, p99.9 {with_check['p99.9']:.0f}",
        ),
        Measurement(
            "token seen for the first time, p99",
            fresh["p99"],
            "µs",
            higher_is_better=False,
            note=f"Ed25519 verified: p50 {fresh['p50']:.0f}; {FRESH} tokens",
        ),
    ]


def _app() -> FastAPI:
    runtime = Runtime.of("portfolio", ServiceSettings())
    routes = APIRouter()

    @routes.get("/open", dependencies=[requires(PUBLIC)])
    async def open_to_all() -> Response:
        """Answer anybody."""
        return json_response({"status": "ok"})

    @routes.get("/checked", dependencies=[requires("portfolio:read")])
    async def checked() -> Response:
        """Answer who may."""
        return json_response({"status": "ok"})

    return create_app(replace(runtime, gate=tokens.gate()), routers=[routes])


async def _in_turns(app: FastAPI, paths: list[str], requests: int) -> list[np.ndarray]:
    headers = [
        (name.lower().encode(), value.encode())
        for name, value in tokens.headers_for("viewer").items()
    ]
    took = np.zeros((len(paths), requests))
    for turn in range(-500, requests):
        for place, path in enumerate(paths):
            spent = await _asked(app, path, headers)
            if turn >= 0:
                took[place, turn] = spent * 1e6
    return list(took)


async def _asked(app: FastAPI, path: str, headers: list[tuple[bytes, bytes]]) -> float:
    scope: dict[str, Any] = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "asgi": {"version": "3.0"},
        "app": app,
    }  # fmt: skip
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    begun = time.perf_counter()
    await app(scope, receive, send)
    spent = time.perf_counter() - begun
    assert status == 200, status
    return spent


async def _first_sights(app: FastAPI) -> dict[str, float]:
    gate = app.state.gate
    took = []
    for _ in range(FRESH):
        token = tokens.headers_for("viewer")["Authorization"].removeprefix("Bearer ")
        begun = time.perf_counter()
        await gate.authenticator.identify(token)
        took.append((time.perf_counter() - begun) * 1e6)
    return percentiles(took)


def _logins() -> list[Measurement]:
    with tempfile.TemporaryDirectory(prefix="tradewind-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        with running_postgres(directory) as database, running_redis(directory) as redis:
            migrate(database.url)
            tokens.make_known(database.url)
            with _service(database.url, redis.url) as url:
                return asyncio.run(_measured(url))


@contextmanager
def _service(database_url: str, redis_url: str) -> Iterator[str]:
    shipped = SecuritySettings()
    settings = settings_for(
        database_url,
        redis_url,
        port=free_port(),
        password_time_cost=shipped.password_time_cost,
        password_memory_kib=shipped.password_memory_kib,
        logins_per_minute_user=1_000_000,
        logins_per_minute_address=1_000_000,
        log_level="ERROR",
    )
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(settings,))
    process.start()
    url = f"http://127.0.0.1:{settings.port}"
    try:
        for _ in range(600):
            try:
                if httpx.get(f"{url}/ready").status_code == 200:
                    break
            except httpx.ConnectError:
                pass
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.join(20)


def _serve(settings: SecuritySettings) -> None:
    """Serve as the service's own process does, with these settings."""

    class Given(SecuritySettings):
        def __new__(cls) -> Any:
            return settings

    serve(NAME, Given, build)


async def _measured(url: str) -> list[Measurement]:
    async with httpx.AsyncClient(base_url=url, timeout=60.0, trust_env=False) as client:
        took = [await _login(client) for _ in range(LOGINS)]
        alone = percentiles(await _asking(client))
        ending = asyncio.Event()
        callers = [asyncio.create_task(_again_and_again(client, ending)) for _ in range(CALLERS)]
        beside = percentiles(await _asking(client))
        ending.set()
        done = sum([await caller for caller in callers])
    figures = percentiles(took)
    return [
        Measurement(
            "login, p50",
            figures["p50"],
            "ms",
            target_value=200.0,
            higher_is_better=False,
            note=f"argon2id of the default settings; max {figures['max']:.0f}, n={LOGINS}",
        ),
        Measurement(
            "request while logins run, p99",
            beside["p99"],
            "ms",
            floor=alone["p99"],
            floor_name="the same request, no logins",
            target_value=30.0,
            higher_is_better=False,
            note=f"{CALLERS} callers log in without a pause, {done / ASKED_S:.1f} logins/s; "
            f"p50 {beside['p50']:.1f}, max {beside['max']:.1f}",
        ),
    ]


async def _login(client: httpx.AsyncClient) -> float:
    begun = time.perf_counter()
    body = {"name": "admin", "password": FIRST}
    answer = await client.post(f"{AUTH}/login", json=body)
    assert answer.status_code == 200, answer.text
    return (time.perf_counter() - begun) * 1000


async def _again_and_again(client: httpx.AsyncClient, ending: asyncio.Event) -> int:
    done = 0
    while not ending.is_set():
        await _login(client)
        done += 1
    return done


async def _asking(client: httpx.AsyncClient) -> list[float]:
    took = []
    deadline = time.perf_counter() + ASKED_S
    while time.perf_counter() < deadline:
        begun = time.perf_counter()
        answer = await client.get(f"{AUTH}/me", headers=tokens.operator_headers())
        assert answer.status_code == 200, answer.text
        took.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(0.002)
    return took
