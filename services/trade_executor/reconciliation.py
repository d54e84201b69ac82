"""Making our books equal to the broker's: the broker is the truth about what happened, our
database about why."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from libs.common.domain.executions import Execution
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderClass, OrderStatus
from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import BrokerOrderId, IdSource, OrderId, Symbol
from libs.common.kernel.money import ZERO, plain
from libs.common.runtime.logging import get_logger
from services.trade_executor.desk import Desk
from services.trade_executor.gate import Blocks
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.logic import (
    Suspects,
    news_of,
    position_differences,
    position_discrepancies,
)
from services.trade_executor.metrics import DISCREPANCIES, LEDGER_IMBALANCE, RECONCILIATIONS
from services.trade_executor.model import BrokerOrder, Order
from services.trade_executor.ports import (
    Books,
    Broker,
    Discrepancy,
    ReconciliationRun,
)

_log = get_logger(__name__)

_OPENING_BACK = dt.timedelta(days=7)
_IN_FLIGHT = frozenset({OrderStatus.CREATED, OrderStatus.SUBMITTING, OrderStatus.OUTCOME_UNKNOWN})


@dataclass
class Findings:
    """What a run found and did."""

    executions_booked: int = 0
    executions_aliased: int = 0
    orders_moved: int = 0
    orders_adopted: int = 0
    cash_activities: int = 0
    doubts: bool = False
    details: list[str] = field(default_factory=list)

    @property
    def news(self) -> int:
        """How much the broker knew that we did not."""
        return self.executions_booked + self.orders_moved + self.orders_adopted

    def shown(self) -> dict[str, Any]:
        """Return the findings for the record."""
        return {
            "executions_booked": self.executions_booked,
            "executions_aliased": self.executions_aliased,
            "orders_moved": self.orders_moved,
            "orders_adopted": self.orders_adopted,
            "cash_activities": self.cash_activities,
            "doubts": self.doubts,
            "details": self.details[:100],
        }


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
        self._desk = desk
        self._lifecycle = lifecycle
        self._identifier = identifier
        self._blocks = blocks
        self._clock = clock
        self._market_clock = market_clock
        self._ids = ids
        self._settle_s = settle_s
        self._overlap = overlap
        self._suspects = Suspects(settle_s)
        self._absent: dict[OrderId, float] = {}
        self._aliases: set[str] = set()
        self._running = asyncio.Lock()
        self._watermark: dt.datetime | None = None
        self.last: ReconciliationRun | None = None

    async def open_books(self) -> None:
        """Open the ledger with the broker's balances if this account was never traded by us.

        The run that is recorded tells what these balances already hold: everything until the
        last execution that the broker lists, and the cash activities listed by then.
        """
        if await self._books.opening() is not None:
            return
        started, back = self._clock.now(), self._market_clock.now() - _OPENING_BACK
        executions = await self._broker.executions_since(back)
        activities = await self._broker.cash_activities_since(back)
        cash, positions = await self._broker.cash(), await self._broker.positions()
        if await self._books.cash() is None:
            await self._books.open_account(cash, positions)
        last = max((one.executed_at for one in executions), default=back)
        self._watermark = last + dt.timedelta(microseconds=1)
        _log.info("account_opened", cash=str(cash), positions=len(positions))
        opened = {
            "cash": plain(cash),
            "positions": len(positions),
            "activities": [one.id for one in activities],
        }
        await self._books.record_run(
            ReconciliationRun(
                self._ids.new(), "opening", started, self._clock.now(), self._watermark, opened
            )
        )

    async def run(self, cause: str, *, balances: bool, deep: bool = False) -> Findings:
        """Compare orders, and with `balances` positions and cash too.

        The activity list is read where something is lacking, or where `deep` says that events
        may have been missed. Raises UnavailableError when the broker or the database is away;
        what was done until then stays done, and doing it again changes nothing.
        """
        async with self._running:
            RECONCILIATIONS.labels(cause).inc()
            started, market_now = self._clock.now(), self._market_clock.now()
            findings = Findings()
            open_there = await self._broker.open_orders()
            if deep or await self._lacks_executions(open_there):
                await self._executions(findings)
            if await self._orders(open_there, findings) and not findings.executions_booked:
                await self._executions(findings)
            settled = balances and await self._balances(findings)
            if settled or findings.news or deep:
                await self._record(cause, started, market_now if settled else None, findings)
            if findings.news:
                _log.info("reconciled", cause=cause, **findings.shown())
            return findings

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

    # Executions -----------------------------------------------------------------------------

    async def _lacks_executions(self, open_there: Sequence[BrokerOrder]) -> bool:
        for found in open_there:
            order = await self._identifier.known(found)
            if order is None or found.filled_quantity > order.filled_quantity:
                return True
        return False

    async def _executions(self, findings: Findings) -> None:
        """Book what the activity list names and our books do not hold."""
        since = await self._marked() - self._overlap
        executions = await self._broker.executions_since(since)
        booked = await self._books.execution_ids([one.execution_id for one in executions])
        opening = await self._books.opening()
        missing: dict[BrokerOrderId, list[Execution]] = {}
        for one in executions:
            known = one.execution_id in booked or one.execution_id in self._aliases
            if not known and (opening is None or one.executed_at >= opening.at):
                missing.setdefault(one.broker_order_id, []).append(one)
        for broker_order_id, of_order in missing.items():
            await self._book_missing(broker_order_id, of_order, findings)

    async def _book_missing(
        self, broker_order_id: BrokerOrderId, executions: Sequence[Execution], findings: Findings
    ) -> None:
        found = await self._broker.order(broker_order_id)
        if found is None:
            findings.details.append(f"executions of unknown broker order {broker_order_id}")
            return
        order = await self._identifier.identify(found)
        # Only what the order's own sum lacks is booked: should the activity list name an
        # execution otherwise than the stream did, it is not missing.
        lacking = found.filled_quantity - order.filled_quantity
        for one in executions:
            if one.quantity > lacking:
                self._aliases.add(one.execution_id)
                findings.executions_aliased += 1
                findings.details.append(f"execution {one.execution_id} is booked by another name")
                continue
            written = await self._lifecycle.executed(order.id, one, source="activities")
            if written.outcome == "booked":
                lacking -= one.quantity
                findings.executions_booked += 1
                findings.details.append(f"execution {one.execution_id} of {one.symbol} was missed")

    # Orders -----------------------------------------------------------------------------------

    async def _orders(self, open_there: Sequence[BrokerOrder], findings: Findings) -> bool:
        """Apply what the broker says of its open orders and of ours; return whether some order
        has executions that are not booked."""
        lacking = False
        listed: set[OrderId] = set()
        ours_before = {order.id for order in self._desk.open_orders()}
        # Our own first: a group that was being sent names its legs before they are met.
        for found in sorted(open_there, key=lambda one: not one.client_order_id.startswith("tw-")):
            known = await self._identifier.known(found)
            order = known or await self._identifier.family(found)
            if order.status in _IN_FLIGHT and order.spec.order_class is not OrderClass.SIMPLE:
                with_legs = await self._broker.order(found.broker_order_id)
                await self._identifier.legs(order, with_legs or found)
            findings.orders_adopted += known is None
            listed.add(order.id)
            await self._seen_open(order, found, findings)
        for order in self._desk.open_orders():
            if order.id in ours_before - listed and order.status not in _IN_FLIGHT:
                lacking |= await self._not_listed(order, findings)
        return lacking

    async def _seen_open(self, order: Order, found: BrokerOrder, findings: Findings) -> None:
        if not order.status.is_terminal:
            await self._apply(order, found, findings)
            return
        # We think it ended. Twice seen alive, a settle time apart, and it is alive.
        if self._twice(order.id):
            await self._lifecycle.happen(order.id, OrderEvent.FOUND_LIVE, reason="reconciliation")
            findings.orders_moved += 1

    async def _not_listed(self, order: Order, findings: Findings) -> bool:
        if order.broker_order_id is None:
            return False
        found = await self._broker.order(order.broker_order_id)
        if found is not None:
            await self._apply(order, found, findings)
            return found.filled_quantity > order.filled_quantity
        if self._twice(order.id):
            await self._open(
                Discrepancy(order.symbol, "order_missing", order.status, "not found", str(order.id))
            )
            findings.details.append(f"order {order.id} is not at the broker")
        return False

    async def _apply(self, order: Order, found: BrokerOrder, findings: Findings) -> None:
        self._absent.pop(order.id, None)
        after = await self._lifecycle.happen(
            order.id,
            news_of(found, order),
            reason="reconciliation",
            broker_order_id=found.broker_order_id,
        )
        if after.status is not order.status:
            findings.orders_moved += 1
            findings.details.append(f"order {order.id}: {order.status} is {after.status}")

    def _twice(self, order_id: OrderId) -> bool:
        """Tell whether the same odd look at an order was had before, a settle time ago."""
        now_s = self._clock.monotonic_ns() / 1e9
        first = self._absent.setdefault(order_id, now_s)
        return now_s - first >= self._settle_s

    # Balances ---------------------------------------------------------------------------------

    async def _balances(self, findings: Findings) -> bool:
        """Compare positions and cash; return whether all agree."""
        positions, cash, pair = await self._differences()
        if positions or cash:
            await self._executions(findings)
            findings.cash_activities = await self._cash_activities()
            positions, cash, pair = await self._differences()
        now_s = self._clock.monotonic_ns() / 1e9
        proven, doubt = self._suspects.judge("position", positions, now_s)
        for found in position_discrepancies(sorted(proven), pair.ours, pair.theirs):
            await self._open(found)
        cash_proven, cash_doubt = self._suspects.judge("cash", cash, now_s)
        if cash_proven:
            await self._open(Discrepancy("", "cash", plain(pair.our_cash), plain(pair.their_cash)))
        findings.doubts = doubt or cash_doubt
        imbalances = await self._books.imbalances()
        LEDGER_IMBALANCE.set(float(sum(map(abs, imbalances.values()), Decimal(0))))
        for ledger, amount in imbalances.items():
            await self._open(Discrepancy(ledger, "ledger_sum", plain(amount), "0"))
        await self._resolve(positions, cash, imbalances)
        return not (positions or cash)

    async def _cash_activities(self) -> int:
        """Book what moved cash without a trade; the broker dates it by the day."""
        since = await self._marked() - self._overlap - dt.timedelta(days=1)
        opening = await self._books.opening()
        held = opening.activities if opening else frozenset()
        activities = await self._broker.cash_activities_since(since)
        return await self._books.book_cash([one for one in activities if one.id not in held])

    async def _differences(self) -> tuple[dict[str, Decimal], dict[str, Decimal], _Pair]:
        theirs = {held.symbol: held.quantity for held in await self._broker.positions()}
        their_cash = await self._broker.cash()
        pair = _Pair(
            await self._books.positions(), theirs, await self._books.cash() or ZERO, their_cash
        )
        gap = pair.their_cash - pair.our_cash
        return position_differences(pair.ours, theirs), {"": gap} if gap else {}, pair

    async def _open(self, found: Discrepancy) -> None:
        self._blocks.block(found.symbol, found.kind)
        if await self._books.open_discrepancy(found):
            _log.error(
                "discrepancy",
                symbol=found.symbol,
                kind=found.kind,
                ours=found.ours,
                theirs=found.theirs,
            )

    async def _resolve(
        self,
        positions: Mapping[str, Decimal],
        cash: Mapping[str, Decimal],
        imbalances: Mapping[str, Decimal],
    ) -> None:
        """Close what is explained: the balances agree, and the matter is a settle time old."""
        still = await self._books.open_discrepancies()
        DISCREPANCIES.set(len(still))
        for one in still:
            kind, symbol = one.found.kind, one.found.symbol
            self._blocks.block(symbol, kind)
            agrees = symbol not in positions
            if kind == "cash":
                agrees = not cash
            elif kind == "ledger_sum":
                agrees = symbol not in imbalances
            old = self._clock.now() - one.opened_at >= dt.timedelta(seconds=self._settle_s)
            if agrees and old:
                await self._books.resolve_discrepancy(one, "our books agree with the broker's")
                await self._blocks.clear(symbol, kind)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both sides' balances."""

    ours: Mapping[Symbol, Decimal]
    theirs: Mapping[Symbol, Decimal]
    our_cash: Decimal
    their_cash: Decimal
