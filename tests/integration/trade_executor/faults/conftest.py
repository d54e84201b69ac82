"""One broker, one database and one executor for each file of the fault matrix: the check at the
end of a test sees what the tests before it left as well."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import pytest_asyncio
import redis

from tests.support.fault_stage import Stage, fault_stage, stage_simulator
from tests.support.servers import ServerProcess, drop_database
from tests.support.simulator import Simulator


@pytest.fixture(scope="module")
def stage_database(pg_server: ServerProcess, _template: str) -> Iterator[str]:
    """A fresh migrated database."""
    name = f"stage_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(pg_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_template}")
    yield pg_server.url.rsplit("/", 1)[0] + f"/{name}"
    drop_database(pg_server.url, name)


@pytest.fixture(scope="module")
def stage_redis(redis_server: ServerProcess) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="module")
def broker() -> Iterator[Simulator]:
    with stage_simulator() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stage(
    broker: Simulator, stage_database: str, stage_redis: str
) -> AsyncIterator[Stage]:
    async with fault_stage(broker, stage_database, stage_redis) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def stage(shared_stage: Stage) -> AsyncIterator[Stage]:
    yield shared_stage
    await shared_stage.recover()
