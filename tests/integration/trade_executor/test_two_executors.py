"""Two executors of one account: one works, one stands by; no order is sent by both."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from libs.common.domain.vocabulary import TradingState
from tests.support.executor_orders import approval, spec
from tests.support.executor_process import ExecutorProcess
from tests.support.executor_world import Voice, compare_books
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator, start_simulator
from tests.support.tokens import AS_OPERATOR


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="10000000") as running:
        running.quote("AAPL", "100.00", "100.02")
        yield running


@pytest.fixture
async def voice(database_url: str, redis_url: str) -> AsyncIterator[Voice]:
    speaker = Voice(database_url, redis_url)
    speaker.set_state(TradingState.ACTIVE, 1)
    speaker.begin_beating()
    yield speaker
    await speaker.close()


def reasons(executor: ExecutorProcess) -> dict[str, str]:
    found: dict[str, str] = httpx.get(f"{executor.url}/ready", timeout=5, trust_env=False).json()[
        "reasons"
    ]
    return found


def cut_connections(database_url: str) -> None:
    """End every connection of the executors, as a network that parts them would."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'trade_executor' AND datname = current_database()"
        )


async def test_a_parted_executor_sends_nothing_when_it_comes_back(
    simulator: Simulator, voice: Voice, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    rng = random.Random(seed)
    both = [
        ExecutorProcess(
            simulator,
            database_url,
            redis_url,
            tmp_path / f"{name}.log",
            instance=name,
            desk_lease_s=2,
        )
        for name in ("a", "b")
    ]
    first, second = both
    first.start()
    second.start(wait=False)
    sent = []

    async def trade(count: int) -> None:
        for _ in range(count):
            order = approval(
                spec("buy", str(rng.randrange(1, 20))), generation=1, reference_price="100"
            )
            sent.append(order.order_id)
            await voice.approve(order)
            await asyncio.sleep(rng.random() * 0.02)

    async def standing_by() -> bool:
        try:
            return "standing by: instance a" in reasons(second).get("desk", "")
        except httpx.HTTPError:
            return False

    try:
        await eventually(standing_by, within_s=60, what="the second standing by")
        async with httpx.AsyncClient(
            base_url=second.url, auth=AS_OPERATOR, trust_env=False
        ) as client:
            refused = await client.post(
                "/api/v1/orders",
                json={"symbol": "AAPL", "side": "buy", "quantity": "1"},
                headers={"Idempotency-Key": "k"},
            )
        assert refused.status_code == 503
        simulator.fault("latency", method="POST", path="/v2/orders", probability=0.5, seconds=0.3)
        await trade(20)
        # The first stands still in the middle of its work; it loses sight of the database, or
        # keeps its connections and gives no sign of life.
        assert first.pid is not None
        os.kill(first.pid, signal.SIGSTOP)
        if rng.random() < 0.5:
            cut_connections(database_url)
        second.wait_ready()
        await trade(20)
        await asyncio.sleep(rng.random())
        os.kill(first.pid, signal.SIGCONT)
        # What it was about to send, it may not; it finds its desk taken and ends.
        await eventually(lambda: first.ended, within_s=60, what="the first ending itself")
        await eventually(
            lambda: not compare_books(database_url, simulator.ledger()),
            within_s=60,
            what="equal books",
        )

        def all_ended() -> bool:
            with psycopg.connect(database_url) as connection:
                row = connection.execute(
                    "SELECT count(*) FILTER (WHERE status = 'filled') FROM orders"
                ).fetchone()
            return row is not None and row[0] == len(sent)

        await eventually(all_ended, within_s=60, what="every order filled")
    except AssertionError as error:
        logs = "\n".join(
            (tmp_path / f"{name}.log").read_text(errors="replace")[-2500:] for name in ("a", "b")
        )
        raise AssertionError(f"seed {seed}: {error}\n{logs}") from error
    finally:
        for one in both:
            one.kill()
    placed = [one["client_order_id"].rpartition("-")[0] for one in simulator.ledger()["orders"]]
    assert sorted(placed) == sorted(f"tw-{order_id}" for order_id in sent), f"seed {seed}"
