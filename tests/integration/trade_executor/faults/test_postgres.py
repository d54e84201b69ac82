"""PostgreSQL goes away in mid-transaction: before a commit, between a commit and its answer, by an
immediate shutdown, by a power cut."""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import pytest_asyncio

from infra.migrate import migrate
from tests.support.fault_stage import SYMBOLS, Stage, fault_stage
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.servers import ServerProcess, running_postgres
from tests.support.simulator import Simulator
from tests.support.tokens import make_known

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


@pytest.fixture(scope="module")
def own_postgres(server_directory: Path) -> Iterator[ServerProcess]:
    """A PostgreSQL that nobody else needs."""
    directory = Path(tempfile.mkdtemp(dir=server_directory))
    directory.chmod(0o755)
    with running_postgres(directory) as server:
        yield server


@pytest.fixture(scope="module")
def stage_database(own_postgres: ServerProcess) -> str:
    with psycopg.connect(own_postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE stage")
    url = own_postgres.url.rsplit("/", 1)[0] + "/stage"
    migrate(url)
    make_known(url)
    return url


@pytest.fixture(scope="module")
def proxy(own_postgres: ServerProcess) -> Iterator[FaultyProxy]:
    with faulty_proxy(urlsplit(own_postgres.url).port or 0) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stage(
    broker: Simulator, stage_database: str, proxy: FaultyProxy, stage_redis: str
) -> AsyncIterator[Stage]:
    port = urlsplit(stage_database).port
    through = stage_database.replace(f":{port}/", f":{proxy.port}/")
    async with fault_stage(broker, through, stage_redis) as running:
        running.database_url = stage_database
        yield running


@pytest.mark.parametrize("where", ["before the commit", "before its answer"])
@pytest.mark.parametrize("kind", ["create", "move", "book"])
async def test_the_connection_breaks_around_a_commit(
    stage: Stage, proxy: FaultyProxy, kind: str, where: str
) -> None:
    words = f'"kind":"{kind}"'.encode()
    cut = proxy.cut_requests if where == "before the commit" else proxy.cut_answers
    rule = cut(words, count=2)
    orders = [await stage.approve(symbol=symbol, quantity="3") for symbol in SYMBOLS]
    for order in orders:
        await stage.until(order, "filled")
    assert rule.hits, "nothing was cut: the test shows nothing"
    await stage.settled()


@pytest.mark.parametrize("how", ["immediate shutdown", "power cut"])
async def test_restarted_in_mid_transaction(
    stage: Stage, own_postgres: ServerProcess, seed: int, how: str
) -> None:
    rng = random.Random(seed)
    orders = []
    for _ in range(2):
        orders += [
            await stage.approve(symbol=rng.choice(SYMBOLS), quantity=str(rng.randrange(1, 9)))
            for _ in range(6)
        ]
        await asyncio.sleep(rng.random() * 0.1)
        if how == "power cut":
            await asyncio.to_thread(own_postgres.kill)
        else:
            own_postgres.signal(signal.SIGQUIT)
            assert own_postgres.process is not None
            await asyncio.to_thread(own_postgres.process.wait, 20)
        orders += [await stage.approve(symbol=symbol, quantity="2") for symbol in SYMBOLS[:2]]
        await asyncio.to_thread(own_postgres.start)
    for order in orders:
        await stage.until(order, "filled", within_s=60)
    await stage.settled(within_s=60)
