"""What we ask for and what happens meanwhile: cancels and replacements against fills and each
other."""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest
from alpaca.trading.requests import ReplaceOrderRequest

from tests.support.fault_stage import SYMBOLS, Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

BELOW = "99"


async def resting(stage: Stage, symbol: str = "AAPL", quantity: str = "10") -> uuid.UUID:
    order = await stage.approve(quantity=quantity, symbol=symbol, limit=BELOW)
    await stage.until(order, "working")
    return order


def falls(stage: Stage, symbol: str = "AAPL") -> None:
    """Let the price fall through every resting buy."""
    stage.simulator.quote(symbol, "97.98", "98.00")


def touches(stage: Stage, size: int, symbol: str = "AAPL") -> None:
    """Let the price touch resting buys, with so many shares to be had."""
    stage.simulator.quote(symbol, "98.98", BELOW, ask_size=size)


async def test_a_fill_before_its_cancel_is_done(stage: Stage) -> None:
    stage.simulator.behave(cancel_delay_s=5)
    order = await resting(stage)
    await stage.cancel(order)
    await stage.until(order, "pending_cancel")
    falls(stage)
    await stage.until(order, "filled")
    await stage.settled()


async def test_a_part_fills_before_its_cancel_is_done(stage: Stage) -> None:
    stage.simulator.behave(cancel_delay_s=5)
    order = await resting(stage)
    await stage.cancel(order)
    await stage.until(order, "pending_cancel")
    touches(stage, 4)
    stage.simulator.step(6)
    shown = await stage.until(order, "canceled")
    assert shown["filled_quantity"] == "4"
    await stage.settled()


@pytest.mark.parametrize("kind", ["missing", "reorder", "delay"])
async def test_the_end_is_heard_before_the_fill(stage: Stage, kind: str) -> None:
    """A part fills, the rest is cancelled, and the stream tells it late, wrongly or not at all:
    the end may not void what the unheard execution has to be paid from."""
    order = await resting(stage)
    stage.simulator.fault(kind, stream="trading", event="*fill*", seconds=0.5, seconds_max=1.0)
    touches(stage, 4)
    stage.simulator.request("DELETE", f"/v2/orders/{stage.at_broker(order)[0]['id']}")
    shown = await stage.until(order, "canceled")
    assert shown["filled_quantity"] == "4"
    await stage.settled()
    assert (await stage.world.order(order))["anomaly"] is None


async def test_cancels_and_fills_at_the_same_moment(stage: Stage, seed: int) -> None:
    rng = random.Random(seed)
    orders = {await resting(stage, symbol): symbol for symbol in SYMBOLS for _ in range(3)}

    async def cancel(order: uuid.UUID) -> None:
        await asyncio.sleep(rng.random() * 0.2)
        await stage.cancel(order)

    async def fall(symbol: str) -> None:
        await asyncio.sleep(rng.random() * 0.2)
        await asyncio.to_thread(touches, stage, rng.randrange(1, 30), symbol)

    await asyncio.gather(*map(cancel, orders), *map(fall, SYMBOLS))
    for order in orders:
        await stage.until(order, "filled", "canceled")
    await stage.settled()


async def test_a_fill_before_its_replacement(stage: Stage) -> None:
    stage.simulator.behave(replace_delay_s=5)
    order = await resting(stage)
    amending = asyncio.create_task(stage.amend(order, limit_price="98.50"))
    await stage.until(order, "pending_replace")
    falls(stage)
    stage.simulator.step(6)
    await stage.until(order, "filled")
    await amending
    await stage.settled()


async def test_a_part_fills_before_its_replacement(stage: Stage) -> None:
    stage.simulator.behave(replace_delay_s=5)
    order = await resting(stage)
    amending = asyncio.create_task(stage.amend(order, limit_price="98.50", quantity="12"))
    await stage.until(order, "pending_replace")
    touches(stage, 4)
    stage.simulator.quote("AAPL", "100.00", "100.02")
    stage.simulator.step(6)
    await stage.until(order, "replaced")
    heir = uuid.UUID((await amending).json()["id"])
    shown = await stage.until(heir, "working")
    assert shown["quantity"] == "8"
    falls(stage)
    await stage.until(heir, "filled")
    await stage.settled()


@pytest.mark.parametrize("kind", ["lost_answer", "error_after"])
async def test_the_answer_of_a_replacement_is_lost(stage: Stage, kind: str) -> None:
    order = await resting(stage)
    stage.simulator.fault(kind, method="PATCH", path="/v2/orders/*", count=1)
    stage.simulator.fault("missing", stream="trading")
    answer = await stage.amend(order, limit_price="98.50")
    await stage.until(order, "replaced")
    heir = uuid.UUID(answer.json()["id"])
    falls(stage)
    await stage.until(heir, "filled")
    await stage.settled()


async def test_a_replacement_that_never_arrived_leaves_the_order(stage: Stage) -> None:
    order = await resting(stage)
    stage.simulator.fault("drop_request", method="PATCH", path="/v2/orders/*")
    await stage.amend(order, limit_price="98.50")
    await stage.until(order, "working")
    falls(stage)
    await stage.until(order, "filled")
    await stage.settled()


async def test_cancel_during_pending_replace(stage: Stage) -> None:
    stage.simulator.behave(replace_delay_s=5)
    order = await resting(stage)
    amending = asyncio.create_task(stage.amend(order, limit_price="98.50"))
    await stage.until(order, "pending_replace")
    await stage.cancel(order)
    stage.simulator.step(6)
    heir = uuid.UUID((await amending).json()["id"])
    await stage.until(order, "replaced", "canceled")
    await stage.until(heir, "canceled", "denied", "rejected")
    await stage.settled()


async def test_a_second_replace_while_the_first_is_under_way_is_refused(stage: Stage) -> None:
    stage.simulator.behave(replace_delay_s=5)
    order = await resting(stage)
    amending = asyncio.create_task(stage.amend(order, limit_price="98.50"))
    await stage.until(order, "pending_replace")
    second = await stage.amend(order, limit_price="98.60")
    assert second.status_code == 409, second.text
    stage.simulator.step(6)
    heir = uuid.UUID((await amending).json()["id"])
    await stage.until(heir, "working")
    third = await stage.amend(heir, limit_price="98.70")
    stage.simulator.step(6)
    await stage.until(heir, "replaced")
    falls(stage)
    await stage.until(uuid.UUID(third.json()["id"]), "filled")
    await stage.settled()


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
async def test_replaced_at_the_broker_from_outside_again_and_again(
    stage: Stage, heard: bool
) -> None:
    order = await resting(stage)
    if not heard:
        stage.simulator.fault("missing", stream="trading")
    client = stage.simulator.trading_client()
    there = stage.at_broker(order)[0]["id"]
    for limit in (98.90, 98.80, 98.70):
        request = ReplaceOrderRequest(limit_price=limit)
        replaced = await asyncio.to_thread(client.replace_order_by_id, there, request)
        there = str(replaced.id)  # type: ignore[union-attr]
    falls(stage)
    await stage.until(order, "replaced")
    await stage.settled()
    filled = stage.rows(
        "SELECT status, filled_quantity FROM orders WHERE broker_order_id = %s", there
    )
    assert [(status, int(quantity)) for status, quantity in filled] == [("filled", 10)]
