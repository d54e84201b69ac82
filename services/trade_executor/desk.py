"""The orders in memory: a cache of the rows, and one lock an order so that its steps are serial."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from weakref import WeakValueDictionary

from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import BrokerOrderId, OrderId, order_id_from_client
from services.trade_executor.metrics import ORDERS_OPEN
from services.trade_executor.model import BrokerOrder, Order


class Desk:
    """Holds every open order and the last `ended_max` that came to an end.

    It is written only with what the database has answered, so it can be behind the venue but
    never ahead of the books.
    """

    def __init__(self, ended_max: int = 5000) -> None:
        self._open: dict[OrderId, Order] = {}
        self._ended: OrderedDict[OrderId, Order] = OrderedDict()
        self._at_broker: dict[BrokerOrderId, OrderId] = {}
        self._locks: WeakValueDictionary[OrderId, asyncio.Lock] = WeakValueDictionary()
        self._ended_max = ended_max
        # Set once the books have been made equal to the broker's at the start.
        self.opened = False

    def require_opened(self) -> None:
        """Raise UnavailableError before the start has come to its end: what is begun meanwhile
        could not be told from what a former life has left behind."""
        if not self.opened:
            raise UnavailableError("starting: the books are being compared with the broker's")

    def lock(self, order_id: OrderId) -> asyncio.Lock:
        """Return the lock that makes the steps of one order serial."""
        lock = self._locks.get(order_id)
        if lock is None:
            lock = self._locks[order_id] = asyncio.Lock()
        return lock

    def put(self, order: Order) -> Order:
        """Keep an order as the database answered it."""
        if order.broker_order_id is not None:
            self._at_broker[order.broker_order_id] = order.id
        if not order.status.is_terminal:
            self._ended.pop(order.id, None)
            self._open[order.id] = order
        else:
            self._open.pop(order.id, None)
            self._ended[order.id] = order
            self._ended.move_to_end(order.id)
            while len(self._ended) > self._ended_max:
                _, dropped = self._ended.popitem(last=False)
                if dropped.broker_order_id is not None:
                    self._at_broker.pop(dropped.broker_order_id, None)
        ORDERS_OPEN.set(len(self._open))
        return order

    def heir_of(self, order_id: OrderId) -> Order | None:
        """Return the open order that is to take the place of another."""
        heirs = (order for order in self._open.values() if order.replaces_id == order_id)
        return next(heirs, None)

    def load(self, orders: Iterable[Order]) -> None:
        """Keep many."""
        for order in orders:
            self.put(order)

    def get(self, order_id: OrderId) -> Order | None:
        """Return an order if it is in memory."""
        return self._open.get(order_id) or self._ended.get(order_id)

    def known_as(self, found: BrokerOrder) -> Order | None:
        """Return our order for what the broker shows, by its id or by ours.

        An earlier attempt of an order, which arrives after a later one was made, is not it.
        """
        order_id = self._at_broker.get(found.broker_order_id)
        if order_id is not None:
            return self.get(order_id)
        named = order_id_from_client(found.client_order_id)
        order = self.get(named[0]) if named else None
        return (
            order if order is not None and order.client_order_id == found.client_order_id else None
        )

    def known(self) -> list[Order]:
        """Return the orders in memory, those too that ended lately."""
        return [*self._open.values(), *self._ended.values()]

    def open_orders(self) -> list[Order]:
        """Return the orders that have not come to an end, oldest first."""
        return sorted(self._open.values(), key=lambda order: (order.created_at, order.id))
