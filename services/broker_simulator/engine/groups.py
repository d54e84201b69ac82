"""Brackets, OCO and OTO: what happens to an order's relatives when it changes."""

from __future__ import annotations

from decimal import Decimal

from libs.common.domain.vocabulary import OrderClass
from services.broker_simulator.engine.model import Order, Status
from services.broker_simulator.engine.registry import Registry

_EXIT_ROOTS = frozenset({OrderClass.OCO})


class Groups:
    """Keeps the members of an order group consistent."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def after_execution(self, order: Order, quantity: Decimal, ns: int) -> list[Order]:
        """React to a fill of `order`; returns exits that are live now and must meet the market."""
        if self._is_exit(order):
            if not self._registry.behaviour.oco_leak:
                self._settle_siblings(order, quantity, ns)
            return []
        if order.status is Status.FILLED and order.legs:
            return self._release(order, ns)
        return []

    def after_end(self, order: Order, ns: int) -> None:
        """React to an order that ended without being filled."""
        if self._is_exit(order):
            for sibling in self._siblings(order):
                self._registry.transition(sibling, Status.CANCELED, "canceled", ns)
            return
        for leg in self._open_legs(order):
            self._registry.transition(leg, Status.CANCELED, "canceled", ns)

    def on_trigger(self, order: Order, ns: int) -> None:
        """React to a stop that was set off: its sibling leaves the book before it trades."""
        if self._is_exit(order) and not self._registry.behaviour.oco_leak:
            for sibling in self._siblings(order):
                self._registry.transition(sibling, Status.CANCELED, "canceled", ns)

    def _is_exit(self, order: Order) -> bool:
        return order.parent is not None or order.order_class in _EXIT_ROOTS

    def _release(self, entry: Order, ns: int) -> list[Order]:
        released: list[Order] = []
        for leg in self._open_legs(entry):
            if leg.status is Status.HELD:
                leg.qty = entry.filled_qty
                self._registry.transition(leg, Status.NEW, "new", ns)
                released.append(leg)
        return released

    def _settle_siblings(self, order: Order, quantity: Decimal, ns: int) -> None:
        for sibling in self._siblings(order):
            if order.status is Status.FILLED or sibling.remaining <= quantity:
                self._registry.transition(sibling, Status.CANCELED, "canceled", ns)
            elif sibling.qty is not None:
                sibling.qty -= quantity
                sibling.updated_at = ns
                self._registry.touch(sibling)
                self._registry.emit("restated", sibling, ns)

    def _siblings(self, order: Order) -> list[Order]:
        """Return the other open exits of the same group."""
        root = self._registry.orders[order.group]
        members = [root, *(self._registry.orders[leg] for leg in root.legs)]
        return [m for m in members if m.id != order.id and m.is_open and self._is_exit(m)]

    def _open_legs(self, order: Order) -> list[Order]:
        legs = (self._registry.orders[leg] for leg in order.legs)
        return [leg for leg in legs if leg.is_open]
