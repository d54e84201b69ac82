"""A service's surroundings on the test servers, and an app that runs without a socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from libs.common.runtime.runtime import Runtime
from libs.common.runtime.settings import ServiceSettings
from tests.support.tokens import AS_OPERATOR


def runtime_for(name: str, database_url: str, redis_url: str, **settings: object) -> Runtime:
    """Return the Runtime of service `name` on the given servers, quick to notice things."""
    values: dict[str, object] = {
        "database_url": database_url,
        "redis_url": redis_url,
        "outbox_sweep_s": 0.1,
        "heartbeat_s": 0.5,
        "claim_idle_s": 1.0,
        **settings,
    }
    return Runtime.of(name, ServiceSettings.model_validate(values))


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Run the app's lifespan; yield a client that calls it in-process."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://service", auth=AS_OPERATOR
        ) as client:
            yield client


async def eventually(
    check: Callable[[], Awaitable[bool] | bool], *, within_s: float = 60.0, what: str = "condition"
) -> None:
    """Wait until `check` is true; fail naming `what` after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        answer = check()
        if answer if isinstance(answer, bool) else await answer:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within_s} s")
        await asyncio.sleep(0.02)


async def ready(client: httpx.AsyncClient, *, within_s: float = 60.0) -> None:
    """Wait until `/ready` is 200; fail with its last reasons."""
    deadline = time.monotonic() + within_s
    while True:
        response = await client.get("/ready")
        if response.status_code == 200:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not ready within {within_s} s: {response.text}")
        await asyncio.sleep(0.05)
