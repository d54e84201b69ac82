"""The executor against the simulated broker over real sockets: the ways of an order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from libs.common.domain.vocabulary import TradingState
from tests.support.executor_orders import approval, spec
from tests.support.executor_world import World, executor_world
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator, start_simulator


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


async def test_an_approval_becomes_a_booked_execution(world: World) -> None:
    order = approval(spec("buy", "10"), generation=1, reference_price="100")
    await world.send(order)
    shown = await world.until(order.order_id, "filled")
    assert (shown["filled_quantity"], shown["filled_avg_price"]) == ("10", "100.02")
    assert shown["broker_order_id"]
    events = await world.events(order.order_id)
    assert events[:2] == ["created", "send"]
    assert "filled" in events
    await world.books_equal()
    trades = (await world.client.get("/api/v1/orders/trades")).json()["items"]
    assert [(t["quantity"], t["price"], t["side"]) for t in trades] == [("10", "100.02", "buy")]


async def test_a_redelivered_approval_sends_nothing(world: World) -> None:
    order = approval(spec("buy", "10"), generation=1, reference_price="100")
    await world.send(order, order)
    await world.until(order.order_id, "filled")
    await world.send(order)
    await asyncio.sleep(0.3)
    assert len(world.simulator.ledger()["orders"]) == 1


async def test_many_orders_at_once(world: World) -> None:
    orders = [
        approval(spec("buy", str(n), symbol=symbol), generation=1, reference_price="100")
        for n in range(1, 21)
        for symbol in ("AAPL", "KO", "MSFT")
    ]
    await world.send(*orders)
    for order in orders:
        await world.until(order.order_id, "filled")
    await world.books_equal()


async def test_round_trip_and_short(world: World) -> None:
    for side, quantity in (("buy", "10"), ("sell", "10"), ("sell", "15"), ("buy", "15")):
        order = approval(spec(side, quantity), generation=1, reference_price="100")
        await world.send(order)
        await world.until(order.order_id, "filled")
    await world.books_equal()


async def test_the_brokers_refusal_is_rejected_and_frees_the_hold(world: World) -> None:
    order = approval(spec("buy", "10", limit="100.001"), generation=1)
    await world.send(order)
    shown = await world.until(order.order_id, "rejected")
    assert "42210000" in shown["reject_reason"]
    await world.books_equal()


async def test_a_resting_order_is_cancelled(world: World) -> None:
    order = approval(spec("buy", "10", limit="90"), generation=1)
    await world.send(order)
    await world.until(order.order_id, "working")
    answer = await world.client.delete(f"/api/v1/orders/{order.order_id}")
    assert answer.status_code == 202
    await world.until(order.order_id, "canceled")
    again = await world.client.delete(f"/api/v1/orders/{order.order_id}")
    assert again.status_code == 409
    await world.books_equal()


async def test_halt_cancels_what_rests_but_not_what_protects(world: World) -> None:
    resting = approval(spec("buy", "10", limit="90"), generation=1)
    exit_order = approval(spec("sell", "10", limit="120"), generation=1, protective=True)
    await world.send(resting, exit_order)
    await world.until(resting.order_id, "working")
    await world.until(exit_order.order_id, "working")
    world.voice.set_state(TradingState.HALTED, 2)
    await world.voice.alert()
    await world.until(resting.order_id, "canceled")
    late = approval(spec("buy", "1"), generation=1)
    await world.send(late)
    shown = await world.until(late.order_id, "denied")
    assert shown["reject_reason"].startswith("GENERATION_OLD")
    assert (await world.order(exit_order.order_id))["status"] == "working"
    world.voice.set_state(TradingState.ACTIVE, 3)
    fresh = approval(spec("buy", "1", symbol="KO"), generation=3)
    await world.send(fresh)
    await world.until(fresh.order_id, "filled")


async def test_what_may_not_leave_is_denied(world: World) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"lasts_s": -1}, "APPROVAL_EXPIRED"),
        ({"generation": 0}, "GENERATION_OLD"),
        ({"reference_price": None}, "PRICE_UNKNOWN"),
        ({"reference_price": "1000000"}, "CASH_INSUFFICIENT"),
    ]
    for fields, reason in cases:
        order = approval(spec("buy", "10"), **{"generation": 1, **fields})  # type: ignore[arg-type]
        await world.send(order)
        shown = await world.until(order.order_id, "denied")
        assert shown["reject_reason"].startswith(reason)
    assert world.simulator.ledger()["orders"] == []


async def test_a_silent_risk_manager_lets_only_reducing_orders_through(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    async with executor_world(
        simulator, database_url, redis_url, risk_heartbeat_s_max=0.5
    ) as world:
        first = approval(spec("buy", "10"), generation=1)
        await world.send(first)
        await world.until(first.order_id, "filled")
        await world.voice.stop_beating()
        await eventually(lambda: not world.executor.gate.risk_manager_alive)
        adding = approval(spec("buy", "10"), generation=1)
        closing = approval(spec("sell", "10"), generation=1, reducing=True)
        await world.send(adding, closing)
        shown = await world.until(adding.order_id, "denied")
        assert shown["reject_reason"].startswith("RISK_MANAGER_SILENT")
        await world.until(closing.order_id, "filled")


async def test_bracket_legs_are_ours(world: World) -> None:
    order = approval(
        spec(
            "buy", "10", limit="101",
            order_class="bracket",
            take_profit_limit_price="110",
            stop_loss_stop_price="90",
        ),
        generation=1,
    )  # fmt: skip
    await world.send(order)
    await world.until(order.order_id, "filled")
    listed = (await world.client.get("/api/v1/orders?limit=10")).json()["items"]
    legs = [one for one in listed if one["parent_id"] == str(order.order_id)]
    assert len(legs) == 2
    assert all(leg["strategy_id"] and not leg["external"] for leg in legs)
    world.simulator.quote("AAPL", "110.50", "110.60")
    await eventually(
        lambda: _statuses(world, legs, {"filled", "canceled"}), what="one exit filled, one gone"
    )
    await world.books_equal()


async def _statuses(world: World, orders: list[dict[str, str]], wanted: set[str]) -> bool:
    shown = [await world.client.get(f"/api/v1/orders/{one['id']}") for one in orders]
    return {one.json()["status"] for one in shown} == wanted


async def test_an_order_that_is_not_ours_is_adopted_and_booked(world: World) -> None:
    world.simulator.submit("KO", "buy", "5")
    await world.books_equal()
    listed = (await world.client.get("/api/v1/orders")).json()["items"]
    assert [(one["symbol"], one["external"]) for one in listed] == [("KO", True)]
