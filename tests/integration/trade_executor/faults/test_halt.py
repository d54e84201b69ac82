"""The kill switch against orders that are on their way, resting, waiting or in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.common.domain.vocabulary import TradingState
from tests.support.fault_stage import Stage
from tests.support.runtimes import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

ORDERS = {"method": "POST", "path": "/v2/orders"}


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def trading_again(stage: Stage) -> AsyncIterator[None]:
    yield
    stage.world.voice.set_state(TradingState.ACTIVE, 1)
    await stage.world.voice.alert()
    stage.world.executor.gate.invalidate()


async def halt(stage: Stage) -> None:
    stage.world.voice.set_state(TradingState.HALTED, 2)
    await stage.world.voice.alert()


async def resting(stage: Stage, symbol: str, **how: object) -> object:
    order = await stage.approve(symbol=symbol, limit="99", **how)
    await stage.until(order, "working")
    return order


async def test_resting_orders_are_cancelled_and_exits_spared(stage: Stage) -> None:
    order = await resting(stage, "AAPL")
    spared = await resting(stage, "KO", protective=True)
    await halt(stage)
    await stage.until(order, "canceled")  # type: ignore[arg-type]
    assert (await stage.world.order(spared))["status"] == "working"  # type: ignore[arg-type]
    await stage.settled()


async def test_an_order_on_the_wire_when_the_halt_comes_does_not_rest(stage: Stage) -> None:
    stage.simulator.fault("latency", **ORDERS, count=1, seconds=1.0)
    order = await stage.approve(limit="99")
    await stage.until(order, "submitting")
    await asyncio.sleep(0.3)  # let it pass the last look at the kill switch
    await halt(stage)
    await stage.until(order, "canceled", "denied")
    await stage.settled()


async def test_an_order_found_live_after_the_halt_does_not_rest(stage: Stage) -> None:
    stage.simulator.fault("lost_answer", **ORDERS, count=1)
    stage.simulator.fault("missing", stream="trading")
    stage.simulator.fault("error_before", method="GET", path="/v2/orders*")
    order = await stage.approve(limit="99")
    await stage.until(order, "outcome_unknown")
    await halt(stage)
    await asyncio.sleep(0.5)  # the halt has been noticed, the order is still in doubt
    stage.simulator.clear_faults()
    await stage.until(order, "canceled")
    await stage.settled()


async def test_an_order_that_waits_or_was_never_there_is_not_sent_into_a_halt(
    stage: Stage,
) -> None:
    before = len(stage.simulator.ledger()["orders"])
    stage.simulator.fault("drop_request", **ORDERS, count=1)
    lost = await stage.approve()
    await stage.until(lost, "outcome_unknown")
    waiting = await stage.approve()
    await stage.until(waiting, "created")
    await halt(stage)
    await stage.until(lost, "denied")
    await stage.until(waiting, "denied", "canceled")
    late = await stage.approve(symbol="PG")
    assert (await stage.until(late, "denied"))["reject_reason"].startswith("GENERATION_OLD")
    assert len(stage.simulator.ledger()["orders"]) == before
    await stage.settled()


async def test_a_cancel_that_the_broker_refuses_is_asked_for_again(stage: Stage) -> None:
    order = await resting(stage, "XOM")
    stage.simulator.fault("cancel_rejected", count=2)
    await halt(stage)
    await stage.until(order, "canceled")  # type: ignore[arg-type]
    await eventually(lambda: not stage.world.executor.tasks, what="nothing under way")
    await stage.settled()
