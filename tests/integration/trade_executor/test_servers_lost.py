"""PostgreSQL killed and Redis flushed while the executor trades: it waits, and goes on."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from infra.migrate import migrate
from tests.support.executor_orders import approval, spec
from tests.support.executor_world import executor_world
from tests.support.servers import ServerProcess, running_postgres
from tests.support.simulator import Simulator, start_simulator

SYMBOLS = ("AAPL", "KO", "MSFT")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        for symbol in SYMBOLS:
            running.quote(symbol, "100.00", "100.02")
        yield running


@pytest.fixture
def own_postgres(server_directory: Path) -> Iterator[tuple[ServerProcess, str]]:
    """A PostgreSQL that nobody else needs, and the URL of a migrated database on it."""
    directory = Path(tempfile.mkdtemp(dir=server_directory))
    directory.chmod(0o755)
    with running_postgres(directory) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE lost")
        url = server.url.rsplit("/", 1)[0] + "/lost"
        migrate(url)
        yield server, url


async def test_a_killed_database_is_waited_for(
    simulator: Simulator, own_postgres: tuple[ServerProcess, str], redis_url: str
) -> None:
    server, url = own_postgres
    async with executor_world(simulator, url, redis_url) as world:
        before = [approval(spec("buy", "3", symbol=one), generation=1) for one in SYMBOLS]
        await world.send(*before)
        server.kill()
        during = [approval(spec("buy", "2", symbol=one), generation=1) for one in SYMBOLS]
        await world.send(*during)
        await asyncio.sleep(0.5)
        server.start()
        for order in [*before, *during]:
            await world.until(order.order_id, "filled", within_s=30)
        await world.books_equal(within_s=20)
        assert len(simulator.ledger()["orders"]) == len(before) + len(during)


async def test_a_caller_is_told_in_time_that_the_books_are_away(
    simulator: Simulator, own_postgres: tuple[ServerProcess, str], redis_url: str
) -> None:
    _, url = own_postgres
    headers = {"Idempotency-Key": "away-1"}
    body = {"symbol": SYMBOLS[0], "side": "buy", "quantity": "1"}
    async with executor_world(simulator, url, redis_url, answer_s_max=1.0) as world:
        with psycopg.connect(url) as connection:
            # What is read is answered and what is written waits, as with a full disk.
            connection.execute("LOCK TABLE orders IN EXCLUSIVE MODE")
            refused = await world.client.post("/api/v1/orders", json=body, headers=headers)
        assert refused.status_code == 503, refused.text
        assert "Idempotency-Key" in refused.json()["detail"]
        again = await world.client.post("/api/v1/orders", json=body, headers=headers)
        assert again.status_code == 201, again.text
        assert again.json()["reject_reason"].startswith("RISK_UNAVAILABLE")


async def test_a_flushed_redis_loses_no_message(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    async with executor_world(simulator, database_url, redis_url) as world:
        order = approval(spec("buy", "3"), generation=1)
        await world.send(order)
        await world.until(order.order_id, "filled")
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
            with psycopg.connect(database_url) as connection:
                row = connection.execute(
                    "SELECT count(*) FROM outbox WHERE stream = 'log:trades.executed'"
                ).fetchone()
            assert row == (1,)
            for _ in range(100):
                if client.xlen("log:trades.executed") == 1:
                    break
                await asyncio.sleep(0.1)
            assert client.xlen("log:trades.executed") == 1
        late = approval(spec("buy", "2", symbol="KO"), generation=1)
        await world.send(late)
        await world.until(late.order_id, "filled", within_s=20)
        await world.books_equal()
