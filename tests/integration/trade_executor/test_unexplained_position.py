"""A position that no execution explains: on record, and no new risk on its symbol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from tests.support.executor_orders import approval, spec
from tests.support.executor_world import World, executor_world
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator, start_simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        running.quote("AAPL", "100.00", "100.02")
        yield running


@pytest.fixture
async def world(simulator: Simulator, database_url: str, redis_url: str) -> AsyncIterator[World]:
    async with executor_world(simulator, database_url, redis_url) as running:
        yield running


async def test_a_position_nobody_can_explain_blocks_its_symbol(
    world: World, database_url: str
) -> None:
    order = approval(spec("buy", "10"), generation=1)
    await world.send(order)
    await world.until(order.order_id, "filled")
    await world.books_equal()
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE portfolio_positions SET quantity = quantity + 1")

    async def blocked() -> bool:
        shown = (await world.client.get("/api/v1/orders/reconciliation")).json()
        return [
            (d["symbol"], d["kind"], d["ours"], d["theirs"]) for d in shown["discrepancies"]
        ] == [("AAPL", "position", "11", "10")]

    await eventually(blocked, within_s=60, what="discrepancy on record")
    adding = approval(spec("buy", "1"), generation=1, lasts_s=1.0)
    closing = approval(spec("sell", "10"), generation=1, reducing=True)
    await world.send(adding, closing)
    shown = await world.until(adding.order_id, "denied")
    assert "position" in shown["reject_reason"]
    await world.until(closing.order_id, "filled")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE portfolio_positions SET quantity = quantity - 1")
    await eventually(lambda: not world.executor.blocks.reasons("AAPL"), what="block lifted")
    await world.books_equal()
