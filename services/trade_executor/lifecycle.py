"""What happens to an order: decided by the state table, written, then remembered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

from libs.common.domain.executions import Execution, Reversal
from libs.common.domain.orders import OrderEvent, Why, apply
from libs.common.domain.vocabulary import Level, OrderStatus, Side
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, NotFoundError, UnavailableError
from libs.common.kernel.ids import ClientOrderId, ExecutionId, OrderId, order_id_from_client
from libs.common.kernel.money import ZERO
from libs.common.runtime.logging import get_logger
from services.trade_executor import logic
from services.trade_executor.agreement import Names, Source, has_room, restated
from services.trade_executor.desk import Desk
from services.trade_executor.entries import order_id_of_external
from services.trade_executor.gate import Blocks
from services.trade_executor.metrics import (
    ALIASES,
    ANOMALIES,
    DUPLICATES,
    EXECUTIONS,
    ORDERS,
    REVERSALS,
)
from services.trade_executor.model import BrokerOrder, Order
from services.trade_executor.ports import Books, Discrepancy, Move, Recorded, Written

_log = get_logger(__name__)


class Lifecycle:
    """Applies events and executions, one order at a time."""

    def __init__(
        self,
        books: Books,
        desk: Desk,
        blocks: Blocks,
        clock: Clock,
        *,
        account_id: str,
        broker: str,
    ) -> None:
        self._books = books
        self._desk = desk
        self._blocks = blocks
        self._clock = clock
        self._account_id = account_id
        self._broker = broker
        self._names = Names()
        self._listed: set[OrderId] = set()  # orders with executions that no stream told of first
        self._untold: dict[tuple[str, str], Discrepancy] = {}  # not on record yet
        # Told of every move after it was written, outside of the order's lock.
        self.hearers: list[Callable[[Order, Order], Awaitable[None]]] = []

    async def find(self, order_id: OrderId) -> Order:
        """Return an order from memory or the books. Raises NotFoundError."""
        order = self._desk.get(order_id) or await self._books.order(order_id)
        if order is None:
            raise NotFoundError(f"there is no order {order_id}")
        return order

    async def happen(
        self,
        order_id: OrderId,
        event: OrderEvent,
        *,
        reason: str | None = None,
        as_of: int | None = None,
        **facts: Any,
    ) -> Order:
        """Apply `event`; `facts` are fields of `Move` learnt with it. Return the order after it.

        What changes nothing is not written, nor what was seen before the order moved on from
        the `as_of`th event of its history. Raises ConflictError if the event is an act of ours
        that the order's status refuses.
        """
        before, after = await self._happen(order_id, event, reason, facts, as_of)
        if after is not before:
            for hear in self.hearers:
                await hear(before, after)
        return after

    async def _happen(
        self,
        order_id: OrderId,
        event: OrderEvent,
        reason: str | None,
        facts: dict[str, Any],
        as_of: int | None,
    ) -> tuple[Order, Order]:
        """Return the order before and after; the same object where nothing was written."""
        async with self._desk.lock(order_id):
            order = await self.find(order_id)
            if as_of is not None and order.event_seq != as_of:
                return order, order
            if facts.get("broker_order_id") and order.submitted_at is None:
                facts["submitted_at"] = self._clock.now()
            while True:
                step = apply(order.status, event)
                if step.refused:
                    raise ConflictError(f"order {order_id} is {order.status}: cannot {event}")
                learnt = {
                    name: value
                    for name, value in facts.items()
                    if value is not None and getattr(order, name, None) != value
                }
                if not (step.changed or step.anomaly or learnt.keys() - {"payload"}):
                    return order, order
                anomaly = f"{event}_after_{order.status}" if step.anomaly else None
                if anomaly and order.anomaly == anomaly and not step.changed:
                    return order, order
                move = Move(event, step.status, reason=reason, anomaly=anomaly, **learnt)
                written = await self._move(order, move)
                # A move writes what the order learnt; memory learns it from the same facts.
                known = {name: value for name, value in learnt.items() if hasattr(order, name)}
                before, order = (
                    order,
                    self._desk.put(
                        replace(written.order, **known)
                        if written.outcome == "moved"
                        else written.order
                    ),
                )
                if written.outcome == "moved":
                    ORDERS.labels(order.status).inc()
                    if anomaly:
                        await self._flag(order, anomaly)
                    return before, order

    async def _move(self, order: Order, move: Move) -> Written:
        """Write a move; an order that is replaced hands its hold to its heir with it."""
        heir = self._desk.heir_of(order.id) if move.to_status is OrderStatus.REPLACED else None
        if heir is None:
            return await self._books.move(order, move)
        # Locks are taken from an order to its heir, never the other way round.
        async with self._desk.lock(heir.id):
            heir = await self.find(heir.id)
            written = await self._books.move(order, replace(move, heir=logic.heir_of(order, heir)))
            if written.heir is not None:
                self._desk.put(written.heir)
        return written

    async def executed(
        self,
        order_id: OrderId,
        execution: Execution,
        *,
        source: Source,
        sum_there: Decimal,
        named: Container[ExecutionId] = (),
    ) -> Written:
        """Book one execution, in whatever state the order is. One of an amendment proves that it
        has taken the place of its forerunner.

        It may be booked already by the name that the other source gave it: `alias` (see
        `Names`). `sum_there` is what the venue says the order has traded in all: what a list
        names beyond that is not booked (`no_room`), what the stream tells is, for streams come
        out of order. `named`: what the same source names besides.
        """
        await self._take_over(order_id)
        async with self._desk.lock(order_id):
            order = await self.find(order_id)
            outcome = await self._doubt(order, execution, source, sum_there, named)
            if outcome is not None:
                return Written(outcome, order)
            written = await self._books.book(order, execution, source=source)
            self._desk.put(written.order)
            self._names.note(source, execution.execution_id, execution.execution_id)
            if source == "activities":
                self._listed.add(order_id)
        if written.outcome == "duplicate":
            DUPLICATES.labels(source).inc()
            return written
        EXECUTIONS.labels(source).inc()
        if written.order.status is not order.status:
            ORDERS.labels(written.order.status).inc()
        if written.anomaly:
            await self._flag(written.order, written.anomaly)
        if written.lifted:
            await self._overdrawn(written)
        return written

    async def _doubt(
        self,
        order: Order,
        execution: Execution,
        source: Source,
        sum_there: Decimal,
        named: Container[ExecutionId],
    ) -> Literal["alias", "no_room"] | None:
        """Return why `execution` is not to be booked, None if it is (or is booked by its name)."""
        if not order.filled_quantity or (source == "stream" and order.id not in self._listed):
            return None
        booked = await self._books.executions(order.id)
        if any(one.execution_id == execution.execution_id for one in booked):
            return None
        if self._names.twin(source, execution, booked, named) is not None:
            ALIASES.labels(source).inc()
            return "alias"
        room = source == "stream" or has_room(order, execution, sum_there)
        return None if room else "no_room"

    async def taken_back(
        self, order_id: OrderId, reversal: Reversal, held: Execution | None = None
    ) -> Written:
        """Take an execution back, and book what stands in its place. `held` is the execution
        itself where the opening balance holds it."""
        async with self._desk.lock(order_id):
            order = await self.find(order_id)
            written = await self._books.reverse(order, reversal, held)
            self._desk.put(written.order)
        if written.outcome == "duplicate":
            DUPLICATES.labels("reversal").inc()
            return written
        REVERSALS.labels(reversal.kind).inc()
        await self._books.notify(
            Level.WARNING,
            f"Execution taken back by the venue: {order.symbol}",
            f"{reversal.kind} of {reversal.original}, order {order.id} ({order.spec.side}). "
            "The books follow: its ledger lines are reversed.",
            f"reversal:{reversal.broker}:{reversal.original}",
            {"order_id": str(order.id), "symbol": order.symbol},
        )
        if written.anomaly:
            await self._flag(written.order, written.anomaly)
        if written.lifted:
            await self._overdrawn(written)
        return written

    async def restate(self, order_id: OrderId, found: BrokerOrder) -> bool:
        """Take over what the venue changed in a resting order's terms; False if nothing."""
        async with self._desk.lock(order_id):
            order = await self.find(order_id)
            terms = restated(order.spec, found.spec)
            if terms is None or apply(order.status, OrderEvent.RESTATED).why is not Why.TERMS:
                return False
            written = await self._books.restate(order, terms)
            if written.outcome != "moved":
                self._desk.put(written.order)
                return False
            self._desk.put(replace(written.order, spec=terms))
        _log.warning("order_restated", order=str(order_id), symbol=order.symbol)
        return True

    async def _take_over(self, order_id: OrderId) -> None:
        order = await self.find(order_id)
        if order.replaces_id is None or order.filled_quantity:
            return
        forerunner = await self.find(order.replaces_id)
        if not forerunner.status.is_terminal:
            await self.happen(
                forerunner.id, OrderEvent.REPLACED, reason=f"its replacement {order_id} trades"
            )

    async def adopt(
        self,
        found: BrokerOrder,
        *,
        parent: Order | None = None,
        replaced: Order | None = None,
        attempted: Order | None = None,
        before_us: tuple[Decimal, Decimal] = (ZERO, ZERO),
    ) -> Order:
        """Take an order into the books that we did not make.

        A leg or replacement belongs to the order it comes from; anything else is `external`. An
        earlier attempt that arrived after all, when `attempted` had been sent again or given up,
        is an anomaly: what it trades is booked on a row of its own, and it is cancelled.
        `before_us` is the quantity and value that the opening balance holds already.
        """
        origin = parent or replaced or attempted
        named = order_id_from_client(found.client_order_id)
        order_id = order_id_of_external(self._broker, found.broker_order_id)
        status = apply(OrderStatus.SUBMITTING, found.event).status
        if found.filled_quantity > 0:
            # The executions are booked from their own list; the end, if any, after them.
            status = OrderStatus.WORKING
        order = Order(
            id=order_id,
            client_order_id=ClientOrderId(found.client_order_id),
            broker=self._broker,
            broker_order_id=found.broker_order_id,
            account_id=origin.account_id if origin else self._account_id,
            spec=found.spec,
            correlation_id=origin.correlation_id if origin else order_id,
            created_at=self._clock.now(),
            status=status,
            filled_quantity=before_us[0],
            filled_value=before_us[1],
            parent_id=parent.id if parent else None,
            replaces_id=replaced.id if replaced else None,
            external=origin.external if origin else True,
            protective=parent is not None,
            reducing=parent is not None,
            anomaly=logic.LATE_ATTEMPT if attempted else None,
            strategy_id=origin.strategy_id if origin else None,
            signal_id=origin.signal_id if origin else None,
            submitted_at=found.submitted_at,
        )
        async with self._desk.lock(order_id):
            written = await self._books.create(order, [Recorded("adopted", None, status)], None)
            if written.outcome == "exists":
                known = await self._books.order_at_broker(found.broker_order_id)
                if known is None and named is not None:
                    known = await self._books.order(named[0])
                return self._desk.put(known or written.order)
            order = self._desk.put(written.order)
        if attempted is not None:
            _log.error("attempt_arrived_late", order=str(attempted.id), row=str(order_id))
            await self._flag(order, logic.LATE_ATTEMPT)
        if origin is None:
            _log.warning("order_adopted", order=str(order_id), symbol=found.symbol)
            await self._books.notify(
                Level.WARNING,
                f"Order found at the broker that is not ours: {found.symbol}",
                f"{found.side} {found.spec.quantity or found.spec.notional} {found.symbol} "
                f"({found.status_word}), broker's id {found.broker_order_id}. Adopted as external.",
                f"external_order:{found.broker_order_id}",
                {"order_id": str(order_id), "ours_by_name": str(named is not None)},
            )
        return order

    async def _flag(self, order: Order, anomaly: str) -> None:
        """An order did what it should not: no new risk on its symbol until the books agree.

        The commit that wrote the anomaly put it on record and alerts (order_anomaly_is_told in
        migrations/sql); here the block follows, and a record again should it be closed already.
        """
        ANOMALIES.labels(anomaly).inc()
        _log.error("order_anomaly", order=str(order.id), symbol=order.symbol, anomaly=anomaly)
        found = Discrepancy(
            symbol=order.symbol,
            kind=f"anomaly:{anomaly}",
            ours=order.status,
            theirs=anomaly,
            detail=f"Order {order.id} ({order.spec.side} {order.symbol}).",
        )
        try:
            await self.differs(found)
        except UnavailableError as error:
            # It is on record; the next comparison with the broker makes sure.
            _log.warning("difference_untold", order=str(order.id), error=str(error))

    async def differs(self, found: Discrepancy) -> None:
        """Put a difference on record: no new risk there, and somebody is told, once."""
        self._blocks.block(found.symbol, found.kind)
        self._untold[found.symbol, found.kind] = found
        await self.tell_differences()

    async def tell_differences(self) -> None:
        """Put on record what could not be so far. Raises UnavailableError; it is then owed still,
        for a block without a record would never be lifted."""
        for where, found in list(self._untold.items()):
            if await self._books.open_discrepancy(found):
                _log.error(
                    "discrepancy",
                    symbol=found.symbol,
                    kind=found.kind,
                    ours=found.ours,
                    theirs=found.theirs,
                )
            self._untold.pop(where, None)

    async def _overdrawn(self, written: Written) -> None:
        order = written.order
        ANOMALIES.labels("overdraft").inc()
        await self._books.notify(
            Level.CRITICAL,
            f"Account overdrawn by an execution: {', '.join(written.lifted)}",
            f"Order {order.id} ({order.spec.side} {order.symbol}) cost more than was there. It is "
            "booked, and the account's no-overdraft flag has been lifted.",
            f"overdraft:{order.account_id}",
            {"order_id": str(order.id), "side": Side(order.spec.side)},
        )
