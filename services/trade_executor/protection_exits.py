"""What a protection asks of its exits: how much is left to guard, and the order that guards it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from libs.common.contracts.risk_api import OrderFields, StopLossFields, TakeProfitFields
from libs.common.domain.vocabulary import OrderClass, OrderStatus, OrderType, TimeInForce
from libs.common.kernel.ids import OrderId
from libs.common.kernel.money import ZERO
from services.trade_executor.exits import by_group, is_stop
from services.trade_executor.model import Order
from services.trade_executor.protection_store import Protection


def traded(exits: Sequence[Order]) -> Decimal:
    """Return how much the exits have traded."""
    return sum((order.filled_quantity for order in exits), ZERO)


def left_of(one: Protection, entry: Order | None, exits: Sequence[Order]) -> Decimal | None:
    """Return how much is still to be guarded, None for all there is: of what the entry bought, or
    was asked for, what the exits have not sold yet."""
    quantity = one.quantity
    if quantity is None and entry is not None:
        quantity = entry.filled_quantity
    return None if quantity is None else max(ZERO, quantity - traded(exits))


def is_exit(order: Order) -> bool:
    """Tell whether an order of nobody's protection guards a position all the same."""
    return order.spec.order_class is OrderClass.OCO or (
        is_stop(order) and (order.protective or order.reducing)
    )


def exit_fields(one: Protection, quantity: Decimal) -> OrderFields:
    """Return the exit: a stop, with a take-profit the pair. The venue takes parts of a share for
    the day only."""
    whole = quantity == quantity.to_integral_value()
    force = TimeInForce.GTC if whole else TimeInForce.DAY
    if one.take_profit_price is None or not whole:
        return OrderFields(
            symbol=one.symbol,
            side=one.side,
            order_type=OrderType.STOP,
            time_in_force=force,
            quantity=quantity,
            stop_price=one.stop_price,
        )
    return OrderFields(
        symbol=one.symbol,
        side=one.side,
        order_type=OrderType.LIMIT,
        time_in_force=force,
        order_class=OrderClass.OCO,
        quantity=quantity,
        limit_price=one.take_profit_price,
        take_profit=TakeProfitFields(limit_price=one.take_profit_price),
        stop_loss=StopLossFields(stop_price=one.stop_price),
    )


def traded_groups(
    entry: Order | None, exits: Sequence[Order]
) -> list[tuple[OrderId, Decimal, list[Decimal]]]:
    """Return each exit group's id, its quantity, and what its members have traded. An exit that
    took another's place is for what it asks and what that one had traded."""
    before: dict[OrderId, Decimal] = {}
    found = []
    for root, members in by_group(exits).items():
        for order in members:
            earlier = before.get(order.replaces_id, ZERO) if order.replaces_id else ZERO
            before[order.id] = earlier + order.filled_quantity
        standing = [one for one in members if one.status is not OrderStatus.REPLACED] or members
        # After a split the exits are for more shares than the entry bought.
        total = max(
            (one.spec.quantity or ZERO) + before[one.id] - one.filled_quantity for one in standing
        )
        if entry is not None and root == entry.id and entry.status is not OrderStatus.FILLED:
            total = entry.filled_quantity
        found.append((root, total, [order.filled_quantity for order in members]))
    return found
