"""Orders and executions: the executor's books, with the ledger and the records beside them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from msgspec import structs
from sqlalchemy import exists, select, union

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Reversal
from libs.common.domain.ledger import Transfer
from libs.common.domain.vocabulary import TERMINAL_STATUSES
from libs.common.kernel.ids import BrokerOrderId, OrderId
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.execution import orders, trade_reversals, trades
from services.trade_executor.committer import Answer, Committer
from services.trade_executor.entries import EntryMaker
from services.trade_executor.ledger_store import LedgerStore
from services.trade_executor.model import Order, with_standing
from services.trade_executor.ports import Heir, Move, Recorded, Written
from services.trade_executor.record_store import RecordStore
from services.trade_executor.rows import execution_from, order_from

_ENDED: Final = tuple(sorted(TERMINAL_STATUSES))


class ExecutorStore(LedgerStore, RecordStore):
    """Implements `Books` over PostgreSQL."""

    def __init__(self, runtime: Runtime, *, batch_max: int, margin: bool, shorting: bool) -> None:
        LedgerStore.__init__(self, runtime, margin=margin, shorting=shorting)
        self._entries = EntryMaker(runtime.ids)
        self.committer = Committer(
            runtime.database,
            runtime.outbox,
            runtime.readiness,
            account_id=self._account,
            batch_max=batch_max,
        )

    # Writes of the trading path -------------------------------------------------------------

    async def create(
        self,
        order: Order,
        recorded: Sequence[Recorded],
        hold: Transfer | None,
        causation_id: UUID | None = None,
    ) -> Written:
        """Write a new order with its first events and its hold. Raises OverdraftError."""
        await self.ensure_accounts(order.symbol)
        now_ns = self._runtime.clock.now_ns()
        answer = await self.committer.write(
            self._entries.create(order, recorded, hold, causation_id, now_ns)
        )
        written = _written(order, answer, self._runtime.clock.now())
        ours = (
            answer.repeated
            and written.outcome == "exists"
            and written.order.status is order.status
            and written.order.event_seq == len(recorded)
        )
        return Written("created", written.order) if ours else written

    async def move(self, order: Order, move: Move) -> Written:
        """Change an order's state if it still stands as `order` says."""
        await self.ensure_accounts(order.symbol)
        answer = await self.committer.write(
            self._entries.move(order, move, self._runtime.clock.now_ns())
        )
        now = self._runtime.clock.now()
        if answer.said["outcome"] == "committed":
            took_over = await self.order(move.heir.order.id) if move.heir else None
            return Written("moved", await self._standing(order), heir=took_over)
        written = _written(order, answer, now)
        ours = (
            answer.repeated
            and written.outcome == "conflict"
            and written.order.status is move.to_status
            and written.order.event_seq == order.event_seq + 1
        )
        heir = None
        if move.heir is not None:
            heir = await self._heir(move.heir, answer, now, repeated=ours)
        return replace(written, outcome="moved" if ours else written.outcome, heir=heir)

    async def _heir(
        self, heir: Heir, answer: Answer, now: dt.datetime, *, repeated: bool
    ) -> Order | None:
        """Return the order that took over, as it stands now; None if nothing took over."""
        if repeated:
            return await self.order(heir.order.id)
        if "heir" not in answer.said:
            return None
        spec = structs.replace(heir.order.spec, quantity=heir.quantity)
        return with_standing(replace(heir.order, spec=spec), answer.said["heir"], now)

    async def restate(self, order: Order, terms: OrderSpec) -> Written:
        """Write what the venue changed in a resting order's terms, its hold with it."""
        await self.ensure_accounts(order.symbol)
        entry = self._entries.restate(order, terms, self._runtime.clock.now_ns())
        answer = await self.committer.write(entry)
        if answer.said["outcome"] == "committed":
            return Written("moved", await self._standing(order))
        return _written(order, answer, self._runtime.clock.now())

    async def _standing(self, order: Order) -> Order:
        """Return the order as it stands after a write that is known to have been committed."""
        known = await self.order(order.id)
        assert known is not None
        return known

    async def book(self, order: Order, execution: Execution, *, source: str) -> Written:
        """Book one execution: trade, order, position, ledger, messages, in one transaction."""
        del source
        await self.ensure_accounts(order.symbol)
        entry = self._entries.book(order, execution, self._runtime.clock.now_ns())
        answer = await self.committer.write(entry)
        written = _written(order, answer, self._runtime.clock.now())
        if not (answer.repeated and written.outcome == "duplicate"):
            return written
        # The first try did commit: what it found odd is still to be told.
        anomaly = written.order.anomaly
        told = anomaly if anomaly != order.anomaly else None
        return replace(written, outcome="booked", anomaly=told)

    async def reverse(
        self, order: Order, reversal: Reversal, held: Execution | None = None
    ) -> Written:
        """Take an execution back, and book its replacement, in one transaction."""
        await self.ensure_accounts(order.symbol)
        if held is not None:
            await self.ensure_capital(order.symbol)
        entry = self._entries.reverse(order, reversal, held, self._runtime.clock.now_ns())
        return _written(order, await self.committer.write(entry), self._runtime.clock.now())

    async def book_activities(self, activities: Sequence[Activity]) -> int:
        """Book money and shares that moved without a trade; return how many were new."""
        await self.ensure_activity_accounts(activities)
        # Together: of a reverse split nobody sees the old shares gone and the new ones not there.
        answers = await asyncio.gather(
            *(
                self.committer.write(
                    self._entries.activity(one, self._account, self._runtime.clock.now_ns())
                )
                for one in activities
            )
        )
        return sum(answer.said["outcome"] == "booked" for answer in answers)

    # Orders -----------------------------------------------------------------------------------

    async def order(self, order_id: OrderId) -> Order | None:
        """Return an order."""
        async with self._database.read() as session:
            row = await session.row(select(orders).where(orders.c.id == order_id))
        return order_from(row) if row else None

    async def order_at_broker(self, broker_order_id: BrokerOrderId) -> Order | None:
        """Return the order that the broker knows by this id."""
        async with self._database.read() as session:
            row = await session.row(
                select(orders).where(orders.c.broker_order_id == broker_order_id)
            )
        return order_from(row) if row else None

    async def open_orders(self) -> list[Order]:
        """Return every order that has not come to an end, oldest first."""
        query = (
            select(orders)
            .where(orders.c.account_id == self._account, orders.c.status.not_in(_ENDED))
            .order_by(orders.c.created_at, orders.c.id)
        )
        async with self._database.read() as session:
            return [order_from(row) for row in await session.rows(query)]

    async def execution_ids(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that are booked, or were taken back before they could be."""
        query = union(
            select(trades.c.execution_id).where(trades.c.execution_id.in_(ids)),
            select(trade_reversals.c.execution_id).where(trade_reversals.c.execution_id.in_(ids)),
        )
        async with self._database.read() as session:
            return {row["execution_id"] for row in await session.rows(query)}

    async def executions(self, order_id: OrderId) -> list[Execution]:
        """Return an order's booked executions that stand, oldest first, corrections left out."""
        query = (
            select(trades, orders.c.broker_order_id)
            .join(orders, orders.c.id == trades.c.order_id)
            .where(
                trades.c.order_id == order_id,
                ~exists().where(trade_reversals.c.trade_id == trades.c.id),
                ~exists().where(
                    trade_reversals.c.order_id == trades.c.order_id,
                    trade_reversals.c.kind == "correction",
                    trade_reversals.c.record_id == trades.c.execution_id,
                ),
            )
            .order_by(trades.c.executed_at, trades.c.id)
        )
        async with self._database.read() as session:
            return [execution_from(row) for row in await session.rows(query)]


def _written(order: Order, answer: Answer, now: dt.datetime) -> Written:
    said = answer.said
    return Written(
        outcome=said["outcome"],
        order=with_standing(order, said["order"], now),
        anomaly=said.get("anomaly"),
        lifted=answer.lifted,
    )
