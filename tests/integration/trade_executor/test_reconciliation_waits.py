"""A comparison that could not be made is made as soon as the broker is back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.common.contracts.risk_api import AssessmentReply, OrderFields
from libs.common.domain.vocabulary import TradingState
from libs.common.kernel.errors import UnavailableError
from services.trade_executor.assembly import assemble
from services.trade_executor.model import BrokerOrder
from services.trade_executor.settings import ExecutorSettings
from services.trade_executor.store import ExecutorStore
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
class Limiting(FakeBroker):
    """Refuses to list its orders while told so."""

    limits: bool = False

    async def open_orders(self) -> Sequence[BrokerOrder]:
        if self.limits:
            raise UnavailableError("429 rate limit exceeded")
        return await super().open_orders()


async def test_a_refused_comparison_is_repeated_long_before_the_next_one_is_due(
    database_url: str, redis_url: str
) -> None:
    Voice(database_url, redis_url).set_state(TradingState.ACTIVE, 1)
    seldom = {**QUICK, "reconcile_orders_s": 3600.0, "reconcile_books_s": 3600.0}
    settings = ExecutorSettings.model_validate(
        {**seldom, "database_url": database_url, "redis_url": redis_url}
    )
    runtime = runtime_for("trade_executor", database_url, redis_url)
    books = ExecutorStore(runtime, batch_max=64, margin=False, shorting=True)
    broker = Limiting()
    executor = assemble(runtime, settings, books, broker, NoRisk())
    executor.gate.heard_risk_manager()
    await executor.watch.start()
    following = asyncio.create_task(executor.watch.follow_orders())
    broker.limits = True
    executor.watch.executions_lacking()
    reasons = runtime.readiness.reasons
    await eventually(lambda: "reconciliation" in reasons, what="it says that it waits")
    broker.limits = False
    await eventually(lambda: "reconciliation" not in reasons, what="it has compared")
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await executor.tasks.stop()
    await runtime.close()
