"""A write whose answer was lost is tried again: where the first try did commit, nothing is written
twice and nobody is told of an error."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from msgspec import structs

from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderStatus
from libs.common.kernel.ids import BrokerOrderId
from libs.common.kernel.money import ZERO
from services.trade_executor.model import Order, order_of
from services.trade_executor.ports import Move, Recorded
from services.trade_executor.store import ExecutorStore
from tests.support.executor_orders import NOON, approval, opening_run, spec
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.runtimes import runtime_for

CREATED = Recorded("created", None, OrderStatus.CREATED)


@pytest.fixture
def proxy(database_url: str) -> Iterator[FaultyProxy]:
    with faulty_proxy(urlsplit(database_url).port or 0) as running:
        yield running


@pytest.fixture
async def books(
    database_url: str, redis_url: str, proxy: FaultyProxy
) -> AsyncIterator[ExecutorStore]:
    through = database_url.replace(f":{proxy.target}/", f":{proxy.port}/")
    runtime = runtime_for("trade_executor", through, redis_url)
    store = ExecutorStore(runtime, batch_max=64, margin=False, shorting=True)
    await store.open_account(ZERO + 100_000, [], opening_run())
    yield store
    await runtime.close()


async def working(books: ExecutorStore) -> Order:
    given = approval(spec("buy", "100", limit="90"))
    order = order_of(given, broker="alpaca", correlation_id=uuid.uuid4(), now=NOON)
    order = (await books.create(order, [CREATED], None)).order
    return (await books.move(order, Move(OrderEvent.WORKING, OrderStatus.WORKING))).order


def written(database_url: str) -> tuple[int, int]:
    """How many events of orders are on record, and how many were told."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM order_events),"
            " (SELECT count(*) FROM outbox WHERE stream = 'log:orders.events')"
        ).fetchone()
    assert row is not None
    return row[0], row[1]


async def test_a_move_that_leaves_the_status(
    books: ExecutorStore, proxy: FaultyProxy, database_url: str
) -> None:
    order = await working(books)
    rule = proxy.cut_answers(b'"kind":"move"')
    learnt = Move(
        OrderEvent.WORKING, OrderStatus.WORKING, broker_order_id=BrokerOrderId("there-1")
    )  # fmt: skip
    moved = await books.move(order, learnt)
    assert rule.hits == 1
    assert (moved.outcome, moved.order.broker_order_id) == ("moved", "there-1")
    assert moved.order.event_seq == order.event_seq + 1
    assert written(database_url) == (3, 3)


async def test_a_restatement(books: ExecutorStore, proxy: FaultyProxy, database_url: str) -> None:
    order = await working(books)
    rule = proxy.cut_answers(b'"kind":"restate"')
    moved = await books.restate(order, structs.replace(order.spec, quantity=ZERO + 50))
    assert rule.hits == 1
    assert (moved.outcome, moved.order.spec.quantity) == ("moved", 50)
    assert written(database_url) == (3, 3)
