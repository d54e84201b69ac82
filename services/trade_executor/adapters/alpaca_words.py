"""Alpaca's JSON as our types. Unknown fields are ignored, unknown words become `unrecognised`;
only what an order cannot be without (its ids, symbol, side) is insisted on."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Reversal
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderClass, OrderType, Side, TimeInForce
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.ids import BrokerOrderId, ExecutionId, Symbol
from libs.common.kernel.money import MONEY_LIMIT, ZERO
from services.trade_executor.adapters.alpaca_fields import Fields
from services.trade_executor.model import BrokerOrder, BrokerPosition, Update

NAME: Final = "alpaca"
E = OrderEvent

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


def order_from(body: object) -> BrokerOrder:
    """Read an order. Raises InvalidInputError naming the field that cannot be read."""
    return _order(Fields(body, "order"))


def _order(fields: Fields, *, with_legs: bool = True) -> BrokerOrder:
    word = fields.word("status")
    identity = fields.name("id")
    return BrokerOrder(
        broker_order_id=BrokerOrderId(identity),
        client_order_id=fields.optional_name("client_order_id") or identity,
        symbol=Symbol(fields.name("symbol")),
        side=fields.enum(Side, "side"),
        event=STATUS_WORDS.get(word, E.UNRECOGNISED),
        status_word=word,
        spec=_spec(fields),
        filled_quantity=fields.optional_not_negative("filled_qty") or ZERO,
        filled_avg_price=fields.optional_not_negative("filled_avg_price"),
        submitted_at=fields.optional_moment("submitted_at"),
        updated_at=fields.optional_moment("updated_at"),
        replaces=_id(fields, "replaces"),
        replaced_by=_id(fields, "replaced_by"),
        reason=fields.reason("reject_reason", "reason"),
        # A leg has none of its own; what claims to is not followed.
        legs=tuple(_order(leg, with_legs=False) for leg in fields.objects("legs"))
        if with_legs
        else (),
    )


def update_from(body: object) -> Update:
    """Read the data of a `trade_updates` message. Raises InvalidInputError naming the field."""
    data = Fields(body, "update")
    word = data.word("event")
    order = _order(data.inner("order"))
    amended = data.optional_name("previous_execution_id") if word in _AMENDING else None
    return Update(
        event=EVENT_WORDS.get(word, E.UNRECOGNISED),
        event_word=word,
        order=order,
        execution=_stream_execution(data, order) if word in _EXECUTING else None,
        amends=ExecutionId(amended) if amended else None,
        reason=data.reason("reason") or order.reason,
        ts=data.optional_moment("timestamp"),
    )


def _stream_execution(data: Fields, order: BrokerOrder) -> Execution:
    return Execution(
        broker=NAME,
        execution_id=ExecutionId(data.name("execution_id")),
        broker_order_id=order.broker_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=data.positive("qty"),
        price=data.positive("price"),
        executed_at=data.moment("timestamp"),
    )


def execution_from(body: object) -> Execution:
    """Read a FILL activity. Its id is `<time>::<execution id>`: the part after the colons is what
    the stream calls the execution, so either way it is the same one."""
    fields = Fields(body, "activity")
    side = fields.word("side")
    return Execution(
        broker=NAME,
        execution_id=ExecutionId(fields.name("id").rpartition("::")[2]),
        broker_order_id=BrokerOrderId(fields.name("order_id")),
        symbol=Symbol(fields.name("symbol")),
        side=Side.SELL if side.startswith("sell") else fields.enum(Side, "side"),
        quantity=fields.positive("qty"),
        price=fields.positive("price"),
        executed_at=fields.moment("transaction_time"),
    )


def amends(body: object) -> bool:
    """Tell whether a FILL activity is about an earlier one: it took it back, or corrected it."""
    if not isinstance(body, dict):
        return False
    fields = Fields(body, "activity")
    return not _AMENDING.isdisjoint((fields.word("type"), fields.word("execution_type")))


def reversal_from(body: object) -> Reversal:
    """Read a FILL activity that takes an earlier one back, or corrects it."""
    record, fields = execution_from(body), Fields(body, "activity")
    busted = "trade_bust" in (fields.word("type"), fields.word("execution_type"))
    return Reversal(
        broker=NAME,
        original=ExecutionId(fields.name("previous_execution_id")),
        broker_order_id=record.broker_order_id,
        symbol=record.symbol,
        reversed_at=record.executed_at,
        record_id=record.execution_id,
        replacement=None if busted else record,
    )


def is_trade(body: object) -> bool:
    """Tell whether an activity is an execution."""
    return isinstance(body, dict) and body.get("activity_type") == "FILL"


def activity_from(body: object) -> Activity:
    """Read a non-trade activity."""
    fields = Fields(body, "activity")
    identity = fields.name("id")
    return Activity(
        broker=NAME,
        id=identity,
        kind=fields.name("activity_type"),
        amount=fields.optional_money("net_amount") or ZERO,
        executed_at=_id_time(identity),
        symbol=fields.optional_name("symbol") or "",
        quantity=fields.optional_number("qty") or ZERO,
        price=fields.optional_not_negative("price") or ZERO,
        description=fields.reason("description") or "",
    )


def position_from(body: object) -> BrokerPosition:
    """Read a position; a short one has a negative quantity whichever way it is written."""
    fields = Fields(body, "position")
    quantity = fields.number("qty")
    short = fields.word("side") == "short" or quantity < 0
    return BrokerPosition(
        symbol=Symbol(fields.name("symbol")),
        quantity=-abs(quantity) if short else quantity,
        avg_cost=fields.number("avg_entry_price"),
    )


def cash_from(body: object) -> Decimal:
    """Read the cash of an account."""
    return Fields(body, "account").number("cash", below=MONEY_LIMIT)


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


def _spec(fields: Fields) -> OrderSpec:
    limit = fields.optional_not_negative("limit_price")
    plain_type = OrderType.LIMIT if limit is not None else OrderType.MARKET
    return OrderSpec(
        symbol=fields.name("symbol"),
        side=fields.enum(Side, "side"),
        order_type=fields.enum_or(OrderType, plain_type, "type", "order_type"),
        time_in_force=fields.enum_or(TimeInForce, TimeInForce.DAY, "time_in_force"),
        order_class=fields.enum_or(OrderClass, OrderClass.SIMPLE, "order_class"),
        quantity=fields.optional_not_negative("qty"),
        notional=fields.optional_not_negative("notional"),
        limit_price=limit,
        stop_price=fields.optional_not_negative("stop_price"),
        trail_price=fields.optional_not_negative("trail_price"),
        trail_percent=fields.optional_not_negative("trail_percent"),
        extended_hours=fields.flag("extended_hours"),
    )


def _id(fields: Fields, field: str) -> BrokerOrderId | None:
    name = fields.optional_name(field)
    return BrokerOrderId(name) if name else None


def _id_time(identity: str) -> dt.datetime:
    """Read the time in an activity's id: `20190304093001123::<uuid>`."""
    digits = identity.partition("::")[0]
    try:
        whole = dt.datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=dt.UTC)
        return whole + dt.timedelta(milliseconds=int(digits[14:17] or 0))
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"activity.id: {identity!r} does not begin with a time") from error
