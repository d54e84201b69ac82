"""A group's legs are told of by the stream before its answer has been read: they stay its own."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from libs.common.contracts.risk_api import AssessmentReply, OrderFields
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderClass, OrderStatus, Side, TradingState
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import BrokerOrderId, ClientOrderId, Symbol
from services.trade_executor.assembly import Executor, assemble
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import order_id_of_external
from services.trade_executor.model import BrokerOrder
from services.trade_executor.ports import OutcomeUnknownError
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


BRACKET = spec(
    quantity="10",
    order_class=OrderClass.BRACKET,
    take_profit_limit_price=Decimal(120),
    stop_loss_stop_price=Decimal(80),
)
LEG = BrokerOrder(
    broker_order_id=BrokerOrderId("leg-1"),
    client_order_id="the venue's own",
    symbol=Symbol("AAPL"),
    side=Side.SELL,
    event=OrderEvent.WORKING,
    status_word="new",
    spec=spec("sell", "10", limit="120", order_class=OrderClass.BRACKET),
    submitted_at=dt.datetime.now(dt.UTC),
)


@pytest.fixture
async def executor(database_url: str, redis_url: str) -> AsyncIterator[Executor]:
    Voice(database_url, redis_url).set_state(TradingState.ACTIVE, 1)
    settings = ExecutorSettings.model_validate(
        {**QUICK, "database_url": database_url, "redis_url": redis_url}
    )
    runtime = runtime_for("trade_executor", database_url, redis_url)
    books = ExecutorStore(runtime, batch_max=64, margin=False, shorting=True)
    executor = assemble(runtime, settings, books, FakeBroker(), NoRisk())
    executor.gate.heard_risk_manager()
    await executor.watch.start()
    yield executor
    await executor.tasks.stop()
    await runtime.close()


async def test_a_leg_that_is_adopted_while_its_group_names_it_becomes_its_child(
    executor: Executor,
) -> None:
    approved = approval(BRACKET, generation=1)
    taken = await executor.handlers.submission.take(approved, correlation_id=approved.order_id)
    await eventually(lambda: not len(executor.tasks), what="the order's answer")
    parent = await executor.lifecycle.find(taken.id)
    leg_id = order_id_of_external("fake", LEG.broker_order_id)
    identifier = Identifier(
        executor.books, FakeBroker(), executor.desk, executor.lifecycle, legs_wait_s=1
    )
    lock = executor.desk.lock(leg_id)
    async with lock:
        # Neither finds the leg in the books; the stream's reader is the first to write it.
        stranger = asyncio.create_task(executor.lifecycle.adopt(LEG))
        await eventually(lambda: "waiters:1" in repr(lock), what="one adopts")
        named = asyncio.create_task(identifier.legs(parent, with_leg(parent.client_order_id)))
        await eventually(lambda: "waiters:2" in repr(lock), what="the other adopts")
    await asyncio.gather(stranger, named)
    child = await executor.books.order(leg_id)
    assert child is not None
    assert (child.parent_id, child.external, child.protects) == (parent.id, False, True)


async def test_a_halt_spares_a_leg_that_was_a_stranger_first(executor: Executor) -> None:
    approved = approval(BRACKET, generation=1)
    taken = await executor.handlers.submission.take(approved, correlation_id=approved.order_id)
    await eventually(lambda: not len(executor.tasks), what="the order's answer")
    parent = await executor.lifecycle.find(taken.id)
    stranger = await executor.lifecycle.adopt(LEG)
    identifier = Identifier(
        executor.books, FakeBroker(), executor.desk, executor.lifecycle, legs_wait_s=1
    )
    await identifier.legs(parent, with_leg(parent.client_order_id))
    asked = await executor.handlers.cancels.cancel_open("halt", spare_protective=True)
    assert stranger.id not in {order.id for order in asked}
    leg = await executor.lifecycle.find(stranger.id)
    assert leg.status is OrderStatus.WORKING


class GroupBroker(FakeBroker):
    """Shows a group's leg only to those who ask for the group itself."""

    deaf = False

    async def find(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        if self.deaf:
            raise OutcomeUnknownError("deaf by test")
        found = await super().find(client_order_id)
        return found and replace(found, legs=())

    async def order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        found = await super().order(broker_order_id)
        grouped = found is not None and found.spec.order_class is OrderClass.BRACKET
        return replace(found, legs=(LEG,)) if found is not None and grouped else found


@pytest.mark.parametrize("answered", [True, False])
async def test_a_leg_nobody_has_named_is_asked_for_at_its_group(
    database_url: str, redis_url: str, answered: bool
) -> None:
    Voice(database_url, redis_url).set_state(TradingState.ACTIVE, 1)
    settings = ExecutorSettings.model_validate(
        {**QUICK, "database_url": database_url, "redis_url": redis_url}
    )
    runtime = runtime_for("trade_executor", database_url, redis_url)
    books = ExecutorStore(runtime, batch_max=64, margin=False, shorting=True)
    broker = GroupBroker()
    broker.deaf, broker.lose_next = not answered, int(not answered)
    executor = assemble(runtime, settings, books, broker, NoRisk())
    executor.gate.heard_risk_manager()
    await executor.watch.start()
    approved = approval(BRACKET, generation=1)
    taken = await executor.handlers.submission.take(approved, correlation_id=approved.order_id)
    standing = OrderStatus.WORKING if answered else OrderStatus.OUTCOME_UNKNOWN

    async def there() -> bool:
        order = await books.order(taken.id)
        return order is not None and order.status is standing

    await eventually(there, what=f"the group standing {standing}")
    broker.deaf = False
    identifier = Identifier(books, broker, executor.desk, executor.lifecycle, legs_wait_s=0)
    child = await identifier.identify(LEG)
    assert (child.parent_id, child.external, child.protects) == (taken.id, False, True)
    stranger = replace(LEG, broker_order_id=BrokerOrderId("nobody's"))
    assert (await identifier.identify(stranger)).external
    await executor.tasks.stop()
    await runtime.close()


def with_leg(client_order_id: str) -> BrokerOrder:
    return BrokerOrder(
        broker_order_id=BrokerOrderId("group-1"),
        client_order_id=client_order_id,
        symbol=Symbol("AAPL"),
        side=Side.BUY,
        event=OrderEvent.WORKING,
        status_word="new",
        spec=BRACKET,
        legs=(LEG,),
    )
