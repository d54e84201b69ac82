"""Books that cannot be written: a caller is told so in time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.migrate import migrate
from tests.support.executor_world import executor_world
from tests.support.servers import ServerProcess, running_postgres
from tests.support.simulator import Simulator, start_simulator
from tests.support.tokens import make_known

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
        make_known(url)
        yield server, url


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
