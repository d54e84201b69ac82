"""Alpaca's JSON as our types. Unknown fields are ignored, unknown words become `unrecognised`;
only what an order cannot be without (its ids, symbol, side) is insisted on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.executions import Execution
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderClass, OrderType, Side, TimeInForce
from libs.common.kernel.clock import from_ns, parse_ns
from libs.common.kernel.ids import BrokerOrderId, ExecutionId, Symbol
from libs.common.kernel.money import ZERO, decimal
from services.trade_executor.model import BrokerOrder, BrokerPosition, CashActivity, Update

NAME: Final = "alpaca"
E = OrderEvent
W = TypeVar("W", bound=StrEnum)

# "stopped": a trade is guaranteed at a stated price or better and has not happened yet, so the
# order works. "calculated": no more executions today, only the settlement sums are pending.
STATUS_WORDS: Final = {
    "pending_new": E.ACKNOWLEDGED,
    "pending_review": E.ACKNOWLEDGED,
    "accepted": E.ACCEPTED,
    "accepted_for_bidding": E.ACCEPTED,
    "held": E.HELD,
    "new": E.WORKING,
    "stopped": E.WORKING,
    "partially_filled": E.PARTLY_FILLED,
    "filled": E.FILLED,
    "pending_cancel": E.PENDING_CANCEL,
    "pending_replace": E.PENDING_REPLACE,
    "replaced": E.REPLACED,
    "suspended": E.SUSPENDED,
    "done_for_day": E.DONE_FOR_DAY,
    "calculated": E.DONE_FOR_DAY,
    "canceled": E.CANCELED,
    "expired": E.EXPIRED,
    "rejected": E.REJECTED,
}
EVENT_WORDS: Final = {
    "pending_new": E.ACKNOWLEDGED,
    "accepted": E.ACCEPTED,
    "held": E.HELD,
    "new": E.WORKING,
    "stopped": E.WORKING,
    "partial_fill": E.PARTLY_FILLED,
    "fill": E.FILLED,
    "pending_cancel": E.PENDING_CANCEL,
    "order_cancel_rejected": E.CANCEL_REFUSED,
    "pending_replace": E.PENDING_REPLACE,
    "order_replace_rejected": E.REPLACE_REFUSED,
    "replaced": E.REPLACED,
    "suspended": E.SUSPENDED,
    "done_for_day": E.DONE_FOR_DAY,
    "calculated": E.DONE_FOR_DAY,
    "canceled": E.CANCELED,
    "expired": E.EXPIRED,
    "rejected": E.REJECTED,
    "restated": E.RESTATED,
    "trade_bust": E.BUSTED,
    "trade_correct": E.CORRECTED,
}
_EXECUTING: Final = frozenset({"fill", "partial_fill", "trade_correct"})
_AMENDING: Final = frozenset({"trade_bust", "trade_correct"})


def order_from(body: Mapping[str, Any]) -> BrokerOrder:
    """Read an order. Raises KeyError or ValueError where what must be there is not."""
    word = str(body.get("status", ""))
    return BrokerOrder(
        broker_order_id=BrokerOrderId(str(body["id"])),
        client_order_id=str(body.get("client_order_id") or body["id"]),
        symbol=Symbol(str(body["symbol"])),
        side=Side(str(body["side"])),
        event=STATUS_WORDS.get(word, E.UNRECOGNISED),
        status_word=word,
        spec=_spec(body),
        filled_quantity=_number(body.get("filled_qty"), "filled_qty") or ZERO,
        filled_avg_price=_number(body.get("filled_avg_price"), "filled_avg_price"),
        submitted_at=_moment(body.get("submitted_at")),
        updated_at=_moment(body.get("updated_at")),
        replaces=_id(body.get("replaces")),
        replaced_by=_id(body.get("replaced_by")),
        reason=body.get("reject_reason") or body.get("reason"),
        legs=tuple(order_from(leg) for leg in body.get("legs") or ()),
    )


def update_from(data: Mapping[str, Any]) -> Update:
    """Read the data of a `trade_updates` message. Raises KeyError or ValueError."""
    word = str(data.get("event", ""))
    order = order_from(data["order"])
    amended = data.get("previous_execution_id") if word in _AMENDING else None
    return Update(
        event=EVENT_WORDS.get(word, E.UNRECOGNISED),
        event_word=word,
        order=order,
        execution=_stream_execution(data, order) if word in _EXECUTING else None,
        amends=ExecutionId(str(amended)) if amended else None,
        reason=data.get("reason") or order.reason,
        ts=_moment(data.get("timestamp")),
    )


def _stream_execution(data: Mapping[str, Any], order: BrokerOrder) -> Execution:
    return Execution(
        broker=NAME,
        execution_id=ExecutionId(str(data["execution_id"])),
        broker_order_id=order.broker_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=_needed(data["qty"], "qty"),
        price=_needed(data["price"], "price"),
        executed_at=from_ns(parse_ns(str(data["timestamp"]), "timestamp")),
    )


def execution_from(body: Mapping[str, Any]) -> Execution:
    """Read a FILL activity. Its id is `<time>::<execution id>`: the part after the colons is what
    the stream calls the execution, so either way it is the same one."""
    side = str(body["side"])
    return Execution(
        broker=NAME,
        execution_id=ExecutionId(str(body["id"]).rpartition("::")[2]),
        broker_order_id=BrokerOrderId(str(body["order_id"])),
        symbol=Symbol(str(body["symbol"])),
        side=Side.SELL if side.startswith("sell") else Side(side),
        quantity=_needed(body["qty"], "qty"),
        price=_needed(body["price"], "price"),
        executed_at=from_ns(parse_ns(str(body["transaction_time"]), "transaction_time")),
    )


def cash_activity_from(body: Mapping[str, Any]) -> CashActivity:
    """Read a non-trade activity."""
    identity = str(body["id"])
    return CashActivity(
        id=identity,
        kind=str(body["activity_type"]),
        amount=_number(body.get("net_amount"), "net_amount") or ZERO,
        executed_at=_id_time(identity),
        symbol=str(body.get("symbol") or ""),
    )


def position_from(body: Mapping[str, Any]) -> BrokerPosition:
    """Read a position; a short one has a negative quantity whichever way it is written."""
    quantity = abs(_needed(body["qty"], "qty"))
    short = str(body.get("side", "long")) == "short" or str(body["qty"]).startswith("-")
    return BrokerPosition(
        symbol=Symbol(str(body["symbol"])),
        quantity=-quantity if short else quantity,
        avg_cost=_needed(body["avg_entry_price"], "avg_entry_price"),
    )


def inexpressible(spec: OrderSpec) -> str | None:
    """Return why Alpaca's protocol cannot carry `spec`, None if it can.

    The client library sends numbers as JSON floats: one that does not come back as the same
    decimal must not be sent.
    """
    for name in (
        "quantity", "notional", "limit_price", "stop_price", "trail_price", "trail_percent",
        "take_profit_limit_price", "stop_loss_stop_price", "stop_loss_limit_price",
    ):  # fmt: skip
        value: Decimal | None = getattr(spec, name)
        if value is not None and Decimal(repr(float(value))) != value:
            return f"{name} {value} has more digits than the broker's protocol carries"
    return None


def _spec(body: Mapping[str, Any]) -> OrderSpec:
    limit = _number(body.get("limit_price"), "limit_price")
    plain_type = OrderType.LIMIT if limit is not None else OrderType.MARKET
    return OrderSpec(
        symbol=str(body["symbol"]),
        side=Side(str(body["side"])),
        order_type=_word(OrderType, body.get("type") or body.get("order_type"), plain_type),
        time_in_force=_word(TimeInForce, body.get("time_in_force"), TimeInForce.DAY),
        order_class=_word(OrderClass, body.get("order_class"), OrderClass.SIMPLE),
        quantity=_number(body.get("qty"), "qty"),
        notional=_number(body.get("notional"), "notional"),
        limit_price=limit,
        stop_price=_number(body.get("stop_price"), "stop_price"),
        trail_price=_number(body.get("trail_price"), "trail_price"),
        trail_percent=_number(body.get("trail_percent"), "trail_percent"),
        extended_hours=bool(body.get("extended_hours", False)),
    )


def _word(kind: type[W], value: object, otherwise: W) -> W:
    try:
        return kind(str(value))
    except ValueError:
        return otherwise


def _number(value: object, what: str) -> Decimal | None:
    if value is None or value == "":
        return None
    return _needed(value, what)


def _needed(value: object, what: str) -> Decimal:
    return decimal(repr(value) if isinstance(value, float) else str(value), what)


def _moment(value: object) -> dt.datetime | None:
    return None if not value else from_ns(parse_ns(str(value)))


def _id(value: object) -> BrokerOrderId | None:
    return BrokerOrderId(str(value)) if value else None


def _id_time(identity: str) -> dt.datetime:
    """Read the time in an activity's id: `20190304093001123::<uuid>`."""
    digits = identity.partition("::")[0]
    whole = dt.datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=dt.UTC)
    return whole + dt.timedelta(milliseconds=int(digits[14:17] or 0))
