"""An order kept back until its price is met ("good till triggered"): pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, model_validator

from libs.common.contracts.messages import MarketData
from libs.common.contracts.risk_api import Amount, OrderFields
from libs.common.kernel.ids import OrderId, derived_id
from libs.common.kernel.money import from_float, plain


class TriggerStatus(StrEnum):
    """Where a trigger stands. `firing`: its price was met and its order is on its way."""

    WAITING = "waiting"
    FIRING = "firing"
    FIRED = "fired"
    CANCELED = "canceled"
    EXPIRED = "expired"


ENDED = frozenset({TriggerStatus.FIRED, TriggerStatus.CANCELED, TriggerStatus.EXPIRED})


class TriggerFields(BaseModel):
    """An order and the price that sends it: exactly one of `above` (the market has come to it
    from below) and `below`. `valid_until` is market time; without it the trigger waits on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order: OrderFields
    above: Amount | None = None
    below: Amount | None = None
    valid_until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_price(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("exactly one of above and below is needed")
        return self


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger. `firing` counts how often its price was met; each has an order id of its own."""

    id: UUID
    account_id: str
    idempotency_key: str
    request: dict[str, Any]
    order: OrderFields
    correlation_id: UUID
    created_at: dt.datetime
    above: Decimal | None = None
    below: Decimal | None = None
    valid_until: dt.datetime | None = None
    status: TriggerStatus = TriggerStatus.WAITING
    firing: int = 0
    met_price: Decimal | None = None
    met_at: dt.datetime | None = None
    reason: str | None = None
    updated_at: dt.datetime | None = None

    @property
    def symbol(self) -> str:
        """What is traded."""
        return self.order.symbol

    @property
    def order_id(self) -> OrderId:
        """The id of the order that this firing sends, the same however often it is begun."""
        return OrderId(derived_id("trigger_order", str(self.id), str(self.firing)))


def trigger_id(account_id: str, key: str) -> UUID:
    """Return the id of the one trigger that a key stands for."""
    return derived_id("trigger", account_id, key)


def met(trigger: Trigger, data: MarketData, oldest_ns: int) -> Decimal | None:
    """Return the price that meets the trigger, None if none does.

    A trade at or beyond the price meets it, and a quote whose near side is there: the bid for
    `above`, the ask for `below`, so that a wide spread meets nothing. What is older than
    `oldest_ns` (market time) is not looked at.
    """
    prices = [tick.price for tick in data.trades if tick.ts_event >= oldest_ns]
    for quote in data.quotes:
        if quote.ts_event >= oldest_ns and 0.0 < quote.bid <= quote.ask:
            prices.append(quote.bid if trigger.above is not None else quote.ask)
    for price in prices:
        if price > 0.0 and _beyond(trigger, from_float(price, "price")):
            return from_float(price, "price")
    return None


def _beyond(trigger: Trigger, price: Decimal) -> bool:
    if trigger.above is not None:
        return price >= trigger.above
    assert trigger.below is not None
    return price <= trigger.below


def shown(trigger: Trigger) -> dict[str, Any]:
    """Return a trigger as the API shows it."""
    sent = trigger.status is TriggerStatus.FIRED
    return {
        "id": trigger.id,
        "account_id": trigger.account_id,
        "symbol": trigger.symbol,
        "status": trigger.status,
        "above": _text(trigger.above),
        "below": _text(trigger.below),
        "valid_until": trigger.valid_until,
        "order": trigger.request["order"],
        "order_id": trigger.order_id if sent else None,
        "met_price": _text(trigger.met_price),
        "met_at": trigger.met_at,
        "reason": trigger.reason,
        "correlation_id": trigger.correlation_id,
        "created_at": trigger.created_at,
        "updated_at": trigger.updated_at,
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
