"""What the trade executor's routes answer with, as OpenAPI tells it."""

from __future__ import annotations

import datetime as dt
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from libs.common.domain.vocabulary import (
    OrderClass,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from libs.common.runtime.openapi import row_of
from libs.common.runtime.schema.execution import (
    discrepancies,
    order_events,
    reconciliations,
)
from libs.common.runtime.schema.tieouts import ledger_tieouts
from services.trade_executor.closing import ClosingStatus
from services.trade_executor.dossier import Leg, Milestones
from services.trade_executor.trigger import TriggerStatus

Row = dict[str, Any]
ORDER_EVENT = row_of(order_events)
DISCREPANCY = row_of(discrepancies)
TIE_OUT = row_of(ledger_tieouts)
RECONCILIATION = {
    "runs": {"type": "array", "items": row_of(reconciliations)},
    "discrepancies": {"type": "array", "items": DISCREPANCY},
}


class OrderShape(TypedDict):
    """An order: decimals as plain strings."""

    id: UUID
    client_order_id: str
    broker: str
    broker_order_id: str | None
    account_id: str
    symbol: str
    side: Side
    order_type: OrderType
    order_class: OrderClass
    time_in_force: TimeInForce
    extended_hours: bool
    quantity: str | None
    notional: str | None
    limit_price: str | None
    stop_price: str | None
    trail_price: str | None
    trail_percent: str | None
    take_profit_limit_price: str | None
    stop_loss_stop_price: str | None
    stop_loss_limit_price: str | None
    status: OrderStatus
    filled_quantity: str
    filled_avg_price: str | None
    reject_reason: str | None
    anomaly: str | None
    external: bool
    protective: bool
    reducing: bool
    parent_id: UUID | None
    replaces_id: UUID | None
    strategy_id: str | None
    signal_id: UUID | None
    correlation_id: UUID
    created_at: dt.datetime
    submitted_at: dt.datetime | None
    updated_at: dt.datetime | None


class TradeShape(TypedDict):
    """An execution, and what took it back, if anything did."""

    id: UUID
    order_id: UUID
    account_id: str
    broker: str
    execution_id: str
    symbol: str
    side: Side
    executed_at: dt.datetime
    strategy_id: str | None
    signal_id: UUID | None
    correlation_id: UUID
    booked_at: dt.datetime
    reversed_by: UUID | None
    reversed_kind: str | None
    quantity: str
    price: str
    commission: str
    fees: str
    realized_pnl: str


class UnreadableShape(TypedDict):
    """What the broker said and nobody could read."""

    seq: int
    ts: dt.datetime
    source: str
    call: str | None
    reason: str
    status: int | None
    size: int
    body: str


class ClosingShape(TypedDict):
    """A position that is being closed."""

    id: UUID
    symbol: str
    status: ClosingStatus
    cause: str
    quantity: str | None
    percent: str | None
    order_id: UUID | None
    exits: list[UUID]
    reason: str | None
    created_at: dt.datetime
    correlation_id: UUID


class TriggerShape(TypedDict):
    """An order kept back until its price is met."""

    id: UUID
    account_id: str
    symbol: str
    status: TriggerStatus
    above: str | None
    below: str | None
    valid_until: dt.datetime | None
    order: Row
    order_id: UUID | None
    met_price: str | None
    met_at: dt.datetime | None
    reason: str | None
    correlation_id: UUID
    created_at: dt.datetime
    updated_at: dt.datetime | None


class ProtectionShape(TypedDict):
    """What is guarded, and how much of it has its exits at the broker."""

    id: UUID
    symbol: str
    side: Side
    quantity: str | None
    stop_price: str
    take_profit_price: str | None
    entry_id: UUID | None
    actor: str
    ended: NotRequired[bool]
    needed: NotRequired[str]
    active: NotRequired[str]
    missing: NotRequired[str]


class CostShape(TypedDict):
    """What trading cost against the arrival price."""

    arrival_price: str | None
    average_price: str | None
    quantity: str
    slippage_bps: str | None
    slippage: str | None
    fees: str
    total: str | None


class DossierShape(TypedDict):
    """An order's whole story."""

    order: OrderShape
    tick: Row | None
    bar: Row | None
    signal: Row | None
    judgement: Row | None
    events: list[Row]
    wire: list[Row]
    executions: list[Row]
    ledger: list[Row]
    milestones: Milestones
    latency: list[Leg]
    cost: CostShape


class FindingsShape(TypedDict):
    """What a comparison with the broker found and did."""

    executions_booked: int
    executions_aliased: int
    executions_reversed: int
    orders_moved: int
    orders_adopted: int
    orders_restated: int
    cash_activities: int
    doubts: bool
    details: list[str]


def object_of(**fields: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with exactly these fields."""
    return {
        "type": "object",
        "required": list(fields),
        "properties": fields,
        "additionalProperties": False,
    }
