"""The orders API over a running executor; the risk manager is a small HTTP stand-in."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.executor_world import World, executor_world
from tests.support.risk_stand_in import RiskStandIn, serving_risk
from tests.support.simulator import Simulator, start_simulator

BUY = {"symbol": "AAPL", "side": "buy", "quantity": "10"}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        for symbol in ("AAPL", "KO", "MSFT"):
            running.quote(symbol, "100.00", "100.02")
        yield running


@pytest.fixture
def risk() -> RiskStandIn:
    return RiskStandIn()


@pytest.fixture
async def world(
    simulator: Simulator, database_url: str, redis_url: str, risk: RiskStandIn
) -> AsyncIterator[World]:
    async with (
        serving_risk(risk) as url,
        executor_world(
            simulator, database_url, redis_url, risk_url=url, risk_timeout_s=0.5
        ) as running,
    ):
        yield running


async def place(world: World, body: dict[str, Any], key: str | None = None) -> Any:
    return await world.client.post(
        "/api/v1/orders", json=body, headers={"Idempotency-Key": key or uuid.uuid4().hex}
    )


async def test_the_same_key_gives_the_same_order(world: World, risk: RiskStandIn) -> None:
    first = await place(world, BUY, "k-1")
    assert first.status_code == 201, first.text
    order_id = first.json()["id"]
    await world.until(uuid.UUID(order_id), "filled")
    again = await place(world, BUY, "k-1")
    assert (again.status_code, again.json()["id"]) == (201, order_id)
    assert risk.asked == 1
    other = await place(world, {**BUY, "symbol": "KO"}, "k-1")
    assert other.status_code == 409
    await world.books_equal()
    assert len(world.simulator.ledger()["orders"]) == 1


async def test_the_same_key_at_the_same_time_is_one_order(world: World) -> None:
    answers = await asyncio.gather(*(place(world, BUY, "k-2") for _ in range(8)))
    assert len({answer.json()["id"] for answer in answers}) == 1
    await world.until(uuid.UUID(answers[0].json()["id"]), "filled")
    assert len(world.simulator.ledger()["orders"]) == 1


async def test_a_denial_is_an_order_that_says_why(world: World, risk: RiskStandIn) -> None:
    risk.deny.add("AAPL")
    answer = (await place(world, BUY)).json()
    assert (answer["status"], answer["reject_reason"]) == (
        "denied", "RESTRICTED(why=by the stand-in)",
    )  # fmt: skip


async def test_a_late_judgement_is_no_judgement(world: World, risk: RiskStandIn) -> None:
    risk.late_s = 1.0
    answer = (await place(world, BUY)).json()
    assert answer["status"] == "denied"
    assert answer["reject_reason"].startswith("RISK_UNAVAILABLE")
    assert world.simulator.ledger()["orders"] == []


BAD: list[tuple[dict[str, Any], str]] = [
    ({**BUY, "quantity": "-1"}, "body.quantity"),
    ({**BUY, "quantity": "NaN"}, "body.quantity"),
    ({**BUY, "quantity": "Infinity"}, "body.quantity"),
    ({**BUY, "surprise": 1}, "body.surprise"),
    ({**BUY, "side": "hold"}, "body.side"),
    ({"symbol": "AAPL", "side": "buy"}, "body"),
    ({**BUY, "order_type": "limit"}, "body"),
    ({**BUY, "symbol": ""}, "body.symbol"),
]


async def test_bad_input_is_named(world: World, risk: RiskStandIn) -> None:
    for body, field in BAD:
        answer = await place(world, body)
        assert answer.status_code == 422, body
        assert answer.headers["content-type"] == "application/problem+json"
        assert field in [error["field"] for error in answer.json()["errors"]], answer.text
    assert risk.asked == 0


async def test_a_key_is_needed_and_ids_and_cursors_are_checked(world: World) -> None:
    client = world.client
    assert (await client.post("/api/v1/orders", json=BUY)).status_code == 422
    assert (await client.get("/api/v1/orders/not-an-id")).status_code == 422
    assert (await client.get(f"/api/v1/orders/{uuid.uuid4()}")).status_code == 404
    assert (await client.delete(f"/api/v1/orders/{uuid.uuid4()}")).status_code == 404
    assert (await client.get("/api/v1/orders?after=rubbish")).status_code == 422
    assert (await client.get("/api/v1/orders?status=nonsense")).status_code == 422


async def test_lists_are_paged_newest_first(world: World) -> None:
    placed = []
    for number in range(5):
        answer = await place(world, {**BUY, "quantity": str(number + 1)})
        placed.append(answer.json()["id"])
        await world.until(uuid.UUID(placed[-1]), "filled")
    seen: list[str] = []
    after: str | None = None
    for _ in range(3):
        query = f"/api/v1/orders?limit=2{f'&after={after}' if after else ''}"
        page = (await world.client.get(query)).json()
        seen += [order["id"] for order in page["items"]]
        after = page["next"]
    assert seen == placed[::-1]
    assert after is None
    trades = (await world.client.get("/api/v1/orders/trades?limit=2")).json()
    assert [trade["quantity"] for trade in trades["items"]] == ["5", "4"]
    rest = (await world.client.get(f"/api/v1/orders/trades?after={trades['next']}")).json()
    assert [trade["quantity"] for trade in rest["items"]] == ["3", "2", "1"]
    for path in ("/api/v1/orders", "/api/v1/orders/trades"):
        answer = await world.client.get(f"{path}?strategy_id=nobody")
        assert answer.json()["items"] == []


async def test_cancel_all_and_reconcile_on_request(world: World) -> None:
    for symbol in ("AAPL", "KO"):
        body = {**BUY, "symbol": symbol, "order_type": "limit", "limit_price": "90"}
        order = (await place(world, body)).json()
        await world.until(uuid.UUID(order["id"]), "working")
    opened = (await world.client.get("/api/v1/orders?status=open")).json()["items"]
    assert len(opened) == 2
    answer = await world.client.delete("/api/v1/orders")
    assert (answer.status_code, len(answer.json()["items"])) == (202, 2)
    for order in opened:
        await world.until(uuid.UUID(order["id"]), "canceled")
    report = (await world.client.post("/api/v1/orders/reconciliation")).json()
    assert report["discrepancies"] == []
    await world.books_equal()
