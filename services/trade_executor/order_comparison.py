"""Orders here and at the broker: adopting, moving, restating, and what is missing there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderClass, OrderStatus
from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import OrderId
from services.trade_executor.agreement import Twice, restated
from services.trade_executor.desk import Desk
from services.trade_executor.findings import Findings
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.logic import news_of
from services.trade_executor.model import BrokerOrder, Order
from services.trade_executor.ports import Broker, Discrepancy

_IN_FLIGHT: Final = frozenset(
    {OrderStatus.CREATED, OrderStatus.SUBMITTING, OrderStatus.OUTCOME_UNKNOWN}
)


class OrderComparison:
    """Makes our orders stand where the broker's do.

    "Not found", and an order alive that we hold for ended, mean nothing until they have been seen
    twice, a settle time apart, with no event of the order in between.
    """

    def __init__(
        self,
        broker: Broker,
        desk: Desk,
        lifecycle: Lifecycle,
        identifier: Identifier,
        clock: Clock,
        settle_s: float,
    ) -> None:
        self._broker = broker
        self._desk = desk
        self._lifecycle = lifecycle
        self._identifier = identifier
        self._clock = clock
        self._odd = Twice(settle_s)

    async def lacks_executions(self, found: Sequence[BrokerOrder]) -> bool:
        """Tell whether an order there is unknown here, or has traded more than we booked."""
        for one in found:
            order = await self._identifier.known(one)
            if order is None or one.filled_quantity > order.filled_quantity:
                return True
        return False

    async def adopt(self, found: Sequence[BrokerOrder], findings: Findings) -> None:
        """Take in orders that are not in our books, whatever has become of them.

        Our own names first: a group that was being sent names its legs before they are met.
        """
        for one in sorted(found, key=lambda one: not one.client_order_id.startswith("tw-")):
            if await self._identifier.known(one) is None:
                await self._identifier.family(one)
                findings.orders_adopted += 1

    def standing(self) -> dict[OrderId, int]:
        """Return how far the history of each open order has come: what is told of it by an
        answer that was asked for now is old news once it has moved on."""
        return {order.id: order.event_seq for order in self._desk.open_orders()}

    async def compare(
        self,
        open_there: Sequence[BrokerOrder],
        standing: Mapping[OrderId, int],
        findings: Findings,
    ) -> bool:
        """Apply what the broker says of its open orders and of ours; return whether some order
        has executions that are not booked. `standing` was taken before the broker was asked."""
        ours_before = {order.id for order in self._desk.open_orders()}
        await self.adopt(open_there, findings)
        listed: set[OrderId] = set()
        for found in open_there:
            order = await self._identifier.family(found)
            if order.status in _IN_FLIGHT and order.spec.order_class is not OrderClass.SIMPLE:
                with_legs = await self._broker.order(found.broker_order_id)
                await self._identifier.legs(order, with_legs or found)
            listed.add(order.id)
            await self._seen_open(order, found, standing.get(order.id, order.event_seq), findings)
        lacking = False
        for order in self._desk.open_orders():
            adopted = order.id not in ours_before and order.broker_order_id is not None
            if order.id not in listed and (order.id in ours_before or adopted):
                lacking |= await self._not_listed(order, findings)
        return lacking

    async def missing(self, order_id: OrderId) -> bool:
        """Tell whether an order that was not found at the broker is still looked for."""
        order = self._desk.get(order_id)
        return order is not None and not order.status.is_terminal and order_id in self._odd

    async def _seen_open(
        self, order: Order, found: BrokerOrder, as_of: int, findings: Findings
    ) -> None:
        if not order.status.is_terminal:
            await self._apply(order, found, as_of, findings)
        elif self._again(order, findings):
            # We think it ended, and it lives.
            fresh = await self._broker.order(found.broker_order_id)
            if fresh is not None and not _ended(fresh):
                order = await self._lifecycle.happen(
                    order.id, OrderEvent.FOUND_LIVE, reason="reconciliation"
                )
                findings.orders_moved += 1
                await self._apply(order, fresh, order.event_seq, findings)
            self._odd.forget(order.id)

    async def _not_listed(self, order: Order, findings: Findings) -> bool:
        if order.broker_order_id is None or order.status in _IN_FLIGHT:
            return False
        found = await self._broker.order(order.broker_order_id)
        if found is not None:
            await self._apply(order, found, order.event_seq, findings)
            return found.filled_quantity > order.filled_quantity
        if self._again(order, findings):
            await self._lifecycle.differs(
                Discrepancy(order.symbol, "order_missing", order.status, "not found", str(order.id))
            )
            findings.details.append(f"order {order.id} is not at the broker")
        return False

    async def _apply(
        self, order: Order, found: BrokerOrder, as_of: int, findings: Findings
    ) -> None:
        self._odd.forget(order.id)
        after = await self._lifecycle.happen(
            order.id,
            news_of(found, order),
            reason="reconciliation",
            as_of=as_of,
            broker_order_id=found.broker_order_id,
        )
        if after.status is not order.status:
            findings.orders_moved += 1
            findings.details.append(f"order {order.id}: {order.status} is {after.status}")
        if not after.status.is_terminal and restated(after.spec, found.spec) is not None:
            # The list may be older than what the stream has told since: ask again.
            fresh = await self._broker.order(found.broker_order_id)
            if fresh is not None and await self._lifecycle.restate(order.id, fresh):
                findings.orders_restated += 1
                findings.details.append(f"order {order.id} has other terms at the broker")

    def _again(self, order: Order, findings: Findings) -> bool:
        proven = self._odd.again(order, self._clock.monotonic_ns() / 1e9)
        findings.doubts |= not proven
        return proven


def _ended(found: BrokerOrder) -> bool:
    return found.event in {
        OrderEvent.FILLED,
        OrderEvent.CANCELED,
        OrderEvent.EXPIRED,
        OrderEvent.REJECTED,
        OrderEvent.REPLACED,
    }
