"""Which of our orders the broker is speaking of."""

from __future__ import annotations

import asyncio

from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderClass, OrderStatus
from libs.common.kernel.ids import order_id_from_client
from services.trade_executor.desk import Desk
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.model import BrokerOrder, Order
from services.trade_executor.opening import traded_before_us
from services.trade_executor.ports import Books, Broker

_IN_FLIGHT = frozenset({OrderStatus.SUBMITTING, OrderStatus.OUTCOME_UNKNOWN})
_NEVER_THERE = frozenset({OrderStatus.CREATED, OrderStatus.DENIED, OrderStatus.REJECTED})
_REPLACEMENTS_MAX = 100
_GROUPS_ASKED_MAX = 20


class Identifier:
    """Finds our order for what the broker shows, or adopts it."""

    def __init__(
        self, books: Books, broker: Broker, desk: Desk, lifecycle: Lifecycle, *, legs_wait_s: float
    ) -> None:
        self._books = books
        self._broker = broker
        self._desk = desk
        self._lifecycle = lifecycle
        self._legs_wait_s = legs_wait_s

    async def known(self, found: BrokerOrder) -> Order | None:
        """Return our order, None if it is not in the books."""
        order = self._desk.known_as(found)
        if order is None:
            order = await self._named(found)
            if order is not None and order.client_order_id != found.client_order_id:
                order = None
        if order is None:
            order = await self._books.order_at_broker(found.broker_order_id)
        return self._desk.put(order) if order is not None else None

    async def _named(self, found: BrokerOrder) -> Order | None:
        """Return the order that the broker's order is an attempt of, be it the present one or an
        earlier one."""
        named = order_id_from_client(found.client_order_id)
        if named is None:
            return None
        return self._desk.get(named[0]) or await self._books.order(named[0])

    async def identify(self, found: BrokerOrder) -> Order:
        """Return our order for `found`, adopting what is not in the books.

        An order that carries a foreign name may be a leg of a group whose answer is still under
        way: that answer is waited for before the order is called external.
        """
        order = await self.known(found)
        if order is None and self._group_in_flight(found):
            deadline = asyncio.get_running_loop().time() + self._legs_wait_s
            while order is None and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.05)
                order = await self.known(found)
        if order is None and found.spec.order_class is not OrderClass.SIMPLE:
            order = await self._as_leg(found)
        if order is not None:
            return order
        attempted = await self._named(found)
        if attempted is not None:
            return await self._lifecycle.adopt(found, attempted=attempted)
        return await self._adopt(found, replaced=await self._replaced(found))

    async def _as_leg(self, found: BrokerOrder) -> Order | None:
        """Return our order for a leg that nobody has named yet, None if it is no leg of ours.

        A list shows legs without their parents, so the groups in question are asked for theirs;
        those too whose own answer is still being looked for, as after a restart.
        """
        groups = [
            order
            for order in self._desk.known()
            if order.symbol == found.symbol
            and order.parent_id is None
            and order.spec.order_class is not OrderClass.SIMPLE
            and order.status not in _NEVER_THERE
        ]
        groups.sort(key=lambda order: order.created_at, reverse=True)
        for group in groups[:_GROUPS_ASKED_MAX]:
            whole = await self._whole(group)
            if whole and any(leg.broker_order_id == found.broker_order_id for leg in whole.legs):
                await self.legs(group, whole)
                return await self.known(found)
        return None

    async def _whole(self, group: Order) -> BrokerOrder | None:
        """Return a group as the venue shows it, with its legs; None if it is not there."""
        broker_order_id = group.broker_order_id
        if broker_order_id is None:
            named = await self._broker.find(group.client_order_id)
            if named is None:
                return None
            broker_order_id = named.broker_order_id
        return await self._broker.order(broker_order_id)

    async def _adopt(
        self, found: BrokerOrder, *, replaced: Order | None = None, parent: Order | None = None
    ) -> Order:
        before_us = await traded_before_us(self._books, self._broker, found)
        return await self._lifecycle.adopt(
            found, parent=parent, replaced=replaced, before_us=before_us
        )

    async def _replaced(self, found: BrokerOrder) -> Order | None:
        """Return our order for the one that `found` took the place of. Of a chain of
        replacements that we slept through, every link is adopted, the oldest first."""
        chain: list[BrokerOrder] = []
        before = found.replaces
        order = None
        while before is not None and len(chain) < _REPLACEMENTS_MAX:
            order = await self._books.order_at_broker(before)
            link = None if order is not None else await self._broker.order(before)
            if link is None:
                break
            # Ours may not have learnt its id there yet.
            order = await self.known(link)
            if order is not None:
                break
            chain.append(link)
            before = link.replaces
        for link in reversed(chain):
            order = await self._adopt(link, replaced=order)
        return order

    async def family(self, found: BrokerOrder) -> Order:
        """Identify an order together with its legs, which become its children.

        A list shows legs beside their parent without naming whose they are: of a group that is
        not in the books, the parent is asked.
        """
        grouped = found.spec.order_class is not OrderClass.SIMPLE and not found.legs
        if grouped and await self.known(found) is None:
            found = await self._broker.order(found.broker_order_id) or found
        order = await self.identify(found)
        await self.legs(order, found)
        return order

    async def legs(self, order: Order, found: BrokerOrder) -> None:
        """Make the legs that `found` names children of `order`, also those that were met first
        and taken for external, be it while we adopt them."""
        for leg in found.legs:
            child = await self.known(leg)
            if child is None:
                child = await self._adopt(leg, parent=order)
            if child.parent_id is None:
                await self._lifecycle.happen(
                    child.id,
                    OrderEvent.UNRECOGNISED,
                    reason=f"leg of {order.id}",
                    parent_id=order.id,
                    external=order.external,
                    strategy_id=order.strategy_id,
                )

    def _group_in_flight(self, found: BrokerOrder) -> bool:
        return any(
            order.symbol == found.symbol
            and order.spec.order_class is not OrderClass.SIMPLE
            and order.status in _IN_FLIGHT
            for order in self._desk.open_orders()
        )
