"""An order as it arrives: read from Alpaca's JSON into exact, typed fields.

Numbers may be JSON numbers or strings, as Alpaca takes both; unknown fields are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from libs.common.domain.vocabulary import OrderClass, OrderType, Side, TimeInForce
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.money import QUANTITY_LIMIT, decimal, from_float
from services.broker_simulator.engine.refusals import malformed, unprocessable

ORDER_FIELDS = frozenset(
    {
        "symbol",
        "qty",
        "notional",
        "side",
        "type",
        "time_in_force",
        "limit_price",
        "stop_price",
        "trail_price",
        "trail_percent",
        "extended_hours",
        "client_order_id",
        "order_class",
        "take_profit",
        "stop_loss",
        "position_intent",
        "legs",
    }
)
REPLACE_FIELDS = frozenset(
    {"qty", "time_in_force", "limit_price", "stop_price", "trail", "client_order_id"}
)
_INTENTS = frozenset({"buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close"})
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class ExitTicket:
    """A leg that closes what its entry opens."""

    limit_price: Decimal | None
    stop_price: Decimal | None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request for an order; checked for form, not yet against rules, market or account."""

    symbol: str
    side: Side
    type: OrderType
    tif: TimeInForce
    order_class: OrderClass = OrderClass.SIMPLE
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    client_order_id: str | None = None
    take_profit: ExitTicket | None = None
    stop_loss: ExitTicket | None = None

    @property
    def is_fractional(self) -> bool:
        """Tell whether it asks for parts of a share."""
        return self.notional is not None or (self.qty is not None and self.qty % 1 != 0)


@dataclass(frozen=True, slots=True)
class Amendment:
    """What a replace request changes; None leaves as it is."""

    qty: Decimal | None = None
    tif: TimeInForce | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    client_order_id: str | None = None


def read_ticket(body: Any) -> Ticket:
    """Read an order request. Raises BrokerRefusal naming the field."""
    data = _object(body, ORDER_FIELDS, "order")
    if data.get("legs"):
        unprocessable("legs: multi-leg option orders are not supported")
    side = data.get("side")
    intent = data.get("position_intent")
    if intent is not None and intent not in _INTENTS:
        unprocessable(f"invalid position_intent: {intent!r}")
    if side is None and isinstance(intent, str):
        side = intent.partition("_")[0]
    return Ticket(
        symbol=_text(data.get("symbol"), "symbol"),
        side=_enum(Side, side, "side"),
        type=_enum(OrderType, data.get("type"), "type"),
        tif=_enum(TimeInForce, data.get("time_in_force"), "time_in_force"),
        order_class=_enum(OrderClass, data.get("order_class") or "simple", "order_class"),
        qty=_positive(data.get("qty"), "qty"),
        notional=_positive(data.get("notional"), "notional"),
        limit_price=_positive(data.get("limit_price"), "limit_price"),
        stop_price=_positive(data.get("stop_price"), "stop_price"),
        trail_price=_positive(data.get("trail_price"), "trail_price"),
        trail_percent=_positive(data.get("trail_percent"), "trail_percent"),
        extended_hours=_flag(data.get("extended_hours"), "extended_hours"),
        client_order_id=_client_id(data.get("client_order_id")),
        take_profit=_exit(data.get("take_profit"), "take_profit", {"limit_price"}),
        stop_loss=_exit(data.get("stop_loss"), "stop_loss", {"stop_price", "limit_price"}),
    )


def read_amendment(body: Any) -> Amendment:
    """Read a replace request. Raises BrokerRefusal naming the field."""
    data = _object(body, REPLACE_FIELDS, "order replacement")
    tif = data.get("time_in_force")
    return Amendment(
        qty=_positive(data.get("qty"), "qty"),
        tif=None if tif is None else _enum(TimeInForce, tif, "time_in_force"),
        limit_price=_positive(data.get("limit_price"), "limit_price"),
        stop_price=_positive(data.get("stop_price"), "stop_price"),
        trail=_positive(data.get("trail"), "trail"),
        client_order_id=_client_id(data.get("client_order_id")),
    )


def read_decimal(value: Any, what: str) -> Decimal:
    """Read a JSON number or string exactly as it is printed: 150.1 → Decimal('150.1')."""
    try:
        if isinstance(value, float):
            return from_float(value, what)
        number = decimal(value, what)
    except InvalidInputError as error:
        unprocessable(f"invalid {error}")
    return number


def _object(body: Any, fields: frozenset[str], what: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        malformed(f"{what}: request body must be a JSON object")
    unknown = sorted(set(body) - fields)
    if unknown:
        malformed(f"{what}: unknown field {', '.join(map(repr, unknown))}")
    return body


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        unprocessable(f"{what} is required", 40010001)
    return value


def _client_id(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 128:
        unprocessable("client_order_id must be a string of at most 128 characters", 40010001)
    return value


def _enum(kind: type[E], value: Any, what: str) -> E:
    if value is None:
        unprocessable(f"{what} is required", 40010001)
    try:
        return kind(value)
    except ValueError:
        unprocessable(f"invalid {what}: {value!r}", 40010001)


def _flag(value: Any, what: str) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        unprocessable(f"{what} must be a boolean")
    return value


def _positive(value: Any, what: str) -> Decimal | None:
    if value is None:
        return None
    number = read_decimal(value, what)
    if number <= 0:
        unprocessable(f"{what} must be > 0")
    if number >= QUANTITY_LIMIT:
        unprocessable(f"{what} {number} is too large")
    return number


def _exit(value: Any, what: str, fields: set[str]) -> ExitTicket | None:
    if value is None:
        return None
    data = _object(value, frozenset(fields), what)
    return ExitTicket(
        limit_price=_positive(data.get("limit_price"), f"{what}.limit_price"),
        stop_price=_positive(data.get("stop_price"), f"{what}.stop_price"),
    )
