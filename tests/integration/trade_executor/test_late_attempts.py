"""Orders that arrive at the venue after they were proven absent: nothing is left to trade twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.executor_orders import approval, spec
from tests.support.executor_world import World, executor_world
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator, start_simulator

POST = b"POST /v2/orders"
# The client gives up after 1.5 s, the order is proven absent a second later.
LATE_S = 5.0


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        running.quote("AAPL", "100.00", "100.02")
        yield running


@pytest.fixture
def proxy(simulator: Simulator) -> Iterator[FaultyProxy]:
    with faulty_proxy(simulator.port) as running:
        yield running


@pytest.fixture
async def world(
    simulator: Simulator, proxy: FaultyProxy, database_url: str, redis_url: str
) -> AsyncIterator[World]:
    via = f"http://127.0.0.1:{proxy.port}"
    async with executor_world(
        simulator, database_url, redis_url, broker_url=via, attempts_max=2
    ) as running:
        yield running


def at_venue(simulator: Simulator) -> dict[str, str]:
    """Our orders there: the attempt's number and the status."""
    return {
        one["client_order_id"].rpartition("-")[2]: one["status"]
        for one in simulator.ledger()["orders"]
    }


async def listed(world: World) -> list[dict[str, Any]]:
    response = await world.client.get("/api/v1/orders")
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def test_an_attempt_that_arrives_after_the_next_one_is_cancelled(
    world: World, simulator: Simulator, proxy: FaultyProxy
) -> None:
    proxy.late_requests(POST, seconds=LATE_S)
    order = approval(spec("buy", "10", limit="90"), generation=1, lasts_s=60.0)
    await world.send(order)
    await world.until(order.order_id, "working", within_s=60)
    await eventually(
        lambda: at_venue(simulator) == {"1": "canceled", "2": "new"},
        within_s=60,
        what="the first attempt cancelled, the second resting",
    )

    async def on_record() -> bool:
        rows = {one["client_order_id"][-2:]: one for one in await listed(world)}
        late, own = rows.get("-1", {}), rows.get("-2", {})
        return (
            (late.get("status"), late.get("anomaly")) == ("canceled", "late_attempt")
            and (own.get("status"), own.get("anomaly")) == ("working", None)
            and own["id"] == str(order.order_id)
        )

    await eventually(on_record, within_s=60, what="both attempts in the books")
    await world.books_equal()


async def test_an_attempt_that_traded_late_is_booked_on_a_row_of_its_own(
    world: World, simulator: Simulator, proxy: FaultyProxy
) -> None:
    proxy.late_requests(POST, seconds=LATE_S)
    order = approval(spec("buy", "10"), generation=1, lasts_s=60.0)
    await world.send(order)
    await world.until(order.order_id, "filled", within_s=60)
    await eventually(
        lambda: at_venue(simulator) == {"1": "filled", "2": "filled"}, within_s=60, what="both"
    )
    await world.books_equal(within_s=60)
    rows = {one["client_order_id"][-2:]: one for one in await listed(world)}
    assert (rows["-2"]["filled_quantity"], rows["-2"]["anomaly"]) == ("10", None)
    assert (rows["-1"]["filled_quantity"], rows["-1"]["anomaly"]) == ("10", "late_attempt")


async def test_an_order_that_arrives_after_it_was_given_up_is_cancelled(
    world: World, simulator: Simulator, proxy: FaultyProxy
) -> None:
    proxy.late_requests(POST, seconds=LATE_S)
    # Its approval ends before it could be sent again.
    order = approval(spec("buy", "10", limit="90"), generation=1, lasts_s=2.0)
    await world.send(order)
    await world.until(order.order_id, "denied", within_s=60)
    await eventually(
        lambda: at_venue(simulator) == {"1": "canceled"}, within_s=60, what="cancelled there"
    )
    shown = await world.until(order.order_id, "canceled", within_s=60)
    assert shown["anomaly"].endswith("_after_denied")
    await world.books_equal()
