"""Replacing an order: a new order takes the place of the old one once the exchange agrees.

Quantity rule: a request for `qty` means the total wanted, fills of the old order included; the
new order carries what is left of it and starts with nothing filled.
"""

from __future__ import annotations

import copy
from decimal import Decimal

from libs.common.domain.vocabulary import OrderType
from services.broker_simulator.engine import rules
from services.broker_simulator.engine.acceptance import Acceptance
from services.broker_simulator.engine.account import reserved_shares
from services.broker_simulator.engine.behaviour import Mishap
from services.broker_simulator.engine.interventions import Interventions
from services.broker_simulator.engine.model import ZERO, Account, Order, Status
from services.broker_simulator.engine.refusals import forbidden, unprocessable
from services.broker_simulator.engine.registry import Registry
from services.broker_simulator.engine.ticket import Amendment

_REPLACEABLE = frozenset({Status.NEW, Status.PARTIALLY_FILLED, Status.HELD})
_LIMITS = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})


class Replacement:
    """Prepares a successor, and swaps it in when the replace arrives."""

    def __init__(
        self, registry: Registry, acceptance: Acceptance, interventions: Interventions
    ) -> None:
        self._registry = registry
        self._acceptance = acceptance
        self._interventions = interventions

    def request(self, account: Account, order: Order, change: Amendment, ns: int) -> Order:
        """Return the successor, entered as pending; `order` waits as pending_replace."""
        if order.status not in _REPLACEABLE:
            unprocessable(f'unable to replace order, order is in "{order.status}" state')
        self._check(order, change)
        quantity = self._quantity(order, change)
        successor = self._successor(account, order, change, quantity, ns)
        self._reserve(account, order, successor)
        self._registry.add_order(successor)
        order.status_before = order.status
        self._registry.transition(order, Status.PENDING_REPLACE, "pending_replace", ns)
        return successor

    def carry_out(self, successor: Order, ns: int) -> bool:
        """Swap `successor` in; False when that is refused: then it is rejected and the old order,
        where it has not ended, stands as before."""
        assert successor.replaces is not None
        order = self._registry.orders[successor.replaces]
        if order.status is not Status.PENDING_REPLACE:
            self._registry.transition(successor, Status.REJECTED, "rejected", ns)
            self._interventions.reject_replace(order, ns)
            return False
        if self._registry.struck(Mishap.REPLACE_REJECTED, order):
            self._interventions.reject_replace(order, ns)
            return False
        if successor.qty is not None and successor.qty_total is not None:
            left = successor.qty_total - order.filled_qty
            if left <= ZERO:
                self._interventions.reject_replace(order, ns)
                return False
            successor.qty = left
        was_held = order.status_before is Status.HELD
        order.replaced_by = successor.id
        self._registry.transition(order, Status.REPLACED, "replaced", ns)
        self._relink(order, successor)
        if was_held:
            self._registry.transition(successor, Status.HELD, "restated", ns)
            return False
        return True

    def _check(self, order: Order, change: Amendment) -> None:
        if change == Amendment():
            unprocessable("replacement changes nothing")
        if order.notional is not None:
            unprocessable("notional orders cannot be replaced")
        if change.limit_price is not None and order.type not in _LIMITS:
            unprocessable(f"limit_price cannot be set on a {order.type} order")
        if change.stop_price is not None and order.type not in _STOPS:
            unprocessable(f"stop_price cannot be set on a {order.type} order")
        if change.trail is not None and order.type is not OrderType.TRAILING_STOP:
            unprocessable(f"trail cannot be set on a {order.type} order")
        for name, price in (
            ("limit_price", change.limit_price),
            ("stop_price", change.stop_price),
        ):
            if price is not None:
                rules.check_increment(price, name)

    def _quantity(self, order: Order, change: Amendment) -> Decimal:
        assert order.qty is not None
        total = change.qty if change.qty is not None else order.qty
        if total <= order.filled_qty:
            unprocessable(f"qty must be > filled_qty {order.filled_qty}")
        return total

    def _successor(
        self, account: Account, order: Order, change: Amendment, total: Decimal, ns: int
    ) -> Order:
        new = copy.copy(order)
        new.id = str(self._registry.ids.new())
        new.seq = self._registry.next_sequence()
        new.client_order_id = self._acceptance.free_client_id(account, change.client_order_id)
        new.status, new.status_before = Status.PENDING_NEW, None
        new.cancel_rejected = False
        new.replaces = order.id
        new.qty, new.qty_total = total - order.filled_qty, total
        new.filled_qty = new.filled_value = new.filled_money = ZERO
        new.filled_at = None
        new.created_at = new.updated_at = new.submitted_at = ns
        new.rests, new.queue_ahead, new.legs = False, ZERO, []
        if order.group == order.id:
            new.group = new.id
        if change.limit_price is not None:
            new.limit_price = change.limit_price
            new.hold_price = change.limit_price if order.opening else ZERO
        if change.stop_price is not None:
            new.stop_price, new.triggered = change.stop_price, False
        if change.trail is not None:
            if order.trail_price is not None:
                new.trail_price = change.trail
            else:
                new.trail_percent = change.trail
        if change.tif is not None:
            new.tif = change.tif
            new.expires_at = rules.expires_at(
                new.tif, new.extended_hours, self._registry.calendar, ns
            )
        return new

    def _reserve(self, account: Account, order: Order, new: Order) -> None:
        if new.opening:
            cost = new.remaining * new.hold_price
            self._acceptance.check_buying_power(account, cost, released=order.hold)
            return
        if order.status is Status.HELD:
            return
        others = [
            o for o in self._registry.open_orders(account.id, order.symbol) if o.id != order.id
        ]
        reserved = reserved_shares(others, order.side)
        held = abs(self._registry.position_qty(account.id, order.symbol))
        siblings = reserved_shares([o for o in others if o.group == order.group], order.side)
        if new.remaining > held - (reserved - siblings):
            forbidden(
                f"insufficient qty available for order (requested: {new.remaining}, "
                f"available: {held - (reserved - siblings)})"
            )

    def _relink(self, order: Order, successor: Order) -> None:
        """Give the successor the place of `order` in its group."""
        orders = self._registry.orders
        if order.parent is not None:
            root = orders[order.parent]
            root.legs = [successor.id if leg == order.id else leg for leg in root.legs]
            self._registry.touch(root)
        successor.legs, order.legs = order.legs, []
        for leg_id in successor.legs:
            leg = orders[leg_id]
            leg.parent, leg.group = successor.id, successor.id
            self._registry.touch(leg)
