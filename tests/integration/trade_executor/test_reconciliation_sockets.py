"""Reconciliation over real sockets: what others did at the broker while we looked or slept."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.support.executor_orders import approval, spec
from tests.support.executor_world import World, executor_world
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator, start_simulator

SPLIT = {"actions": [{"kind": "split", "symbol": "KO", "ratio": "2"}]}
PATH = "/api/v1/orders/reconciliation"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        for symbol in ("AAPL", "KO", "MSFT"):
            running.quote(symbol, "100.00", "100.02")
        yield running


@pytest.fixture
async def world(simulator: Simulator, database_url: str, redis_url: str) -> AsyncIterator[World]:
    async with executor_world(simulator, database_url, redis_url) as running:
        yield running


async def listed(world: World) -> list[dict[str, Any]]:
    answer = await world.client.get("/api/v1/orders")
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def by_broker_id(world: World, broker_order_id: str) -> dict[str, Any]:
    found = [one for one in await listed(world) if one["broker_order_id"] == broker_order_id]
    return found[0] if found else {}


async def test_what_somebody_traded_while_we_slept_is_adopted_with_its_executions(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    async with executor_world(simulator, database_url, redis_url):
        pass
    done = simulator.submit("KO", "buy", "7")
    closed = simulator.submit("KO", "buy", "5", type="limit", limit_price="90.00")
    assert simulator.request("DELETE", f"/v2/orders/{closed['id']}").status_code == 204
    bracket = simulator.submit(
        "MSFT", "buy", "3", type="limit", limit_price="95.00", order_class="bracket",
        take_profit={"limit_price": "110.00"}, stop_loss={"stop_price": "90.00"},
    )  # fmt: skip
    first = simulator.submit("AAPL", "buy", "4", type="limit", limit_price="80.00")
    second = simulator.request(
        "PATCH", f"/v2/orders/{first['id']}", json={"limit_price": "81.00"}
    ).json()
    third = simulator.request(
        "PATCH", f"/v2/orders/{second['id']}", json={"limit_price": "82.00"}
    ).json()
    async with executor_world(simulator, database_url, redis_url) as world:
        await world.books_equal()
        orders = {one["broker_order_id"]: one for one in await listed(world)}
        assert all(one["external"] for one in orders.values())
        assert orders[done["id"]]["status"] == "filled"
        assert orders[closed["id"]]["status"] == "canceled"
        legs = [one for one in orders.values() if one["parent_id"] == orders[bracket["id"]]["id"]]
        assert sorted(one["status"] for one in legs) == ["held", "held"]
        chain = [orders[one["id"]]["status"] for one in (first, second, third)]
        assert chain[:2] == ["replaced", "replaced"]
        assert chain[2] in {"accepted", "working"}
        assert world.simulator.order(third["id"])["status"] in {"new", "accepted"}


async def test_a_split_restates_what_rests(world: World) -> None:
    resting = approval(spec("buy", "10", symbol="KO", limit="90"), generation=1)
    await world.send(resting)
    shown = await world.until(resting.order_id, "working", "accepted", "submitted")
    world.simulator.control("market", SPLIT)

    async def terms() -> bool:
        shown.update(await world.order(resting.order_id))
        return (shown["quantity"], shown["limit_price"]) == ("20", "45")

    await eventually(terms, what="the terms after the split")
    assert "restated" in await world.events(resting.order_id)
    world.simulator.quote("KO", "44.00", "44.02")
    await world.until(resting.order_id, "filled")
    await world.books_equal()
    assert not world.executor.blocks.shown()


async def test_a_split_that_nobody_told_of_is_seen_by_comparing(world: World) -> None:
    resting = approval(spec("buy", "10", symbol="KO", limit="90"), generation=1)
    await world.send(resting)
    await world.until(resting.order_id, "working", "accepted", "submitted")
    world.simulator.fault("mute", stream="trading", count=1)
    world.simulator.control("market", SPLIT)

    async def terms() -> bool:
        return (await world.order(resting.order_id))["quantity"] == "20"

    await eventually(terms, what="the terms after the split")


async def test_everything_is_compared_at_the_close(world: World) -> None:
    await eventually(lambda: world.executor.close.compared is not None, what="the calendar")
    world.simulator.fault("mute", stream="trading")
    day = world.simulator.submit("KO", "buy", "5", type="limit", limit_price="90.00")
    world.simulator.step_to("next_close")
    world.simulator.step(5)

    async def compared() -> bool:
        return "close" in [run["cause"] for run in (await world.client.get(PATH)).json()["runs"]]

    await eventually(compared, within_s=60, what="a run at the close")

    async def ended() -> bool:
        return (await by_broker_id(world, day["id"])).get("status") == "expired"

    await eventually(ended, what="the day order's end")


async def test_a_discrepancy_is_acknowledged_and_resolved_with_a_reason(
    world: World, database_url: str
) -> None:
    with psycopg.connect(database_url) as tx:  # shares that no execution explains
        tx.execute("INSERT INTO portfolio_positions VALUES ('main', 'KO', %s, 1, 0)", (Decimal(3),))

    async def open_ones() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await world.client.get(PATH)).json()["discrepancies"]
        return found

    async def opened() -> bool:
        return bool(await open_ones())

    await eventually(opened, what="a discrepancy")
    one = (await open_ones())[0]
    assert (one["symbol"], one["kind"], one["ours"], one["theirs"]) == ("KO", "position", "3", "0")
    assert "position" in world.executor.blocks.reasons("KO")
    where = f"{PATH}/discrepancies/{one['id']}"
    said = {"reason": "looking at it"}
    answer = await world.client.post(f"{where}/acknowledge", json=said)
    assert answer.json()["acknowledged_by"] == "service:operator"
    assert "position" in world.executor.blocks.reasons("KO")
    with psycopg.connect(database_url) as tx:
        tx.execute("DELETE FROM portfolio_positions WHERE symbol = 'KO'")
    answer = await world.client.post(f"{where}/resolve", json={"reason": "typed in by a test"})
    assert answer.status_code in {200, 409}  # 409: the next comparison was quicker

    async def closed() -> bool:
        return not await open_ones()

    await eventually(closed, what="no discrepancy")
    assert "position" not in world.executor.blocks.reasons("KO")
    again = await world.client.post(f"{where}/resolve", json={"reason": "once more"})
    assert again.status_code == 409
    with psycopg.connect(database_url) as tx:
        found = tx.execute(
            "SELECT convert_from(message, 'UTF8') FROM outbox WHERE channel = 'audit.events'"
        ).fetchall()
    assert any('"acknowledge"' in row[0] and "looking at it" in row[0] for row in found)


async def test_what_cannot_be_resolved_is_said(world: World) -> None:
    nobody = str(uuid.uuid4())
    for identity, body, status in (
        (nobody, {"reason": "why"}, 404),
        ("nonsense", {"reason": "why"}, 422),
        (nobody, {}, 422),
        (nobody, {"reason": ""}, 422),
        (nobody, {"reason": "why", "more": 1}, 422),
    ):
        answer = await world.client.post(f"{PATH}/discrepancies/{identity}/resolve", json=body)
        assert answer.status_code == status, answer.text
