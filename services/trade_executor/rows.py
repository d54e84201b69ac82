"""Rows of the database as orders, and orders as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fastapi.responses import Response
from sqlalchemy import Select, select
from sqlalchemy.engine import RowMapping

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.executions import Execution
from libs.common.domain.vocabulary import (
    OrderClass,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    TradingState,
)
from libs.common.kernel.ids import (
    BrokerOrderId,
    ClientOrderId,
    ExecutionId,
    OrderId,
    Symbol,
    TransferId,
)
from libs.common.kernel.money import plain
from libs.common.runtime.app import json_response
from libs.common.runtime.schema.execution import trade_reversals, trades
from services.trade_executor.model import Order, Succession
from services.trade_executor.ports import Gate, Page


def order_from(row: RowMapping) -> Order:
    """Return the order that a row of `orders` holds."""
    legs = row["legs"] or {}
    return Order(
        id=OrderId(row["id"]),
        client_order_id=ClientOrderId(row["client_order_id"]),
        attempt=row["attempt"],
        broker=row["broker"],
        broker_order_id=row["broker_order_id"] and BrokerOrderId(row["broker_order_id"]),
        account_id=row["account_id"],
        spec=OrderSpec(
            symbol=row["symbol"],
            side=Side(row["side"]),
            order_type=OrderType(row["order_type"]),
            time_in_force=TimeInForce(row["time_in_force"]),
            order_class=OrderClass(row["order_class"]),
            quantity=row["quantity"],
            notional=row["notional"],
            limit_price=row["limit_price"],
            stop_price=row["stop_price"],
            trail_price=row["trail_price"],
            trail_percent=row["trail_percent"],
            extended_hours=row["extended_hours"],
            **{key: Decimal(value) for key, value in legs.items()},
        ),
        correlation_id=row["correlation_id"],
        created_at=row["created_at"],
        status=OrderStatus(row["status"]),
        filled_quantity=row["filled_quantity"],
        filled_value=row["filled_value"],
        event_seq=row["event_seq"],
        hold_id=row["hold_id"] and TransferId(row["hold_id"]),
        hold_amount=row["hold_amount"],
        anomaly=row["anomaly"],
        parent_id=row["parent_id"] and OrderId(row["parent_id"]),
        replaces_id=row["replaces_id"] and OrderId(row["replaces_id"]),
        external=row["external"],
        protective=row["protective"],
        reducing=row["reducing"],
        strategy_id=row["strategy_id"],
        signal_id=row["signal_id"],
        request_id=row["request_id"],
        idempotency_key=row["idempotency_key"],
        request=row["request"],
        succession=_succession(row["succession"]),
        risk_assessment_id=row["risk_assessment_id"],
        generation=row["generation"],
        updated_at=row["updated_at"],
        submitted_at=row["submitted_at"],
        expires_at=row["expires_at"],
        reject_reason=row["reject_reason"],
    )


def execution_from(row: RowMapping) -> Execution:
    """Return the execution that a row of `trades`, with its order's broker id, holds."""
    return Execution(
        broker=row["broker"],
        execution_id=ExecutionId(row["execution_id"]),
        broker_order_id=BrokerOrderId(row["broker_order_id"] or ""),
        symbol=Symbol(row["symbol"]),
        side=Side(row["side"]),
        quantity=row["quantity"],
        price=row["executed_price"],
        executed_at=row["executed_at"],
        fee=row["fees"],
    )


def shown(order: Order) -> dict[str, Any]:
    """Return an order as the API shows it: decimals as plain strings."""
    spec = order.spec
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "broker": order.broker,
        "broker_order_id": order.broker_order_id,
        "account_id": order.account_id,
        "symbol": spec.symbol,
        "side": spec.side,
        "order_type": spec.order_type,
        "order_class": spec.order_class,
        "time_in_force": spec.time_in_force,
        "extended_hours": spec.extended_hours,
        "quantity": text(spec.quantity),
        "notional": text(spec.notional),
        "limit_price": text(spec.limit_price),
        "stop_price": text(spec.stop_price),
        "trail_price": text(spec.trail_price),
        "trail_percent": text(spec.trail_percent),
        "take_profit_limit_price": text(spec.take_profit_limit_price),
        "stop_loss_stop_price": text(spec.stop_loss_stop_price),
        "stop_loss_limit_price": text(spec.stop_loss_limit_price),
        "status": order.status,
        "filled_quantity": plain(order.filled_quantity),
        "filled_avg_price": text(order.filled_avg_price),
        "reject_reason": order.reject_reason,
        "anomaly": order.anomaly,
        "external": order.external,
        "protective": order.protects,
        "reducing": order.reducing,
        "parent_id": order.parent_id,
        "replaces_id": order.replaces_id,
        "strategy_id": order.strategy_id,
        "signal_id": order.signal_id,
        "correlation_id": order.correlation_id,
        "created_at": order.created_at,
        "submitted_at": order.submitted_at,
        "updated_at": order.updated_at,
    }


def with_reversals() -> Select[Any]:
    """Return the query of executions, each with what took it back: `reversed_by` (the reversal's
    id) and `reversed_kind`, both null where it stands."""
    gone = trade_reversals.c
    return select(trades, gone.id.label("reversed_by"), gone.kind.label("reversed_kind")).outerjoin(
        trade_reversals, gone.trade_id == trades.c.id
    )


def _succession(kept: dict[str, str | None] | None) -> Succession | None:
    if kept is None:
        return None
    total, held = kept["total"], kept["hold"]
    return Succession(
        None if total is None else Decimal(total), None if held is None else Decimal(held)
    )


def paged(page: Page) -> Response:
    """Return the answer that holds one page of a list."""
    return json_response({"items": page.items, "next": page.next})


def text(value: Decimal | None) -> str | None:
    """Return a decimal in its shortest plain form."""
    return None if value is None else plain(value)


def gate_from(row: Mapping[Any, Any]) -> Gate | None:
    """Return the kill switch, None where it was never set."""
    if row["state"] is None:
        return None
    return Gate(TradingState(row["state"]), row["generation"], row["flatten"])
