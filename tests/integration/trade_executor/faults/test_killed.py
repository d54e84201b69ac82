"""SIGKILL of the executor with orders in flight, again and again, from a printed seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from libs.common.domain.vocabulary import TradingState
from tests.support.executor_orders import spec
from tests.support.executor_process import ExecutorProcess
from tests.support.executor_world import Voice
from tests.support.fault_stage import Books
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator, start_simulator

pytestmark = pytest.mark.slow

SYMBOLS = ("AAPL", "KO", "MSFT")
OPEN = "status NOT IN ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced')"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="10000000") as running:
        for symbol in SYMBOLS:
            running.quote(symbol, "100.00", "100.02")
        yield running


@pytest.fixture
async def voice(database_url: str, redis_url: str) -> AsyncIterator[Voice]:
    speaker = Voice(database_url, redis_url)
    speaker.set_state(TradingState.ACTIVE, 1)
    speaker.begin_beating()
    yield speaker
    await speaker.close()


def count_open(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(f"SELECT count(*) FROM orders WHERE {OPEN}").fetchone()
    assert row is not None
    return int(row[0])


async def test_killed_while_trading_nothing_is_lost_or_doubled(
    simulator: Simulator,
    voice: Voice,
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    seed: int,
) -> None:
    rng = random.Random(seed)
    books = Books(database_url, simulator)
    executor = ExecutorProcess(simulator, database_url, redis_url, tmp_path / "executor.log")
    executor.start()
    # Half of the answers arrive late enough for a kill to fall between sending and knowing.
    simulator.fault("latency", method="POST", path="/v2/orders", probability=0.5, seconds=0.3)
    sent = []
    for _ in range(4):
        for _ in range(25):
            order = books.approval(
                spec("buy", str(rng.randrange(1, 20)), symbol=rng.choice(SYMBOLS))
            )
            sent.append(order.order_id)
            await voice.approve(order)
            await asyncio.sleep(rng.random() * 0.02)
        await asyncio.sleep(rng.random() * 0.3)
        executor.kill()
        executor.start(wait=False)
        await asyncio.sleep(rng.random())
    executor.wait_ready()
    try:
        await eventually(
            lambda: _arrived(database_url, len(sent)), within_s=60, what="all orders ended"
        )
        await books.nothing_wrong()
    except AssertionError as error:
        log = (tmp_path / "executor.log").read_text(errors="replace")[-3000:]
        raise AssertionError(f"seed {seed}: {error}\n{log}") from error
    executor.wait_ready()
    assert executor.stop() == 0


def _arrived(database_url: str, count: int) -> bool:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM orders").fetchone()
    assert row is not None
    return row[0] == count and count_open(database_url) == 0
