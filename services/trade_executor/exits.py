"""Orders as exits: which of them guard a position now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final
from uuid import UUID

from libs.common.domain.protection import Exit, Standing
from libs.common.domain.vocabulary import OrderClass, OrderStatus, OrderType
from libs.common.kernel.ids import OrderId
from libs.common.kernel.money import ZERO
from services.trade_executor.model import Order

_STOPS: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})
_ACTIVE: Final = frozenset(
    {
        OrderStatus.SUBMITTED,
        OrderStatus.ACCEPTED,
        OrderStatus.WORKING,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.PENDING_REPLACE,
        OrderStatus.SUSPENDED,
        OrderStatus.DONE_FOR_DAY,
    }
)
_MOVING: Final = frozenset(
    {
        OrderStatus.CREATED,
        OrderStatus.SUBMITTING,
        OrderStatus.OUTCOME_UNKNOWN,
        OrderStatus.PENDING_CANCEL,
    }
)


def is_stop(order: Order) -> bool:
    """Tell whether an order ends a loss."""
    return order.spec.order_type in _STOPS


def open_quantity(order: Order) -> Decimal:
    """Return what an order may still trade, 0 for one sized by money."""
    return max(ZERO, (order.spec.quantity or ZERO) - order.filled_quantity)


def by_group(orders: Iterable[Order]) -> dict[OrderId, list[Order]]:
    """Return exits by the order that their group began with, whatever took its place since."""
    roots: dict[OrderId, OrderId] = {}
    groups: dict[OrderId, list[Order]] = {}
    for order in sorted(orders, key=_begun):
        begun = order.replaces_id or order.parent_id
        root = order.id if begun is None else roots.get(begun, order.parent_id or order.id)
        roots[order.id] = root
        groups.setdefault(root, []).append(order)
    return groups


def _begun(order: Order) -> tuple[dt.datetime, bool, bool]:
    return order.created_at, order.replaces_id is not None, order.parent_id is not None


def widowed(exits: Iterable[Order]) -> list[Order]:
    """Return what still rests of groups whose stop has ended: it guards nothing, and keeps the
    shares from an exit that would. What took the place of a stop may not be known yet."""
    return [
        order
        for members in by_group(exits).values()
        if _stop_is_gone([one.status for one in members if is_stop(one)])
        for order in members
        if not order.status.is_terminal
    ]


def _stop_is_gone(statuses: Sequence[OrderStatus]) -> bool:
    ended = all(status.is_terminal for status in statuses)
    return ended and any(status is not OrderStatus.REPLACED for status in statuses)


def groups_of(
    orders: Iterable[Order], *, entry: Order | None, owner: UUID | None, ours: bool
) -> list[Exit]:
    """Return exits by group. A stop that is `held` guards where its sibling is at work (the venue
    keeps it for the same shares), not where its entry is incomplete."""
    return [
        one
        for root, members in by_group(orders).items()
        if (one := _group(root, members, entry, owner, ours)) is not None
    ]


def _group(
    root: OrderId, members: Sequence[Order], entry: Order | None, owner: UUID | None, ours: bool
) -> Exit | None:
    live = [order for order in members if not order.status.is_terminal]
    if not live:
        return None
    entered = entry is None or root != entry.id or entry.status is OrderStatus.FILLED
    at_work = any(order.status in _ACTIVE for order in live)
    stops = [order for order in live if is_stop(order)]
    guarding = [
        order
        for order in stops
        if order.status in _ACTIVE or (order.status is OrderStatus.HELD and at_work and entered)
    ]
    pair = [order for order in live if order.spec.order_class is OrderClass.OCO and at_work]
    named = any(is_stop(order) for order in members)
    moving = any(order.status in _MOVING for order in live)
    # An OCO whose second leg has not been named yet has it all the same.
    standing = Standing.IDLE
    if guarding or (pair and not named):
        standing = Standing.ACTIVE
    elif moving:
        standing = Standing.MOVING
    quantity = max((open_quantity(order) for order in guarding or live), default=ZERO)
    return Exit(
        root,
        live[0].spec.side,
        quantity,
        standing,
        owner,
        ours and not (entry is not None and root == entry.id),
    )
