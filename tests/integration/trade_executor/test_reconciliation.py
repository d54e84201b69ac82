"""Reconciliation over real books and a broker in memory that tells only what a test lets it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

import pytest
from msgspec.structs import replace as replace_fields

from libs.common.contracts.risk_api import AssessmentReply, OrderFields
from libs.common.domain.executions import Execution
from libs.common.domain.vocabulary import OrderStatus, OrderType, TradingState
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import ClientOrderId, ExecutionId, OrderId, Symbol
from services.trade_executor.assembly import Executor, assemble
from services.trade_executor.settings import ExecutorSettings
from services.trade_executor.store import ExecutorStore
from tests.support.executor_orders import approval, spec
from tests.support.executor_world import QUICK, Voice
from tests.support.fake_broker import FakeBroker
from tests.support.runtimes import eventually, runtime_for


class NoRisk:
    """A risk manager that is away."""

    async def assess(
        self, request_id: UUID, fields: OrderFields, *, correlation_id: UUID
    ) -> AssessmentReply:
        raise UnavailableError("away by test")


@dataclass
class Renaming(FakeBroker):
    """Names executions in its list otherwise than on its stream."""

    async def executions_since(self, since: dt.datetime) -> Sequence[Execution]:
        found = await super().executions_since(since)
        return [replace(one, execution_id=ExecutionId(f"x-{one.execution_id}")) for one in found]


@asynccontextmanager
async def working(
    database_url: str, redis_url: str, broker: FakeBroker, *, listening: bool
) -> AsyncIterator[tuple[Executor, ExecutorStore]]:
    """Run an executor's parts over `broker`; deaf to its stream unless `listening`."""
    Voice(database_url, redis_url).set_state(TradingState.ACTIVE, 1)
    settings = ExecutorSettings.model_validate(
        {**QUICK, "database_url": database_url, "redis_url": redis_url}
    )
    runtime = runtime_for("trade_executor", database_url, redis_url)
    books = ExecutorStore(runtime, batch_max=64, margin=False, shorting=True)
    executor = assemble(runtime, settings, books, broker, NoRisk())
    executor.gate.heard_risk_manager()
    await executor.watch.start()
    following = asyncio.create_task(executor.follower.run()) if listening else None
    yield executor, books
    if following is not None:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    await executor.tasks.stop()
    await runtime.close()


async def take(executor: Executor, side: str = "buy", quantity: str = "10") -> OrderId:
    approved = approval(spec(side, quantity), generation=1)
    await executor.handlers.submission.take(approved, correlation_id=approved.order_id)
    await eventually(lambda: not len(executor.tasks), what="the order's answer")
    return OrderId(approved.order_id)


async def test_what_the_stream_never_told_is_booked_from_the_list(
    database_url: str, redis_url: str
) -> None:
    broker = FakeBroker()
    async with working(database_url, redis_url, broker, listening=False) as (executor, books):
        order_id = await take(executor)
        findings = await executor.handlers.reconciliation.run("test", balances=True)
        assert findings.executions_booked == 1
        order = await books.order(order_id)
        assert order is not None
        assert order.status is OrderStatus.FILLED
        assert await books.cash() == broker.money
        again = await executor.handlers.reconciliation.run("test", balances=True, deep=True)
        assert (again.news, again.doubts) == (0, False)


async def test_an_execution_listed_by_another_name_is_not_booked_twice(
    database_url: str, redis_url: str
) -> None:
    broker = Renaming()
    async with working(database_url, redis_url, broker, listening=True) as (executor, books):
        order_id = await take(executor)

        async def filled() -> bool:
            order = await books.order(order_id)
            return order is not None and order.status is OrderStatus.FILLED

        await eventually(filled, what="filled")
        await eventually(lambda: not len(executor.tasks), what="idle")
        findings = await executor.handlers.reconciliation.run("test", balances=True, deep=True)
        assert findings.executions_booked == 0
        assert await books.positions() == {"AAPL": Decimal(10)}
        assert await books.cash() == broker.money


async def test_one_look_at_a_strange_balance_is_a_doubt_the_second_a_discrepancy(
    database_url: str, redis_url: str
) -> None:
    broker = FakeBroker()
    async with working(database_url, redis_url, broker, listening=False) as (executor, books):
        broker.money -= 7
        run = executor.handlers.reconciliation.run
        assert (await run("test", balances=True)).doubts
        assert await books.open_discrepancies() == []
        await asyncio.sleep(0.6)
        assert not (await run("test", balances=True)).doubts
        found = [(one.found.kind, one.found.theirs) for one in await books.open_discrepancies()]
        assert found == [("cash", "999993")]
        assert executor.blocks.reasons("AAPL") == {"cash"}
        broker.money += 7
        await asyncio.sleep(0.6)
        await run("test", balances=True)
        assert await books.open_discrepancies() == []
        assert not executor.blocks.reasons("AAPL")


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_lost_answer_is_proven_either_way(
    database_url: str, redis_url: str, arrives: bool
) -> None:
    broker = FakeBroker(lose_next=1, arrives=arrives)
    async with working(database_url, redis_url, broker, listening=False) as (executor, books):
        order_id = await take(executor)
        order = await books.order(order_id)
        assert order is not None
        assert order.attempt == (1 if arrives else 2)
        assert len(broker.orders) == 1
        await executor.handlers.reconciliation.run("test", balances=True)
        assert await books.positions() == {"AAPL": Decimal(10)}


async def test_a_manual_order_without_a_risk_manager_is_denied(
    database_url: str, redis_url: str
) -> None:
    broker = FakeBroker()
    async with working(database_url, redis_url, broker, listening=False) as (executor, _):
        fields = OrderFields.model_validate({"symbol": "KO", "side": "buy", "quantity": "1"})
        order = await executor.placing.place(fields, "key", UUID(int=5))
        assert order.status is OrderStatus.DENIED
        assert (order.reject_reason or "").startswith("RISK_UNAVAILABLE")
        assert broker.orders == {}


@pytest.mark.parametrize("corrected", [None, "4"])
async def test_what_was_taken_back_before_our_books_began_is_not_taken_back_again(
    database_url: str, redis_url: str, corrected: str | None
) -> None:
    """The opening balance holds executions as they stood then, and so does an adopted order."""
    broker = FakeBroker()
    wanted = replace_fields(spec("buy", "100"), order_type=OrderType.LIMIT, limit_price=Decimal(1))
    resting = await broker.submit(ClientOrderId("somebody's"), wanted)
    traded = broker.fill(resting.broker_order_id, Decimal(10))
    broker.take_back(traded, Decimal(corrected) if corrected else None)
    stands = Decimal(corrected or 0)
    async with working(database_url, redis_url, broker, listening=False) as (executor, books):
        findings = await executor.handlers.reconciliation.run("test", balances=True, deep=True)
        assert (findings.executions_booked, findings.executions_reversed) == (0, 0)
        assert await books.positions() == ({Symbol("AAPL"): stands} if stands else {})
        assert await books.cash() == broker.money
        order = await books.order_at_broker(resting.broker_order_id)
        assert order is not None
        assert order.filled_quantity == stands
        broker.fill(resting.broker_order_id, 100 - stands)
        await executor.handlers.reconciliation.run("test", balances=True, deep=True)
        order = await books.order_at_broker(resting.broker_order_id)
        assert order is not None
        assert (order.status, order.filled_quantity) == (OrderStatus.FILLED, 100)
