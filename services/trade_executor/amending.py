"""What an amendment makes of an order: pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from msgspec import structs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from libs.common.contracts.messages import OrderSpec
from libs.common.contracts.risk_api import (
    PRICED_BY_LIMIT,
    PRICED_BY_STOP,
    Amount,
    OrderFields,
    written_plainly,
)
from libs.common.domain.order_meanings import WHY_MEANINGS
from libs.common.domain.orders import OrderEvent, apply
from libs.common.domain.vocabulary import OrderClass, OrderType, TimeInForce
from libs.common.kernel.errors import ConflictError, InvalidInputError
from libs.common.kernel.money import plain
from services.trade_executor.model import Change, Order


class AmendFields(BaseModel):
    """What is to change of an order; at least one. `quantity` is the total wanted, what has been
    executed included; `trail` is a price or a per cent, as the order's own is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: Amount | None = None
    limit_price: Amount | None = None
    stop_price: Amount | None = None
    trail: Annotated[Decimal, Field(gt=0, max_digits=20, decimal_places=8), written_plainly] | (
        None
    ) = None
    time_in_force: TimeInForce | None = None


def require_replaceable(order: Order) -> None:
    """Raise ConflictError where an order cannot be amended as it stands."""
    step = apply(order.status, OrderEvent.ASK_REPLACE)
    if step.refused:
        why = WHY_MEANINGS[step.why] if step.why else ""
        raise ConflictError(f"order {order.id} is {order.status} and cannot be amended. {why}")
    if order.spec.quantity is None:
        raise ConflictError(f"order {order.id} is for an amount of money and cannot be amended")
    if order.broker_order_id is None:
        raise ConflictError(f"order {order.id} is not known at the broker yet")


def amended(order: Order, fields: AmendFields) -> tuple[OrderSpec, Decimal, Change]:
    """Return what would be left to trade, the total wanted, and what the broker is to be told.

    Raises InvalidInputError naming the field that does not fit the order, or that nothing would
    change. Worked: 100 asked for, 30 executed, quantity 80 → 50 left, 80 in all.
    """
    spec, kind = order.spec, order.spec.order_type
    by_limit = kind in PRICED_BY_LIMIT or spec.order_class is OrderClass.OCO
    _require(fields.limit_price is None or by_limit, "limit_price", f"a {kind} order has none")
    _require(
        fields.stop_price is None or kind in PRICED_BY_STOP,
        "stop_price",
        f"a {kind} order has none",
    )
    _require(
        fields.trail is None or kind is OrderType.TRAILING_STOP, "trail", f"a {kind} order has none"
    )
    total = _total(order, fields.quantity)
    present = {
        "quantity": spec.quantity,
        "limit_price": _limit(spec),
        "stop_price": spec.stop_price,
        "trail": spec.trail_price or spec.trail_percent,
        "time_in_force": spec.time_in_force,
    }
    wished = {name: getattr(fields, name) for name in present}
    changed = {n for n, value in wished.items() if value is not None and value != present[n]}
    _require(bool(changed), "body", "nothing to change: the order is as asked for already")
    new = structs.replace(
        spec,
        quantity=total - order.filled_quantity,
        time_in_force=fields.time_in_force or spec.time_in_force,
        **_prices(spec, fields),
    )
    change = Change(
        quantity=fields.quantity if "quantity" in changed else None,
        limit_price=_limit(new) if by_limit else None,
        stop_price=new.stop_price if kind in PRICED_BY_STOP else None,
        trail=fields.trail if "trail" in changed else None,
        time_in_force=fields.time_in_force if "time_in_force" in changed else None,
    )
    return new, total, change


def is_leg(order: Order) -> bool:
    """Tell whether an order is an exit leg of a group."""
    return order.parent_id is not None and order.spec.order_class is not OrderClass.SIMPLE


def fields_of(spec: OrderSpec, *, leg: bool) -> OrderFields:
    """Return a spec as it is brought before the risk manager; a leg stands alone. Raises
    InvalidInputError naming what does not go together."""
    values: dict[str, Any] = {
        name: getattr(spec, name)
        for name in (
            "symbol", "side", "order_type", "time_in_force", "quantity", "notional", "limit_price",
            "stop_price", "trail_price", "trail_percent", "extended_hours",
        )
    }  # fmt: skip
    if not leg:
        values["order_class"] = spec.order_class
        if spec.take_profit_limit_price is not None:
            values["take_profit"] = {"limit_price": spec.take_profit_limit_price}
        if spec.stop_loss_stop_price is not None:
            values["stop_loss"] = {
                "stop_price": spec.stop_loss_stop_price,
                "limit_price": spec.stop_loss_limit_price,
            }
    try:
        return OrderFields.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidInputError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from error


def _total(order: Order, wished: Decimal | None) -> Decimal:
    assert order.spec.quantity is not None
    if wished is None:
        return order.spec.quantity
    _require(not is_leg(order), "quantity", "an exit's quantity follows its entry's")
    _require(wished % 1 == 0, "quantity", "the broker amends to whole shares only")
    done = order.filled_quantity
    _require(
        wished > done,
        "quantity",
        f"{plain(wished)} is not more than the {plain(done)} executed already; cancel to stop here",
    )
    return wished


def _prices(spec: OrderSpec, fields: AmendFields) -> dict[str, Decimal]:
    prices: dict[str, Decimal] = {}
    if fields.limit_price is not None:
        if spec.order_class is OrderClass.OCO:
            prices["take_profit_limit_price"] = fields.limit_price
        if spec.order_class is not OrderClass.OCO or spec.limit_price is not None:
            prices["limit_price"] = fields.limit_price
    if fields.stop_price is not None:
        prices["stop_price"] = fields.stop_price
    if fields.trail is not None:
        prices["trail_price" if spec.trail_price is not None else "trail_percent"] = fields.trail
    return prices


def _limit(spec: OrderSpec) -> Decimal | None:
    return spec.take_profit_limit_price if spec.order_class is OrderClass.OCO else spec.limit_price


def _require(fine: bool, field: str, why: str) -> None:
    if not fine:
        raise InvalidInputError(f"{field}: {why}")
