"""Making our books equal to the broker's: the broker is the truth about what happened, our
database about why.

One pass reads in this order: the broker's open orders, (where events may have been missed) all
its orders since the watermark, the activity list, then positions and cash. Whatever can be proven
by one look is settled in that pass; what needs a second look ("not found", alive though we hold it
for ended, a balance without explanation) in the first pass a settle time later. So from any state
that faults can lead to, **two passes a settle time apart** make the books equal to the broker's,
and a third changes nothing.
"""

from __future__ import annotations

import asyncio
import datetime as dt

from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import get_logger
from services.trade_executor.balance_comparison import BalanceComparison
from services.trade_executor.desk import Desk
from services.trade_executor.findings import Findings
from services.trade_executor.gate import Blocks
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.metrics import RECONCILIATIONS
from services.trade_executor.missed_executions import MissedExecutions
from services.trade_executor.opening import account_seen
from services.trade_executor.order_comparison import OrderComparison
from services.trade_executor.ports import Books, Broker, ReconciliationRun
from services.trade_executor.reversals import Reversals

__all__ = ["Findings", "Reconciliation"]

_log = get_logger(__name__)

_OPENING_BACK = dt.timedelta(days=7)


class Reconciliation:
    """Compares orders, executions, positions and cash with the broker, one run at a time."""

    def __init__(
        self,
        *,
        books: Books,
        broker: Broker,
        desk: Desk,
        lifecycle: Lifecycle,
        identifier: Identifier,
        blocks: Blocks,
        clock: Clock,
        market_clock: Clock,
        ids: IdSource,
        settle_s: float,
        overlap: dt.timedelta,
    ) -> None:
        self._books = books
        self._broker = broker
        self._clock = clock
        self._market_clock = market_clock
        self._ids = ids
        self.reversals = Reversals(books, broker, lifecycle, identifier)
        self._overlap = overlap
        self._settle_s = settle_s
        self._lifecycle = lifecycle
        self._executions = MissedExecutions(books, broker, lifecycle, identifier)
        self._orders = OrderComparison(broker, desk, lifecycle, identifier, clock, settle_s)
        self._balances = BalanceComparison(
            books, broker, lifecycle, self._orders, blocks, clock, settle_s
        )
        self._running = asyncio.Lock()
        self._watermark: dt.datetime | None = None
        self.last: ReconciliationRun | None = None

    async def open_books(self) -> None:
        """Open the ledger with the broker's balances if this account was never traded by us.

        The run that is recorded tells what these balances already hold: everything until the
        last that the broker lists of executions, and the cash activities listed by then. Both are
        written together, and only what two looks agree on: a balance whose execution is not
        listed yet would be booked twice.
        """
        if await self._books.opening() is not None:
            return
        started, back = self._clock.now(), self._market_clock.now() - _OPENING_BACK
        seen = await account_seen(self._broker, back)
        while True:
            if seen.in_use:
                await asyncio.sleep(self._settle_s)
            again = await account_seen(self._broker, back)
            if again == seen:
                break
            seen = again
        watermark = (seen.last or back) + dt.timedelta(microseconds=1)
        shown = {**seen.shown(), "opened": self._market_clock.now().isoformat()}
        opened = ReconciliationRun(
            self._ids.new(), "opening", started, self._clock.now(), watermark, shown
        )
        await self._books.open_account(seen.cash, seen.positions, opened)
        self._watermark = watermark
        _log.info("account_opened", cash=str(seen.cash), positions=len(seen.positions))

    async def run(self, cause: str, *, balances: bool, deep: bool = False) -> Findings:
        """Compare orders, and with `balances` positions and cash too.

        The activity list is read where something is lacking, where `deep` says that events may
        have been missed, and before balances are compared: what was missed may add up to
        nothing. Raises UnavailableError when the broker or the database is away; what was done
        until then stays done, and doing it again changes nothing.
        """
        async with self._running:
            RECONCILIATIONS.labels(cause).inc()
            started, market_now = self._clock.now(), self._market_clock.now()
            findings = Findings()
            await self._lifecycle.tell_differences()
            await self._compare_orders(findings, deep=deep)
            if balances and not deep:
                await self._book_executions(findings)
            settled = balances and await self._balances.compare(findings, self._explain)
            if settled or findings.news or deep:
                await self._record(cause, started, market_now if settled else None, findings)
            if findings.news:
                _log.info("reconciled", cause=cause, **findings.shown())
            return findings

    async def _compare_orders(self, findings: Findings, *, deep: bool) -> None:
        standing = self._orders.standing()
        open_there = await self._broker.open_orders()
        if deep:
            await self._orders.adopt(
                await self._broker.orders_since(await self._adopted_from()), findings
            )
        if deep or await self._orders.lacks_executions(open_there):
            await self._book_executions(findings)
        if await self._orders.compare(open_there, standing, findings):
            # An order ended with executions that we lack: they first, then its end.
            await self._book_executions(findings)
            await self._orders.compare(open_there, standing, findings)

    async def _book_executions(self, findings: Findings) -> None:
        """Take back what the venue took back, then book what the books do not hold."""
        since = await self._since()
        findings.executions_reversed += await self.reversals.catch_up(since)
        await self._executions.book(since, findings)

    async def _explain(self, findings: Findings) -> None:
        """Book what may explain a difference of balances."""
        await self._book_executions(findings)
        findings.cash_activities += await self.book_activities()

    async def book_activities(self) -> int:
        """Book money and shares that moved without a trade; the broker dates them by the day."""
        since = await self._since() - dt.timedelta(days=1)
        opening = await self._books.opening()
        held = opening.activities if opening else frozenset()
        activities = await self._broker.cash_activities_since(since)
        return await self._books.book_activities([one for one in activities if one.id not in held])

    async def _record(
        self,
        cause: str,
        started: dt.datetime,
        settled_at: dt.datetime | None,
        findings: Findings,
    ) -> None:
        """Keep the run. Only where every balance agreed is all before it known to be booked."""
        watermark = settled_at or await self._marked()
        self._watermark = watermark
        self.last = ReconciliationRun(
            self._ids.new(), cause, started, self._clock.now(), watermark, findings.shown()
        )
        await self._books.record_run(self.last)

    async def _marked(self) -> dt.datetime:
        if self._watermark is None:
            self._watermark = await self._books.watermark() or self._market_clock.now()
        return self._watermark

    async def _since(self) -> dt.datetime:
        return await self._marked() - self._overlap

    async def _adopted_from(self) -> dt.datetime:
        """Return from when on an order that has ended is worth adopting: not before our books."""
        opening = await self._books.opening()
        since = await self._since()
        return max(since, opening.at) if opening else since
