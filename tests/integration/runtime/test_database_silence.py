"""A database that neither answers nor refuses: a time-out bites, and the pool comes back."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.database import Database
from libs.common.runtime.heartbeat import watch_database
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.settings import ServiceSettings
from tests.support.runtimes import eventually
from tests.support.servers import ServerProcess, running_postgres

TIMEOUT_S = 0.5


@pytest.fixture(scope="module")
def own_postgres(server_directory: Path) -> Iterator[ServerProcess]:
    with running_postgres(server_directory / "silent") as server:
        yield server


@contextmanager
def stopped(server: ServerProcess) -> Iterator[None]:
    """Stop every process of the server, so that only the kernel acknowledges for it."""
    assert server.process is not None
    main = psutil.Process(server.process.pid)
    processes = [main, *main.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


async def test_a_silent_server_ends_in_a_named_failure_and_comes_back(
    own_postgres: ServerProcess,
) -> None:
    database = Database(own_postgres.url, pool_size=2, timeout_s=TIMEOUT_S, name="test")
    await database.ping()
    with stopped(own_postgres):
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="database: no answer for 2 s"):
            await database.ping()
        assert time.monotonic() - started < 4
        with pytest.raises(UnavailableError, match="database: "):
            await database.ping()
    await database.ping()
    await database.close()


async def test_a_statement_that_takes_too_long_is_unavailable(own_postgres: ServerProcess) -> None:
    database = Database(own_postgres.url, pool_size=1, timeout_s=TIMEOUT_S, name="test")
    with pytest.raises(UnavailableError, match="statement timeout"):
        async with database.write() as tx:
            await tx.execute(text("SELECT pg_sleep(10)"))
    await database.ping()
    await database.close()


async def test_an_idle_service_notices_the_silence_and_its_end(own_postgres: ServerProcess) -> None:
    settings = ServiceSettings.model_validate(
        {
            "database_url": own_postgres.url,
            "database_timeout_s": TIMEOUT_S,
            "heartbeat_s": 0.1,
        }
    )
    runtime = Runtime.of("test", settings)
    runtime.readiness.clear("start")
    watch = asyncio.create_task(watch_database(runtime))
    try:
        await asyncio.sleep(0.5)
        await eventually(lambda: runtime.readiness.ready, what="an answer")
        with stopped(own_postgres):
            await eventually(
                lambda: "no answer for 0.5 s" in runtime.readiness.reasons.get("database", ""),
                what="the silence to be noticed",
            )
        await eventually(lambda: runtime.readiness.ready, what="an answer again")
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await runtime.close()
