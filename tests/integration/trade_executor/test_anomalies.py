"""An anomaly, its discrepancy and its alert are one commit: a process that dies right after it has
lost neither the block nor the word to people."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from infra.migrate import provision_roles
from libs.common.contracts import messages
from libs.common.contracts.envelope import Reader
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import Level, OrderStatus
from libs.common.kernel.money import ZERO
from services.trade_executor.model import Order, order_of
from services.trade_executor.ports import Discrepancy, Move, Recorded
from services.trade_executor.store import ExecutorStore
from tests.support.executor_orders import NOON, approval, execution, opening_run, spec
from tests.support.runtimes import runtime_for

CREATED = Recorded("created", None, OrderStatus.CREATED)


@pytest.fixture
async def books(database_url: str, redis_url: str) -> AsyncIterator[ExecutorStore]:
    """The store with its own role's rights; nothing else of the executor runs."""
    with psycopg.connect(database_url) as connection:
        provision_roles(connection, {"trade_executor": "test-only"})
    address = database_url.rpartition("@")[2]
    role_url = f"postgresql://trade_executor:test-only@{address}"
    runtime = runtime_for("trade_executor", role_url, redis_url)
    store = ExecutorStore(runtime, batch_max=64, margin=False, shorting=True)
    await store.open_account(ZERO + 100_000, [], opening_run())
    yield store
    await runtime.close()


async def working(books: ExecutorStore, anomaly: str | None = None) -> Order:
    given = approval(spec("buy", "100"))
    order = order_of(given, broker="alpaca", correlation_id=uuid.uuid4(), now=NOON)
    order = (await books.create(replace(order, anomaly=anomaly), [CREATED], None)).order
    return (await books.move(order, Move(OrderEvent.WORKING, OrderStatus.WORKING))).order


def alerts(database_url: str) -> list[tuple[Any, ...]]:
    """The alerts that are stored: level and title."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT message, channel FROM outbox WHERE stream = 'log:notifications' ORDER BY seq"
        ).fetchall()
    assert all(row[1] == "notifications.execution" for row in rows)
    told = [Reader(messages.Notification).read(row[0]).payload for row in rows]
    return [(one.level, one.title) for one in told if one.level is Level.CRITICAL]


async def kinds(books: ExecutorStore) -> list[tuple[str, str]]:
    return [(o.found.symbol, o.found.kind) for o in await books.open_discrepancies()]


async def test_overfill_blocks_and_alerts_with_its_own_commit(
    books: ExecutorStore, database_url: str
) -> None:
    order = await working(books)
    order = (await books.book(order, execution("e1", quantity="100"), source="stream")).order
    assert await kinds(books) == []
    assert alerts(database_url) == []
    order = (await books.book(order, execution("e2", quantity="1"), source="stream")).order
    assert await kinds(books) == [("AAPL", "anomaly:overfill")]
    title = "Books differ from the broker: anomaly:overfill AAPL"
    assert alerts(database_url) == [(Level.CRITICAL, title)]
    # Once more while it stands open: on record, told.
    order = (await books.book(order, execution("e3", quantity="1"), source="stream")).order
    assert len(await kinds(books)) == len(alerts(database_url)) == 1
    # Once more after it was closed: a new one.
    for one in await books.open_discrepancies():
        await books.resolve_discrepancy(one, "agreed")
    await books.book(order, execution("e4", quantity="1"), source="stream")
    assert await kinds(books) == [("AAPL", "anomaly:overfill")]
    assert [title for _, title in alerts(database_url)].count(title) == 2


async def test_a_move_and_a_new_row_tell_theirs(books: ExecutorStore, database_url: str) -> None:
    order = await working(books, anomaly="late_attempt")
    assert await kinds(books) == [("AAPL", "anomaly:late_attempt")]
    odd = Move(OrderEvent.CANCELED, OrderStatus.CANCELED, anomaly="canceled_after_filled")
    await books.move(order, odd)
    assert sorted(await kinds(books)) == [
        ("AAPL", "anomaly:canceled_after_filled"),
        ("AAPL", "anomaly:late_attempt"),
    ]
    assert len(alerts(database_url)) == 2


async def test_the_alert_goes_out_at_once_where_the_process_lives(
    books: ExecutorStore, database_url: str
) -> None:
    order = await working(books, anomaly="late_attempt")
    told = Discrepancy("AAPL", "anomaly:late_attempt", order.status, "late_attempt")
    assert await books.open_discrepancy(told) is False, "it is on record already"
    await books._runtime.outbox.drain()
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT published_at IS NOT NULL FROM outbox WHERE stream = 'log:notifications'"
        ).fetchone()
    assert row == (True,)


async def test_a_commit_that_fails_leaves_neither(books: ExecutorStore, database_url: str) -> None:
    order = await working(books)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE orders SET anomaly = 'overfill' WHERE id = %s", [order.id])
        connection.rollback()
    assert await kinds(books) == []
    assert alerts(database_url) == []
