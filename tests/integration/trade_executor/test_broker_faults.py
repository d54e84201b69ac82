"""The executor against a broker that loses answers, repeats itself, falls silent or breaks.

After each: nothing lost, nothing doubled, our books equal to what `/sim/ledger` says happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from tests.support.executor_orders import approval, spec
from tests.support.executor_world import World, executor_world
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator, start_simulator

SYMBOLS = ("AAPL", "KO", "MSFT")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        for symbol in SYMBOLS:
            running.quote(symbol, "100.00", "100.02")
        yield running


@pytest.fixture
async def world(simulator: Simulator, database_url: str, redis_url: str) -> AsyncIterator[World]:
    async with executor_world(simulator, database_url, redis_url) as running:
        yield running


def orders_at_broker(world: World) -> int:
    return len(world.simulator.ledger()["orders"])


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("lost_answer", {}),
        ("error_after", {"status": 504}),
        ("error_after", {"status": 500}),
        ("garbled_answer", {}),
        ("latency", {"seconds": 3.0}),
    ],
)
async def test_an_answer_that_never_comes_is_looked_up_and_not_repeated(
    world: World, kind: str, how: dict[str, object]
) -> None:
    world.simulator.fault(kind, method="POST", path="/v2/orders", count=1, **how)
    world.simulator.fault("mute", stream="trading", count=3)  # else the stream tells first
    order = approval(spec("buy", "10"), generation=1)
    await world.send(order)
    await world.until(order.order_id, "filled", within_s=20)
    assert "lose_outcome" in await world.events(order.order_id)
    await world.books_equal()
    assert orders_at_broker(world) == 1


@pytest.mark.parametrize("kind", ["drop_request", "error_before"])
async def test_an_order_that_never_arrived_is_sent_once_more(world: World, kind: str) -> None:
    world.simulator.fault(kind, method="POST", path="/v2/orders", count=1)
    order = approval(spec("buy", "10"), generation=1)
    await world.send(order)
    shown = await world.until(order.order_id, "filled", within_s=20)
    events = await world.events(order.order_id)
    assert events.index("resend") > events.index("lose_outcome")
    assert shown["client_order_id"].endswith("-2")
    await world.books_equal()
    assert orders_at_broker(world) == 1


async def test_an_order_that_never_arrives_is_given_up(world: World) -> None:
    world.simulator.fault("drop_request", method="POST", path="/v2/orders")
    order = approval(spec("buy", "10"), generation=1)
    await world.send(order)
    shown = await world.until(order.order_id, "denied", within_s=30)
    assert shown["reject_reason"].startswith("NEVER_ARRIVED")
    world.simulator.clear_faults()
    await world.books_equal()


async def test_an_unknown_outcome_takes_no_new_risk_on_its_symbol(world: World) -> None:
    world.simulator.fault("drop_request", method="POST", path="/v2/orders", count=1)
    lost = approval(spec("buy", "10"), generation=1)
    await world.send(lost)
    await world.until(lost.order_id, "outcome_unknown")
    same, other = (
        approval(spec("buy", "5"), generation=1),
        approval(spec("buy", "5", symbol="KO"), generation=1),
    )
    await world.send(same, other)
    await world.until(other.order_id, "filled")
    assert (await world.order(same.order_id))["status"] == "created"
    await world.until(lost.order_id, "filled", within_s=20)
    await world.until(same.order_id, "filled")
    await world.books_equal()


async def test_repeated_events_change_nothing(world: World) -> None:
    world.simulator.fault("duplicate", stream="trading")
    orders = [approval(spec("buy", "3", symbol=symbol), generation=1) for symbol in SYMBOLS]
    await world.send(*orders)
    for order in orders:
        await world.until(order.order_id, "filled")
    await world.books_equal()


@pytest.mark.parametrize("kind", ["reorder", "delay", "missing"])
async def test_events_out_of_order_late_or_missing(world: World, kind: str) -> None:
    world.simulator.fault(kind, stream="trading", probability=0.5, seconds=0.2, seconds_max=1.0)
    world.simulator.quote("AAPL", "100.00", "100.02", ask_size=2)
    orders = [
        approval(spec("buy", "7", limit="101", symbol=symbol), generation=1)
        for symbol in SYMBOLS * 2
    ]
    await world.send(*orders)
    for price in ("100.03", "100.04", "100.05", "100.06"):
        await asyncio.sleep(0.1)
        world.simulator.quote("AAPL", "100.00", price, ask_size=4)
    for order in orders:
        await world.until(order.order_id, "filled", within_s=20)
    world.simulator.clear_faults()
    await world.books_equal()


async def test_partial_fills_and_a_cancel_of_the_rest(world: World) -> None:
    world.simulator.quote("KO", "100.00", "100.02", ask_size=4)
    order = approval(spec("buy", "10", limit="100.02", symbol="KO"), generation=1)
    await world.send(order)
    shown = await world.until(order.order_id, "partially_filled")
    assert shown["filled_quantity"] == "4"
    await world.client.delete(f"/api/v1/orders/{order.order_id}")
    shown = await world.until(order.order_id, "canceled")
    assert shown["filled_quantity"] == "4"
    await world.books_equal()


async def test_a_mute_stream_is_noticed_and_nothing_is_lost(world: World) -> None:
    world.simulator.fault("mute", stream="trading")
    orders = [approval(spec("buy", "3", symbol=symbol), generation=1) for symbol in SYMBOLS]
    await asyncio.sleep(2.2)
    await world.send(*orders)
    for order in orders:
        await world.until(order.order_id, "filled", within_s=20)
    await world.books_equal()

    async def distrusted() -> bool:
        lines = (await world.client.get("/metrics")).text.splitlines()
        told = [line for line in lines if line.startswith("broker_stream_mute_total")]
        return float(told[0].split()[1]) >= 1

    await eventually(distrusted, what="the stream's silence noticed")


async def test_a_dropped_stream_is_reconnected_and_caught_up(world: World) -> None:
    for _ in range(3):
        orders = [approval(spec("buy", "2", symbol=symbol), generation=1) for symbol in SYMBOLS]
        world.simulator.disconnect("trading")
        await world.send(*orders)
        for order in orders:
            await world.until(order.order_id, "filled", within_s=20)
    await world.books_equal()


async def test_unknown_words_and_fields_do_not_end_the_stream(world: World) -> None:
    world.simulator.fault("unknown_status", count=4)
    world.simulator.fault("unknown_field")
    world.simulator.fault("missing_field", probability=0.5)
    orders = [approval(spec("buy", "2", symbol=symbol), generation=1) for symbol in SYMBOLS]
    await world.send(*orders)
    for order in orders:
        await world.until(order.order_id, "filled", within_s=20)
    world.simulator.clear_faults()
    await world.books_equal()


async def test_too_many_requests_only_takes_longer(world: World) -> None:
    world.simulator.fault("rate_limit", method="POST", path="/v2/orders", count=3)
    order = approval(spec("buy", "2"), generation=1)
    await world.send(order)
    await world.until(order.order_id, "filled", within_s=30)
    assert "lose_outcome" not in await world.events(order.order_id)
    assert orders_at_broker(world) == 1
    await world.books_equal()


async def test_a_broker_that_is_away_is_waited_for(world: World) -> None:
    world.simulator.refuse(2.0)
    await asyncio.sleep(0.2)
    order = approval(spec("buy", "2"), generation=1)
    await world.send(order)
    await world.until(order.order_id, "filled", within_s=30)
    assert orders_at_broker(world) == 1
    await world.books_equal()


async def test_a_fill_may_follow_a_cancel(world: World) -> None:
    world.simulator.behave(cancel_delay_s=5)
    order = approval(spec("buy", "10", limit="99"), generation=1)
    await world.send(order)
    await world.until(order.order_id, "working")
    await world.client.delete(f"/api/v1/orders/{order.order_id}")
    await world.until(order.order_id, "pending_cancel")
    world.simulator.quote("AAPL", "98.00", "98.50")
    await world.until(order.order_id, "filled")
    assert (await world.order(order.order_id))["anomaly"] is None
    await world.books_equal()


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

    await eventually(blocked, within_s=15, what="discrepancy on record")
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
