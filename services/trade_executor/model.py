"""An order as the executor knows it, and what a broker says of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from libs.common.contracts.messages import ApprovedOrder, OrderSpec
from libs.common.domain.executions import Execution
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderClass, OrderStatus, OrderType, Side, TimeInForce
from libs.common.kernel.ids import (
    BrokerOrderId,
    ClientOrderId,
    ExecutionId,
    OrderId,
    Symbol,
    TransferId,
    client_order_id,
)
from libs.common.kernel.money import ZERO, notional

EXIT_CLASSES: Final = frozenset({OrderClass.BRACKET, OrderClass.OTO})


@dataclass(frozen=True, slots=True)
class Succession:
    """What an amendment comes to once it has taken its place.

    `total` is the quantity asked for in all, what its forerunner traded included; None for an
    order by an amount of money. `hold` is what the order's own quantity holds as a whole.
    """

    total: Decimal | None
    hold: Decimal | None


@dataclass(frozen=True, slots=True)
class Change:
    """What an amendment changes; None leaves as it is. `trail` is a price or a per cent, as the
    order's own is. `quantity` is the total, executions included."""

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    time_in_force: TimeInForce | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One order, its identity, what was asked, and how far it has come."""

    id: OrderId
    client_order_id: ClientOrderId
    broker: str
    account_id: str
    spec: OrderSpec
    correlation_id: UUID
    created_at: dt.datetime
    status: OrderStatus = OrderStatus.CREATED
    attempt: int = 1
    broker_order_id: BrokerOrderId | None = None
    filled_quantity: Decimal = ZERO
    filled_value: Decimal = ZERO
    event_seq: int = 0
    hold_id: TransferId | None = None
    hold_amount: Decimal | None = None
    anomaly: str | None = None
    parent_id: OrderId | None = None
    replaces_id: OrderId | None = None
    external: bool = False
    protective: bool = False
    reducing: bool = False
    strategy_id: str | None = None
    signal_id: UUID | None = None
    request_id: UUID | None = None
    idempotency_key: str | None = None
    request: Mapping[str, Any] | None = None
    succession: Succession | None = None
    risk_assessment_id: UUID | None = None
    generation: int = 0
    updated_at: dt.datetime | None = None
    submitted_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    reject_reason: str | None = None

    @property
    def symbol(self) -> Symbol:
        """What is traded."""
        return Symbol(self.spec.symbol)

    @property
    def adds_risk(self) -> bool:
        """Whether sending it may make a position larger."""
        return not (self.reducing or self.protective)

    @property
    def protects(self) -> bool:
        """Whether it guards a position: marked so, or the exit of a group, which may have been
        met and adopted before its group was known."""
        return self.protective or self.parent_id is not None

    @property
    def filled_avg_price(self) -> Decimal | None:
        """The mean price of what has traded, None before the first execution."""
        if not self.filled_quantity:
            return None
        return (self.filled_value / self.filled_quantity).quantize(Decimal("0.00000001"))


def order_of(
    approved: ApprovedOrder,
    *,
    broker: str,
    correlation_id: UUID,
    now: dt.datetime,
    idempotency_key: str | None = None,
    request: Mapping[str, Any] | None = None,
) -> Order:
    """Return the order that an approval becomes, not yet sent."""
    order_id = OrderId(approved.order_id)
    return Order(
        id=order_id,
        client_order_id=client_order_id(order_id, 1),
        broker=broker,
        account_id=approved.account_id,
        spec=approved.spec,
        correlation_id=correlation_id,
        created_at=now,
        protective=approved.protective,
        reducing=approved.reducing,
        strategy_id=approved.strategy_id,
        signal_id=approved.signal_id,
        request_id=approved.request_id,
        idempotency_key=idempotency_key,
        request=request,
        risk_assessment_id=approved.assessment.assessment_id,
        generation=approved.generation,
        expires_at=approved.expires_at,
    )


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as the broker shows it. `event` is its status in our words; `status_word` its own.

    `legs` are the exits of a bracket, OCO or OTO, where the broker names them.
    """

    broker_order_id: BrokerOrderId
    client_order_id: str
    symbol: Symbol
    side: Side
    event: OrderEvent
    status_word: str
    spec: OrderSpec
    filled_quantity: Decimal = ZERO
    filled_avg_price: Decimal | None = None
    submitted_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    replaces: BrokerOrderId | None = None
    replaced_by: BrokerOrderId | None = None
    reason: str | None = None
    legs: tuple[BrokerOrder, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def filled_value(self) -> Decimal:
        """What has traded, as money, as far as the mean price tells."""
        return notional(self.filled_quantity, self.filled_avg_price or ZERO)


@dataclass(frozen=True, slots=True)
class Update:
    """One event of the broker's order stream. `event_word` is its own word for `event`.

    `execution` is what was executed; of a `corrected` one, as it stands now. `amends` is the
    execution that a `busted` or `corrected` event takes back, where the venue names it.
    """

    event: OrderEvent
    event_word: str
    order: BrokerOrder
    execution: Execution | None = None
    amends: ExecutionId | None = None
    reason: str | None = None
    ts: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """A position as the broker shows it: signed quantity and mean cost."""

    symbol: Symbol
    quantity: Decimal
    avg_cost: Decimal


def with_standing(order: Order, standing: dict[str, Any], now: dt.datetime) -> Order:
    """Return `order` as the database answered after a write (see `executor_standing`)."""
    hold_id, hold_amount = standing["hold_id"], standing["hold_amount"]
    broker_order_id = standing["broker_order_id"]
    return replace(
        order,
        updated_at=now,
        status=OrderStatus(standing["status"]),
        filled_quantity=Decimal(standing["filled_quantity"]),
        filled_value=Decimal(standing["filled_value"]),
        event_seq=standing["event_seq"],
        hold_id=TransferId(UUID(hold_id)) if hold_id else None,
        hold_amount=Decimal(hold_amount) if hold_amount else None,
        anomaly=standing["anomaly"],
        broker_order_id=BrokerOrderId(broker_order_id) if broker_order_id else None,
        attempt=standing["attempt"],
        client_order_id=ClientOrderId(standing["client_order_id"]),
    )


def worst_price(spec: OrderSpec) -> Decimal | None:
    """Return the most a buy can cost a share, where the order itself says so."""
    if spec.order_type in {OrderType.LIMIT, OrderType.STOP_LIMIT}:
        return spec.limit_price
    return None
