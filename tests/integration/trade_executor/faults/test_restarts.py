"""The executor ends, by SIGKILL and by SIGTERM, with an order at every stage of its life."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from libs.common.domain.vocabulary import TradingState
from tests.support.executor_orders import spec
from tests.support.executor_process import ExecutorProcess
from tests.support.executor_world import Voice
from tests.support.fault_stage import Books, quote_all, stage_simulator
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator
from tests.support.tokens import AS_OPERATOR

POST = {"method": "POST", "path": "/v2/orders"}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with stage_simulator() as running:
        yield running


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
async def test_restarted_with_an_order_at_every_stage(
    simulator: Simulator, database_url: str, redis_url: str, tmp_path: Path, how: str
) -> None:
    books = Books(database_url, simulator)
    voice = Voice(database_url, redis_url)
    voice.set_state(TradingState.ACTIVE, 1)
    voice.begin_beating()
    executor = ExecutorProcess(simulator, database_url, redis_url, tmp_path / "executor.log")
    executor.start()

    async def stands(order: object, status: str) -> None:
        def there() -> bool:
            query = "SELECT status FROM orders WHERE id = %s"
            return books.rows(query, order) == [(status,)]

        await eventually(there, within_s=60, what=f"{order} is {status}")

    async def approve(side: str, quantity: str, symbol: str, limit: str | None = None) -> object:
        given = books.approval(spec(side, quantity, symbol=symbol, limit=limit))
        await voice.approve(given)
        return given.order_id

    try:
        # Partly filled; asked to be cancelled, which the broker is slow to do.
        simulator.quote("PG", "98.98", "99", ask_size=4)
        partly = await approve("buy", "10", "PG", "99")
        await stands(partly, "partially_filled")
        simulator.behave(cancel_delay_s=600)
        leaving = await approve("buy", "10", "XOM", "99")
        await stands(leaving, "working")
        cancelling = asyncio.create_task(_cancel(executor, leaving))
        await stands(leaving, "pending_cancel")
        await cancelling
        # In doubt, and one that waits behind it.
        simulator.fault("lost_answer", **POST, count=1)
        simulator.fault("missing", stream="trading")
        simulator.fault("error_before", method="GET", path="/v2/orders*")
        doubted = await approve("buy", "7", "KO")
        await stands(doubted, "outcome_unknown")
        waiting = await approve("buy", "5", "KO")
        await stands(waiting, "created")
        # On the wire.
        simulator.fault("latency", **POST, seconds=0.6)
        sent = await approve("buy", "3", "MSFT")
        await stands(sent, "submitting")
        if how == "SIGKILL":
            executor.kill()
        else:
            assert executor.stop() == 0
        # While it is away the world goes on.
        simulator.clear_faults()
        simulator.quote("PG", "98.98", "99", ask_size=2)
        executor.start()
        for order in (doubted, waiting, sent):
            await stands(order, "filled")
        await stands(partly, "partially_filled")
        simulator.step(601)
        await stands(leaving, "canceled")
        quote_all(simulator)
        simulator.quote("PG", "98.98", "99")
        await stands(partly, "filled")
        await books.nothing_wrong()
        assert executor.stop() == 0
    finally:
        if not executor.ended:
            executor.kill()
        await voice.close()


async def _cancel(executor: ExecutorProcess, order: object) -> None:
    async with httpx.AsyncClient(
        base_url=executor.url, auth=AS_OPERATOR, trust_env=False, timeout=10
    ) as client:
        answer = await client.delete(f"/api/v1/orders/{order}")
        assert answer.status_code < 300, answer.text
