"""What it takes to close a position: the intent that is on record, and pure decisions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from libs.common.contracts.risk_api import Amount, OrderFields, StopLossFields, TakeProfitFields
from libs.common.domain.vocabulary import OrderClass, OrderType, Side, TimeInForce
from libs.common.kernel.ids import derived_id
from libs.common.kernel.money import PRICE_QUANTUM, ZERO
from services.trade_executor.model import Order

STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})


class ClosingStatus(StrEnum):
    """How far a closing has come."""

    OPEN = "open"
    CLOSED = "closed"
    FAILED = "failed"


class CloseFields(BaseModel):
    """How much of a position to close: all of it where neither is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: Amount | None = None
    percent: Annotated[Decimal, Field(gt=0, le=100, decimal_places=4)] | None = None

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.quantity is not None and self.percent is not None:
            raise ValueError("only one of quantity and percent may be given")
        return self


@dataclass(frozen=True, slots=True)
class Closing:
    """The intent to close a position.

    `exits` are the orders that were cancelled to free its shares, `attempt` counts the closing
    orders; the id of each follows from the closing's and that number.
    """

    id: UUID
    account_id: str
    idempotency_key: str
    request: Mapping[str, Any]
    symbol: str
    cause: str
    correlation_id: UUID
    created_at: dt.datetime
    quantity: Decimal | None = None
    percent: Decimal | None = None
    status: ClosingStatus = ClosingStatus.OPEN
    exits: tuple[UUID, ...] = ()
    attempt: int = 0
    order_quantity: Decimal | None = None
    order_id: UUID | None = None
    reason: str | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing of the position is to be left."""
        return self.quantity is None and self.percent in (None, Decimal(100))


def closing_id(account_id: str, symbol: str, key: str) -> UUID:
    """Return the id of the closing that a key stands for."""
    return derived_id("closing", f"{account_id}:{symbol}:{key}")


def order_id_of_closing(closing_id: UUID, attempt: int) -> UUID:
    """Return the id of a closing's order."""
    return derived_id("closing_order", f"{closing_id}:{attempt}")


def quantity_to_close(
    closing: Closing,
    ours: Decimal,
    theirs: Decimal,
    traded: Decimal = ZERO,
    step: Decimal | None = None,
) -> Decimal:
    """Return how much to trade: what is asked for less what earlier attempts `traded`, and never
    more than both our books and the broker show, so that nothing flips through zero. In whole
    steps of `step`, which the venue takes; None where the instrument is not known.

    60 per cent of 25 is 15; asked for 40 with 30 here and 25 there it is 25.
    """
    exact = _wanted(closing, ours, theirs, traded)
    return exact if step is None else exact - exact % step


def _wanted(closing: Closing, ours: Decimal, theirs: Decimal, traded: Decimal) -> Decimal:
    if ours * theirs <= 0:
        return ZERO
    held = min(abs(ours), abs(theirs))
    if closing.quantity is not None:
        return max(ZERO, min(closing.quantity - traded, held))
    if closing.percent is None:
        return held
    wanted = (held + traded) * closing.percent / 100
    return max(ZERO, wanted.quantize(PRICE_QUANTUM, rounding=ROUND_DOWN) - traded)


def in_the_way(closing: Closing, orders: Sequence[Order], side: Side) -> list[Order]:
    """Return the open orders to cancel first: those on the closing side reserve shares; to close
    all, the others go too, for they would open anew."""
    return [
        order
        for order in orders
        if order.symbol == closing.symbol
        and order.id != closing.order_id
        and (closing.whole or order.spec.side is side)
    ]


def restorations(
    exits: Sequence[Order], side: Side, held: Decimal
) -> list[tuple[UUID, OrderFields]]:
    """Return the exits to place again, each with the id of the one that it stands for.

    Only what was on the closing `side`. A stop and a limit of one group become an OCO, so that
    they share the shares that they reserve; no more than is `held` is covered.
    """
    groups: dict[UUID, list[Order]] = {}
    found: list[tuple[UUID, OrderFields]] = []
    for one in exits:
        if one.spec.side is side and one.spec.quantity is not None:
            groups.setdefault(one.parent_id or one.id, []).append(one)
    left = held
    for name, members in groups.items():
        stop = next((one for one in members if one.spec.order_type in STOPS), None)
        limit = next((one for one in members if one.spec.order_type is OrderType.LIMIT), None)
        kept = stop or limit
        if kept is None or kept.spec.quantity is None:
            continue
        quantity = min(kept.spec.quantity - kept.filled_quantity, left)
        if quantity <= 0:
            continue
        left -= quantity
        pair = _pair(kept, stop, limit, quantity)
        if pair is None:
            found.append((kept.id, _single(kept, quantity)))
        else:
            found.append((name, pair))
    return found


def _tif(order: Order) -> TimeInForce:
    tif = order.spec.time_in_force
    return tif if tif in (TimeInForce.DAY, TimeInForce.GTC) else TimeInForce.DAY


def _single(order: Order, quantity: Decimal) -> OrderFields:
    spec = order.spec
    return OrderFields(
        symbol=spec.symbol,
        side=spec.side,
        order_type=spec.order_type,
        time_in_force=_tif(order),
        quantity=quantity,
        limit_price=spec.limit_price,
        stop_price=spec.stop_price,
        trail_price=spec.trail_price,
        trail_percent=spec.trail_percent,
    )


def _pair(
    kept: Order, stop: Order | None, limit: Order | None, quantity: Decimal
) -> OrderFields | None:
    """Return the OCO that a stop and a limit make; None where one of the two is lacking. An OCO
    is its own limit, and tells of its stop even where that leg was never named to us."""
    if limit is None:
        return None
    terms = limit.spec
    whole = terms.order_class is OrderClass.OCO
    profit = terms.take_profit_limit_price if whole else terms.limit_price
    if stop is not None:
        stop_price, stop_limit = stop.spec.stop_price, stop.spec.limit_price
    elif whole:
        stop_price, stop_limit = terms.stop_loss_stop_price, terms.stop_loss_limit_price
    else:
        return None
    if profit is None or stop_price is None:
        return None
    return OrderFields(
        symbol=kept.spec.symbol,
        side=kept.spec.side,
        order_type=OrderType.LIMIT,
        order_class=OrderClass.OCO,
        time_in_force=_tif(kept),
        quantity=quantity,
        take_profit=TakeProfitFields(limit_price=profit),
        stop_loss=StopLossFields(stop_price=stop_price, limit_price=stop_limit),
    )
