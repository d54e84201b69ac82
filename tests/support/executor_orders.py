"""Approvals, orders and executions for tests of the executor."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

from libs.common.contracts.messages import ApprovedOrder, OrderSpec, RiskAssessment
from libs.common.domain.executions import Execution
from libs.common.domain.vocabulary import OrderType, Side, Verdict
from libs.common.kernel.ids import BrokerOrderId, ExecutionId, Symbol
from services.trade_executor.ports import ReconciliationRun

NOON = dt.datetime(2022, 3, 1, 17, tzinfo=dt.UTC)


def spec(
    side: str = "buy",
    quantity: str | None = "100",
    *,
    symbol: str = "AAPL",
    limit: str | None = None,
    **fields: object,
) -> OrderSpec:
    """Return a market order, or a limit order where a limit is given."""
    return OrderSpec(
        symbol=symbol,
        side=Side(side),
        quantity=Decimal(quantity) if quantity else None,
        order_type=OrderType.LIMIT if limit else OrderType.MARKET,
        limit_price=Decimal(limit) if limit else None,
        **fields,  # type: ignore[arg-type]
    )


def approval(
    order: OrderSpec,
    *,
    order_id: uuid.UUID | None = None,
    generation: int = 0,
    reference_price: str | None = "10",
    lasts_s: float = 60.0,
    reducing: bool = False,
    protective: bool = False,
    strategy_id: str | None = "sma_cross:AAPL:1m",
    account_id: str = "main",
) -> ApprovedOrder:
    """Return an approval of `order`, as the risk manager would send it."""
    order_id = order_id or uuid.uuid4()
    now = dt.datetime.now(dt.UTC)
    assessment = RiskAssessment(
        assessment_id=uuid.uuid4(),
        account_id=account_id,
        symbol=order.symbol,
        side=order.side,
        verdict=Verdict.APPROVED,
        quantity=order.quantity or Decimal(0),
        checks=(),
        generation=generation,
        ts=now,
        latency_us=1,
        reference_price=Decimal(reference_price) if reference_price else None,
        request_id=order_id,
    )
    return ApprovedOrder(
        order_id=order_id,
        account_id=account_id,
        spec=order,
        assessment=assessment,
        generation=generation,
        expires_at=now + dt.timedelta(seconds=lasts_s),
        reducing=reducing,
        protective=protective,
        strategy_id=strategy_id,
        request_id=order_id,
    )


def execution(
    name: str,
    side: str = "buy",
    quantity: str = "10",
    price: str = "5",
    *,
    fee: str = "0",
    symbol: str = "AAPL",
    broker: str = "alpaca",
    broker_order_id: str = "b-1",
    at: dt.datetime = NOON,
) -> Execution:
    """Return one execution."""
    return Execution(
        broker=broker,
        execution_id=ExecutionId(name),
        broker_order_id=BrokerOrderId(broker_order_id),
        symbol=Symbol(symbol),
        side=Side(side),
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal(fee),
        executed_at=at,
    )


def opening_run() -> ReconciliationRun:
    """Return the note of an opening balance that holds everything until noon."""
    return ReconciliationRun(uuid.uuid4(), "opening", NOON, NOON, NOON, {"activities": []})
