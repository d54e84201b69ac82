"""One suite for every broker: the fake in memory, and Alpaca's adapter on the simulated broker."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest

from libs.common.domain.orders import OrderEvent
from libs.common.kernel.clock import from_ns, parse_ns
from libs.common.kernel.ids import BrokerOrderId, ClientOrderId, Symbol
from services.trade_executor.adapters.alpaca import AlpacaBroker
from services.trade_executor.adapters.alpaca_stream import AlpacaStream
from services.trade_executor.adapters.alpaca_wire import AlpacaLimits
from services.trade_executor.model import BrokerOrder, Change, Update
from services.trade_executor.ports import (
    Broker,
    BrokerRefusedError,
    Gap,
    NotSentError,
    OutcomeUnknownError,
    StreamItem,
)
from tests.support.executor_orders import spec
from tests.support.fake_broker import FakeBroker
from tests.support.runtimes import eventually
from tests.support.simulator import KEY, SECRET, Simulator, free_port, start_simulator

LIMITS = AlpacaLimits(
    threads=4, timeout_s=1.0, calls_per_minute=100_000, failures_max=5, circuit_reset_s=0.3
)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000", simulator_symbols=("AAPL", "KO")) as running:
        for symbol in ("AAPL", "KO"):
            running.quote(symbol, "99.98", "100.00")
        yield running


def alpaca(url: str, stream_url: str) -> AlpacaBroker:
    stream = AlpacaStream(
        stream_url, KEY, SECRET, ping_s=5, reconnect_s_max=0.5, timeout_s=2, report=lambda _: None
    )
    return AlpacaBroker(url, KEY, SECRET, limits=LIMITS, stream=stream)


@dataclass
class Venue:
    """A broker and its time."""

    broker: Broker
    since: dt.datetime
    simulator: Simulator | None = None


@pytest.fixture(params=["fake", "alpaca"])
async def venue(request: pytest.FixtureRequest, simulator: Simulator) -> AsyncIterator[Venue]:
    if request.param == "fake":
        fake = FakeBroker()
        yield Venue(fake, fake.now - dt.timedelta(seconds=1))
        return
    simulator.clear_faults()
    simulator.step(1)
    now = from_ns(parse_ns(simulator.clock()["now"]))
    broker = alpaca(simulator.url, simulator.stream_url)
    yield Venue(broker, now - dt.timedelta(milliseconds=1), simulator)
    await broker.close()


def name() -> ClientOrderId:
    return ClientOrderId(f"tw-{uuid.uuid4()}-1")


async def settled(venue: Venue, order: BrokerOrder) -> BrokerOrder:
    for _ in range(100):
        found = await venue.broker.order(order.broker_order_id)
        assert found is not None
        if found.event not in {OrderEvent.ACKNOWLEDGED, OrderEvent.ACCEPTED}:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"still {found.status_word}")


async def submit(venue: Venue, *args: str, **fields: str) -> BrokerOrder:
    async with venue.broker.slot():
        order = await venue.broker.submit(name(), spec(*args, **fields))  # type: ignore[arg-type]
    return await settled(venue, order)


async def test_a_market_order_trades_and_is_told_everywhere(venue: Venue) -> None:
    cash = await venue.broker.cash()
    held = {one.symbol: one.quantity for one in await venue.broker.positions()}
    order = await submit(venue, "buy", "3")
    assert (order.event, order.filled_quantity) == (OrderEvent.FILLED, 3)
    executions = [
        one
        for one in await venue.broker.executions_since(venue.since)
        if one.broker_order_id == order.broker_order_id
    ]
    assert sum(one.quantity for one in executions) == 3
    assert await venue.broker.cash() == cash - sum(one.amount for one in executions)
    after = {one.symbol: one.quantity for one in await venue.broker.positions()}
    assert after[Symbol("AAPL")] == held.get(Symbol("AAPL"), 0) + 3
    closing = await submit(venue, "sell", "3")
    assert closing.event is OrderEvent.FILLED


async def test_an_order_is_found_by_both_names(venue: Venue) -> None:
    order = await submit(venue, "buy", "1", limit="50")
    by_ours = await venue.broker.find(ClientOrderId(order.client_order_id))
    assert by_ours is not None
    assert by_ours.broker_order_id == order.broker_order_id
    listed = {one.broker_order_id for one in await venue.broker.orders_since(venue.since)}
    assert order.broker_order_id in listed
    others = await venue.broker.orders_since(venue.since, Symbol("KO"))
    assert order.broker_order_id not in {one.broker_order_id for one in others}
    await venue.broker.cancel(order.broker_order_id)


async def test_what_is_not_there_is_none(venue: Venue) -> None:
    assert await venue.broker.find(name()) is None
    assert await venue.broker.order(BrokerOrderId(str(uuid.uuid4()))) is None


async def test_a_resting_order_is_open_until_cancelled(venue: Venue) -> None:
    order = await submit(venue, "buy", "1", limit="50")
    assert order.event is OrderEvent.WORKING
    listed = await venue.broker.open_orders()
    assert order.broker_order_id in {one.broker_order_id for one in listed}
    await venue.broker.cancel(order.broker_order_id)
    for _ in range(100):
        found = await venue.broker.order(order.broker_order_id)
        if found is not None and found.event is OrderEvent.CANCELED:
            break
        await asyncio.sleep(0.02)
    assert order.broker_order_id not in {
        one.broker_order_id for one in await venue.broker.open_orders()
    }
    with pytest.raises(BrokerRefusedError):
        await venue.broker.cancel(order.broker_order_id)


async def test_the_same_client_id_again_is_not_a_refusal(venue: Venue) -> None:
    same = name()
    async with venue.broker.slot():
        order = await venue.broker.submit(same, spec("buy", "1", limit="50"))
    with pytest.raises(OutcomeUnknownError):
        await venue.broker.submit(same, spec("buy", "1", limit="50"))
    await settled(venue, order)
    await venue.broker.cancel(order.broker_order_id)


async def test_the_stream_begins_with_a_gap_and_tells_executions_by_the_same_ids(
    venue: Venue,
) -> None:
    items: list[StreamItem] = []

    async def listen() -> None:
        async for item in venue.broker.stream():
            items.append(item)

    listening = asyncio.create_task(listen())
    await eventually(lambda: bool(items), what="the first gap")
    assert isinstance(items[0], Gap)
    order = await submit(venue, "buy", "2")
    for _ in range(200):
        told = [
            item.execution
            for item in items
            if isinstance(item, Update)
            and item.execution
            and item.order.broker_order_id == order.broker_order_id
        ]
        if sum(one.quantity for one in told) == 2:
            break
        await asyncio.sleep(0.01)
    listening.cancel()
    listed = [
        one
        for one in await venue.broker.executions_since(venue.since)
        if one.broker_order_id == order.broker_order_id
    ]
    assert {one.key for one in told} == {one.key for one in listed}
    assert [(one.quantity, one.price) for one in told] == [
        (one.quantity, one.price) for one in listed
    ]


# Alpaca's adapter alone: what the wire can do ---------------------------------------------------


@pytest.fixture
async def broker(simulator: Simulator) -> AsyncIterator[AlpacaBroker]:
    simulator.clear_faults()
    adapter = alpaca(simulator.url, simulator.stream_url)
    yield adapter
    simulator.clear_faults()
    await adapter.close()


@pytest.mark.parametrize(
    ("kind", "how", "error"),
    [
        ("lost_answer", {}, OutcomeUnknownError),
        ("error_after", {"status": 504}, OutcomeUnknownError),
        ("error_before", {"status": 500}, OutcomeUnknownError),
        ("garbled_answer", {}, OutcomeUnknownError),
        ("latency", {"seconds": 2}, OutcomeUnknownError),
        ("rate_limit", {}, NotSentError),
    ],
)
async def test_each_failure_of_a_post_is_named_and_made_once(
    broker: AlpacaBroker,
    simulator: Simulator,
    kind: str,
    how: dict[str, object],
    error: type[Exception],
) -> None:
    fault = simulator.fault(kind, method="POST", path="/v2/orders", count=5, **how)
    with pytest.raises(error):
        await broker.submit(name(), spec("buy", "1", limit="50"))
    hits = [one["hits"] for one in simulator.get("/sim/faults")["items"]]
    assert hits == [1], fault


async def test_nobody_there_means_not_sent() -> None:
    nowhere = alpaca(f"http://127.0.0.1:{free_port()}", "ws://127.0.0.1:1/stream")
    with pytest.raises(NotSentError):
        await nowhere.submit(name(), spec("buy", "1"))
    await nowhere.close()


async def test_a_broker_that_fails_is_left_alone_for_a_while(
    broker: AlpacaBroker, simulator: Simulator
) -> None:
    simulator.fault("error_before", path="/v2/account", status=500)
    for _ in range(LIMITS.failures_max):
        with pytest.raises(OutcomeUnknownError):
            await broker.cash()
    with pytest.raises(NotSentError, match="failed too often"):
        await broker.cash()
    simulator.clear_faults()
    await asyncio.sleep(LIMITS.circuit_reset_s + 0.1)
    assert await broker.cash() > 0


async def test_a_refusal_names_the_brokers_code(broker: AlpacaBroker) -> None:
    with pytest.raises(BrokerRefusedError) as refusal:
        await broker.submit(name(), spec("buy", "1", limit="50.001"))
    assert (refusal.value.status, refusal.value.code) == (422, 42210000)


def test_a_number_that_the_wire_would_change_is_not_sent() -> None:
    broker = FakeBroker()
    assert broker.check(spec("buy", "1")) is None
    adapter = alpaca("http://127.0.0.1:1", "ws://127.0.0.1:1/stream")
    assert adapter.check(spec("buy", "0.1")) is None
    long = spec("buy", "123456789012.12345678")
    assert "quantity" in (adapter.check(long) or "")
    assert Decimal(repr(float(Decimal("123456789012.12345678")))) != long.quantity


async def test_a_replacement_is_a_new_order_under_our_id(venue: Venue) -> None:
    old, second, third = await submit(venue, "buy", "10", limit="50"), name(), name()
    async with venue.broker.slot():
        answer = await venue.broker.replace(
            old.broker_order_id, second, Change(quantity=Decimal(12), limit_price=Decimal(51))
        )
    assert answer.broker_order_id != old.broker_order_id
    assert (answer.client_order_id, answer.replaces) == (second, old.broker_order_id)
    assert (answer.spec.quantity, answer.spec.limit_price) == (12, 51)
    seen = await settled(venue, old)
    assert (seen.event, seen.replaced_by) == (OrderEvent.REPLACED, answer.broker_order_id)
    async with venue.broker.slot():
        with pytest.raises(BrokerRefusedError):
            await venue.broker.replace(old.broker_order_id, third, Change(limit_price=Decimal(52)))
    assert await venue.broker.find(third) is None
    await venue.broker.cancel(answer.broker_order_id)
