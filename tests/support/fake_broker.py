"""A broker in memory: fills market orders at one price at once, lets limit orders rest.

It obeys the same port as the Alpaca adapter and is held to the same contract suite. `lose_next`
and `refuse_next` make the next submissions fail as a wire can.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal

from msgspec import structs

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Reversal
from libs.common.domain.orders import OrderEvent
from libs.common.domain.positions import Position, apply_fill
from libs.common.domain.vocabulary import OrderType
from libs.common.kernel.ids import BrokerOrderId, ClientOrderId, ExecutionId, Symbol
from libs.common.kernel.money import ZERO
from services.trade_executor.model import BrokerOrder, BrokerPosition, Change, Update
from services.trade_executor.ports import (
    BrokerRefusedError,
    Gap,
    OutcomeUnknownError,
    StreamItem,
)

_ENDED = {
    OrderEvent.FILLED, OrderEvent.CANCELED, OrderEvent.EXPIRED, OrderEvent.REJECTED,
    OrderEvent.REPLACED,
}  # fmt: skip


@dataclass
class FakeBroker:
    """Implements `Broker`."""

    name: str = "fake"
    price: Decimal = Decimal("100")
    money: Decimal = Decimal("1000000")
    lose_next: int = 0
    arrives: bool = True
    refuse_next: int = 0
    orders: dict[BrokerOrderId, BrokerOrder] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    reversals: list[Reversal] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    held: dict[Symbol, Position] = field(default_factory=dict)
    _queue: asyncio.Queue[StreamItem] = field(default_factory=asyncio.Queue)

    @property
    def now(self) -> dt.datetime:
        """The broker's time."""
        return dt.datetime.now(dt.UTC)

    def check(self, spec: OrderSpec) -> str | None:
        """Everything can be said."""
        return None if spec.symbol else "no symbol"

    @asynccontextmanager
    async def slot(self, *, first: bool = False) -> AsyncIterator[None]:
        """There is always room."""
        yield

    async def submit(self, client_order_id: ClientOrderId, spec: OrderSpec) -> BrokerOrder:
        """Take an order, or fail as told."""
        if self.refuse_next:
            self.refuse_next -= 1
            raise BrokerRefusedError(422, 42210000, "refused by test")
        if self.lose_next:
            self.lose_next -= 1
            if self.arrives:
                self._accept(client_order_id, spec)
            raise OutcomeUnknownError("lost by test")
        return self._accept(client_order_id, spec)

    def _accept(
        self,
        client_order_id: ClientOrderId,
        spec: OrderSpec,
        replaces: BrokerOrderId | None = None,
    ) -> BrokerOrder:
        if any(order.client_order_id == client_order_id for order in self.orders.values()):
            raise OutcomeUnknownError("client_order_id must be unique")
        order = BrokerOrder(
            broker_order_id=BrokerOrderId(str(uuid.uuid4())),
            client_order_id=client_order_id,
            symbol=Symbol(spec.symbol),
            side=spec.side,
            event=OrderEvent.WORKING,
            status_word="new",
            spec=spec,
            submitted_at=self.now,
            replaces=replaces,
        )
        self._tell(order, OrderEvent.WORKING)
        if spec.order_type is OrderType.MARKET:
            self.fill(order.broker_order_id, spec.quantity or ZERO)
        return order

    def fill(self, broker_order_id: BrokerOrderId, quantity: Decimal) -> Execution:
        """Let an order trade."""
        order = self.orders[broker_order_id]
        done = order.filled_quantity + quantity
        event = OrderEvent.FILLED if done == order.spec.quantity else OrderEvent.PARTLY_FILLED
        execution = Execution(
            broker=self.name,
            execution_id=ExecutionId(str(uuid.uuid4())),
            broker_order_id=broker_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            price=self.price,
            executed_at=self.now,
        )
        self.executions.append(execution)
        self.money -= order.side.sign * execution.amount
        before = self.held.get(order.symbol, Position())
        self.held[order.symbol] = apply_fill(before, order.side, quantity, self.price).position
        order = replace(order, filled_quantity=done, filled_avg_price=self.price)
        self._tell(order, event, execution)
        return execution

    def take_back(self, old: Execution, instead: Decimal | None) -> None:
        """Take an execution back; with a quantity, another stands in its place. Told in the list
        only."""
        new, now = None, self.now
        if instead is not None:
            new = replace(
                old, execution_id=ExecutionId(str(uuid.uuid4())), quantity=instead, executed_at=now
            )
        record = new.execution_id if new else str(uuid.uuid4())
        self.reversals.append(
            Reversal(self.name, old.execution_id, old.broker_order_id, old.symbol, now, record, new)
        )
        gone = old.quantity - (instead or ZERO)
        self.money += old.side.sign * gone * old.price
        held = self.held[old.symbol]
        self.held[old.symbol] = apply_fill(held, old.side.opposite, gone, old.price).position
        order = self.orders[old.broker_order_id]
        self.orders[order.broker_order_id] = replace(
            order, filled_quantity=order.filled_quantity - gone
        )

    def _tell(
        self, order: BrokerOrder, event: OrderEvent, execution: Execution | None = None
    ) -> None:
        order = replace(order, event=event, status_word=event, updated_at=self.now)
        self.orders[order.broker_order_id] = order
        self._queue.put_nowait(Update(event, event, order, execution, ts=self.now))

    async def replace(
        self, broker_order_id: BrokerOrderId, client_order_id: ClientOrderId, change: Change
    ) -> BrokerOrder:
        """Replace at once; fails as told, as a submission does."""
        old = self.orders.get(broker_order_id)
        if self.refuse_next or old is None or old.event in _ENDED:
            self.refuse_next = max(0, self.refuse_next - 1)
            raise BrokerRefusedError(422, 42210000, "cannot be replaced")
        changed = {
            "limit_price": change.limit_price,
            "stop_price": change.stop_price,
            "time_in_force": change.time_in_force,
        }
        total = change.quantity or old.spec.quantity or ZERO
        spec = structs.replace(
            old.spec,
            quantity=total - old.filled_quantity,
            **{name: value for name, value in changed.items() if value is not None},
        )
        lost, self.lose_next = self.lose_next, max(0, self.lose_next - 1)
        if lost and not self.arrives:
            raise OutcomeUnknownError("lost by test")
        new = self._accept(client_order_id, spec, replaces=broker_order_id)
        self._tell(replace(old, replaced_by=new.broker_order_id), OrderEvent.REPLACED)
        if lost:
            raise OutcomeUnknownError("lost by test")
        return new

    async def find(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        """Return the order known by our id."""
        named = (o for o in self.orders.values() if o.client_order_id == client_order_id)
        return next(named, None)

    async def order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        """Return an order by the broker's id."""
        return self.orders.get(broker_order_id)

    async def open_orders(self) -> Sequence[BrokerOrder]:
        """Return all open orders."""
        return [order for order in self.orders.values() if order.event not in _ENDED]

    async def orders_since(
        self, since: dt.datetime, symbol: Symbol | None = None
    ) -> Sequence[BrokerOrder]:
        """Return all orders submitted after `since`."""
        return [
            order
            for order in self.orders.values()
            if order.submitted_at and order.submitted_at > since and symbol in {None, order.symbol}
        ]

    async def cancel(self, broker_order_id: BrokerOrderId) -> None:
        """Cancel at once; an ended order refuses."""
        order = self.orders.get(broker_order_id)
        if order is None:
            raise BrokerRefusedError(404, 40410000, "order not found")
        if order.event in _ENDED:
            raise BrokerRefusedError(422, 42210000, f"order is already {order.status_word}")
        self._tell(order, OrderEvent.CANCELED)

    async def positions(self) -> Sequence[BrokerPosition]:
        """Return all open positions."""
        return [
            BrokerPosition(symbol, held.quantity, held.avg_cost)
            for symbol, held in self.held.items()
            if held.quantity
        ]

    async def cash(self) -> Decimal:
        """Return the account's cash."""
        return self.money

    async def executions_since(self, since: dt.datetime) -> Sequence[Execution]:
        """Return all executions after `since`."""
        return [one for one in self.executions if one.executed_at > since]

    async def reversals_since(self, since: dt.datetime) -> Sequence[Reversal]:
        """Return all executions taken back after `since`."""
        return [one for one in self.reversals if one.reversed_at > since]

    async def cash_activities_since(self, since: dt.datetime) -> Sequence[Activity]:
        """Return what moved money or shares without a trade after `since`."""
        return [one for one in self.activities if one.executed_at > since]

    async def stream(self) -> AsyncIterator[StreamItem]:
        """Yield a gap, then what happens."""
        yield Gap("connected")
        while True:
            yield await self._queue.get()

    def distrust_stream(self) -> None:
        """Connect anew."""
        self._queue.put_nowait(Gap("distrusted"))

    async def close(self) -> None:
        """Nothing is open."""
