"""Fixtures that every kind of test may use.

TRADEWIND_TEST_SERVERS=containers runs the same tests on the official PostgreSQL and Redis images.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from infra.migrate import migrate
from tests.support.containers import ContainerServer, postgres_container, redis_container
from tests.support.folders import folder_in_memory
from tests.support.lanes import Lanes, in_order
from tests.support.servers import (
    ServerProcess,
    drop_database,
    running_postgres,
    running_redis,
)
from tests.support.tokens import make_known

Server = ServerProcess | ContainerServer
IN_CONTAINERS = os.environ.get("TRADEWIND_TEST_SERVERS") == "containers"
# A busy machine is no bug: properties are about answers, not about how long one example takes.
settings.register_profile(
    "tradewind", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tradewind")
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lanes | None:
    """One lane for what starts the whole system, beside all the rest (`make test`)."""
    return Lanes(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first."""
    in_order(items)


@pytest.fixture
def seed() -> int:
    """A fresh seed, printed so that a failure shows it; TRADEWIND_TEST_SEED replays one."""
    given = os.environ.get("TRADEWIND_TEST_SEED")
    chosen = int(given) if given else random.SystemRandom().randrange(10**9)
    print(f"TRADEWIND_TEST_SEED={chosen}")
    return chosen


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """A folder that PostgreSQL's account can reach, in memory where there is enough of it."""
    directory = Path(tempfile.mkdtemp(prefix="tradewind-test-", dir=folder_in_memory()))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def pg_server(server_directory: Path) -> Iterator[Server]:
    """One PostgreSQL for the whole run; its `url` is the superuser's."""
    running: AbstractContextManager[Server] = (
        postgres_container() if IN_CONTAINERS else running_postgres(server_directory)
    )
    with running as server:
        yield server


@pytest.fixture(scope="session")
def _template(pg_server: Server) -> str:
    """A migrated database that others are copied from."""
    name = "tradewind_template"
    with psycopg.connect(pg_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    migrate(_database(pg_server.url, name))
    make_known(_database(pg_server.url, name))
    return name


@pytest.fixture
def database_url(pg_server: Server, _template: str) -> Iterator[str]:
    """A fresh migrated database, as its owner (superuser) sees it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(pg_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_template}")
    yield _database(pg_server.url, name)
    drop_database(pg_server.url, name)


@pytest.fixture(scope="session")
def redis_server(server_directory: Path) -> Iterator[Server]:
    """One Redis-protocol server for the whole run."""
    running: AbstractContextManager[Server] = (
        redis_container() if IN_CONTAINERS else running_redis(server_directory)
    )
    with running as server:
        yield server


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data; skips where it is not there."""
    if not (SHARED_DATA / "minute_trades.parquet").exists():
        pytest.skip("the real market data folder (../shared/data) is not here")
    return SHARED_DATA


def _database(url: str, name: str) -> str:
    return url.rsplit("/", 1)[0] + f"/{name}"
