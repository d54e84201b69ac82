"""A broker that is away for long: refuses, swallows everything, or is too slow; and the answers
and requests that arrive when nobody waits for them any more."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.fault_stage import SYMBOLS, Stage, fault_stage
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.simulator import Simulator

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

POST = b"POST /v2/orders"


@pytest.fixture(scope="module")
def proxy(broker: Simulator) -> Iterator[FaultyProxy]:
    with faulty_proxy(broker.port) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stage(
    broker: Simulator, proxy: FaultyProxy, stage_database: str, stage_redis: str
) -> AsyncIterator[Stage]:
    async with fault_stage(
        broker,
        stage_database,
        stage_redis,
        broker_url=f"http://127.0.0.1:{proxy.port}",
        broker_stream_url=f"ws://127.0.0.1:{proxy.port}/stream",
    ) as running:
        yield running


async def test_the_fill_is_heard_before_the_posts_answer(stage: Stage, proxy: FaultyProxy) -> None:
    proxy.late_answers(POST, seconds=0.8)
    order = await stage.approve()
    await stage.until(order, "filled")
    events = await stage.world.events(order)
    assert events[:3] == ["created", "send", "filled"] or "working" in events
    await stage.settled()


async def test_an_answer_that_arrives_after_we_gave_up_on_it(
    stage: Stage, proxy: FaultyProxy
) -> None:
    proxy.late_answers(POST, seconds=2.0)
    order = await stage.approve(limit="99")
    await stage.until(order, "working")
    await asyncio.sleep(0.6)
    await stage.settled()


async def test_a_request_that_arrives_after_we_gave_up_on_it(
    stage: Stage, proxy: FaultyProxy
) -> None:
    """Late, but within the settle time: found by the look-up, and not sent again."""
    proxy.late_requests(POST, seconds=2.0)
    order = await stage.approve()
    shown = await stage.until(order, "filled")
    assert shown["client_order_id"].endswith("-1")
    await stage.settled()


@pytest.mark.parametrize("how", ["refuses", "silent"])
async def test_a_broker_that_is_away_for_long(stage: Stage, proxy: FaultyProxy, how: str) -> None:
    """What can wait is sent once when it is back; what was approved for shorter is denied."""
    if how == "refuses":
        proxy.refuse()
    else:
        proxy.silent = True
    patient = [await stage.approve(symbol=symbol) for symbol in SYMBOLS]
    hasty = await stage.approve(symbol="KO", lasts_s=2.0)
    await asyncio.sleep(4.0)  # longer than every time-out, and than the circuit's reset
    proxy.silent = False
    proxy.listen()
    for order in patient:
        await stage.until(order, "filled", within_s=60)
    await stage.until(hasty, "denied", "filled", within_s=60)
    await stage.settled(within_s=60)


async def test_a_slow_broker(stage: Stage, proxy: FaultyProxy) -> None:
    proxy.slow_s = 0.3
    orders: list[uuid.UUID] = [await stage.approve(symbol=one) for one in SYMBOLS * 3]
    for order in orders:
        await stage.until(order, "filled", within_s=60)
    proxy.slow_s = 0.0
    await stage.settled()


async def test_every_connection_is_cut_again_and_again(stage: Stage, proxy: FaultyProxy) -> None:
    orders = []
    for _ in range(5):
        orders += [await stage.approve(symbol=one, quantity="2") for one in SYMBOLS]
        await asyncio.sleep(0.1)
        proxy.cut()
    for order in orders:
        await stage.until(order, "filled", "denied", within_s=60)
    await stage.settled()
