"""The executor's books in memory: what `Books` promises, by the domain's own functions.

`tripwire` is called before and after every call, so that a test can cut the caller down at any of
them; what was written before stays written.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from uuid import UUID

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Progress, take
from libs.common.domain.ledger import Transfer
from libs.common.domain.positions import Position, apply_fill
from libs.common.domain.vocabulary import Level, TradingState
from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import BrokerOrderId, OrderId, SequentialIds, Symbol
from services.trade_executor.model import BrokerPosition, Order
from services.trade_executor.ports import (
    Discrepancy,
    Gate,
    Move,
    OpenDiscrepancy,
    Opening,
    ReconciliationRun,
    Recorded,
    Written,
)


@dataclass
class MemoryBooks:
    """Implements `Books`."""

    clock: Clock
    opened: Opening | None = None
    tripwire: Callable[[], object] = lambda: None
    orders: dict[OrderId, Order] = field(default_factory=dict)
    trades: dict[str, tuple[OrderId, Execution]] = field(default_factory=dict)
    held: dict[Symbol, Position] = field(default_factory=dict)
    money: Decimal = Decimal(0)
    cash_ids: set[str] = field(default_factory=set)
    runs: list[ReconciliationRun] = field(default_factory=list)
    unresolved: dict[UUID, OpenDiscrepancy] = field(default_factory=dict)
    told: list[tuple[Level, str]] = field(default_factory=list)
    writes: int = 0
    _ids: SequentialIds = field(default_factory=SequentialIds)

    async def create(
        self,
        order: Order,
        recorded: Sequence[Recorded],
        hold: Transfer | None,
        causation_id: UUID | None = None,
    ) -> Written:
        """Write a new order."""
        del hold, causation_id
        self.tripwire()
        for known in self.orders.values():
            twin = order.broker_order_id is not None and (
                known.broker_order_id == order.broker_order_id
            )
            if known.id == order.id or twin or known.client_order_id == order.client_order_id:
                return Written("exists", known)
        return Written("created", self._put(replace(order, event_seq=len(recorded))))

    async def move(self, order: Order, move: Move) -> Written:
        """Change an order's state if it still stands so."""
        self.tripwire()
        known = self.orders[order.id]
        if known.status is not order.status:
            return Written("conflict", known)
        facts = {
            name: value
            for name in (
                "anomaly", "reject_reason", "broker_order_id", "client_order_id", "attempt",
                "parent_id", "external", "strategy_id", "submitted_at",
            )
            if (value := getattr(move, name)) is not None
        }  # fmt: skip
        return Written("moved", self._changed(known, status=move.to_status, **facts))

    async def restate(self, order: Order, terms: OrderSpec) -> Written:
        """Write changed terms."""
        self.tripwire()
        return Written("moved", self._changed(self.orders[order.id], spec=terms))

    async def book(self, order: Order, execution: Execution, *, source: str) -> Written:
        """Book one execution, once."""
        del source
        self.tripwire()
        known = self.orders[order.id]
        if execution.execution_id in self.trades:
            return Written("duplicate", known)
        self.trades[execution.execution_id] = (order.id, execution)
        progress = Progress(known.status, known.spec.quantity, known.filled_quantity)
        taken = take(progress, execution)
        before = self.held.get(known.symbol, Position())
        self.held[known.symbol] = apply_fill(
            before, execution.side, execution.quantity, execution.price
        ).position
        self.money -= execution.side.sign * execution.amount
        after = self._changed(
            known,
            status=taken.progress.status,
            filled_quantity=taken.progress.filled_quantity,
            filled_value=known.filled_value + execution.amount,
            anomaly=taken.anomaly or known.anomaly,
        )
        return Written("booked", after, anomaly=taken.anomaly)

    def _changed(self, order: Order, **facts: object) -> Order:
        changed = replace(
            order, event_seq=order.event_seq + 1, updated_at=self.clock.now(), **facts
        )  # type: ignore[arg-type]
        return self._put(changed)

    def _put(self, order: Order) -> Order:
        self.orders[order.id] = order
        self.writes += 1
        self.tripwire()
        return order

    async def order(self, order_id: OrderId) -> Order | None:
        """Return an order."""
        self.tripwire()
        return self.orders.get(order_id)

    async def order_at_broker(self, broker_order_id: BrokerOrderId) -> Order | None:
        """Return the order that the broker knows by this id."""
        self.tripwire()
        known = (one for one in self.orders.values() if one.broker_order_id == broker_order_id)
        return next(known, None)

    async def open_orders(self) -> list[Order]:
        """Return every order that has not come to an end."""
        self.tripwire()
        return [order for order in self.orders.values() if not order.status.is_terminal]

    async def execution_ids(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that are booked."""
        self.tripwire()
        return set(ids) & self.trades.keys()

    async def executions(self, order_id: OrderId) -> list[Execution]:
        """Return an order's booked executions."""
        self.tripwire()
        return [one for owner, one in self.trades.values() if owner == order_id]

    async def positions(self) -> dict[Symbol, Decimal]:
        """Return our signed positions other than flat ones."""
        self.tripwire()
        return {name: one.quantity for name, one in self.held.items() if one.quantity}

    async def cash(self) -> Decimal | None:
        """Return the cash."""
        self.tripwire()
        return self.money if self.opened else None

    async def open_account(self, cash: Decimal, positions: Sequence[BrokerPosition]) -> None:
        """Begin with what the broker shows."""
        self.tripwire()
        self.money = cash
        for one in positions:
            self.held[one.symbol] = Position(one.quantity, one.avg_cost)

    async def book_activities(self, activities: Sequence[Activity]) -> int:
        """Book money that moved without a trade."""
        new = 0
        for one in activities:
            self.tripwire()
            if one.amount and one.id not in self.cash_ids:
                self.cash_ids.add(one.id)
                self.money += one.amount
                self.writes += 1
                new += 1
        return new

    async def imbalances(self) -> dict[str, Decimal]:
        """There is no ledger to be out of balance."""
        return {}

    async def gate(self) -> Gate | None:
        """Trading is on."""
        return Gate(TradingState.ACTIVE, 1)

    async def watermark(self) -> dt.datetime | None:
        """Return the last run's."""
        self.tripwire()
        return self.runs[-1].watermark if self.runs else None

    async def opening(self) -> Opening | None:
        """Return where the books begin."""
        self.tripwire()
        return self.opened

    async def record_run(self, run: ReconciliationRun) -> None:
        """Keep a run."""
        self.tripwire()
        self.runs.append(run)
        if run.cause == "opening":
            self.opened = Opening(run.watermark, frozenset(run.findings["activities"]))

    async def open_discrepancies(self) -> list[OpenDiscrepancy]:
        """Return what is not resolved."""
        self.tripwire()
        return list(self.unresolved.values())

    async def open_discrepancy(self, found: Discrepancy) -> bool:
        """Put a difference on record, once."""
        self.tripwire()
        for one in self.unresolved.values():
            if (one.found.symbol, one.found.kind) == (found.symbol, found.kind):
                return False
        name = self._ids.new()
        self.unresolved[name] = OpenDiscrepancy(name, found, self.clock.now())
        self.told.append((Level.CRITICAL, f"{found.kind} {found.symbol}"))
        return True

    async def resolve_discrepancy(self, one: OpenDiscrepancy, resolution: str) -> None:
        """Take it off."""
        del resolution
        self.tripwire()
        del self.unresolved[one.id]
        self.told.append((Level.INFO, f"{one.found.kind} {one.found.symbol}"))

    async def notify(
        self, level: Level, title: str, message: str, fingerprint: str, context: dict[str, str]
    ) -> None:
        """Keep what people are told."""
        del message, fingerprint, context
        self.tripwire()
        self.told.append((level, title))
