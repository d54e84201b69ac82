"""What is looked at by itself: the kill switch, orders without news, the books."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable

from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderStatus, TradingState
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, UnavailableError
from libs.common.runtime.logging import get_logger
from libs.common.runtime.readiness import Readiness
from services.trade_executor import logic
from services.trade_executor.amends import Amends
from services.trade_executor.cancels import Cancels
from services.trade_executor.desk import Desk
from services.trade_executor.gate import Blocks, TradingGate
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.metrics import STREAM_DISTRUSTED
from services.trade_executor.model import Order
from services.trade_executor.ports import Books, Broker, Gate
from services.trade_executor.reconciliation import Findings, Reconciliation
from services.trade_executor.submission import Submission
from services.trade_executor.tasks import Tasks

_log = get_logger(__name__)

# A stream that told nothing for this long while REST knew news is mute.
_MUTE_S = 2.0
# A second look proves what one cannot; a third is for what changed in between. What is in doubt
# then blocks its symbol, not the start.
_SECOND_LOOKS = 2
_IN_FLIGHT = frozenset({OrderStatus.CREATED, OrderStatus.SUBMITTING, OrderStatus.OUTCOME_UNKNOWN})
_AWAITING = frozenset(
    {
        OrderStatus.SUBMITTED,
        OrderStatus.ACCEPTED,
        OrderStatus.WORKING,
        OrderStatus.PENDING_CANCEL,
        OrderStatus.PENDING_REPLACE,
    }
)


class Watch:
    """Start-up, and the loops that run for ever."""

    def __init__(
        self,
        *,
        books: Books,
        broker: Broker,
        desk: Desk,
        blocks: Blocks,
        lifecycle: Lifecycle,
        submission: Submission,
        amends: Amends,
        cancels: Cancels,
        gate: TradingGate,
        reconciliation: Reconciliation,
        clock: Clock,
        tasks: Tasks,
        readiness: Readiness,
        gate_poll_s: float,
        watch_s: float,
        orders_s: float,
        books_s: float,
        settle_s: float,
    ) -> None:
        self._books = books
        self._broker = broker
        self._desk = desk
        self._blocks = blocks
        self._lifecycle = lifecycle
        self._submission = submission
        self._amends = amends
        self._cancels = cancels
        self._gate = gate
        self._reconciliation = reconciliation
        self._clock = clock
        self._tasks = tasks
        self._readiness = readiness
        self._gate_poll_s = gate_poll_s
        self._watch_s = watch_s
        self._orders_s = orders_s
        self._books_s = books_s
        self._settle_s = settle_s
        self._look = asyncio.Event()
        self._lacking = asyncio.Event()
        self._halted_at: Gate | None = None
        # Told to close everything by a halt that says so, with its generation; may be told again.
        self.flatteners: list[Callable[[int], Awaitable[None]]] = []
        self._spoke_ns = clock.monotonic_ns()

    def look_at_gate(self) -> None:
        """Read the kill switch now."""
        self._look.set()

    def executions_lacking(self) -> None:
        """Something traded that we have not been told of: look at the orders soon."""
        self._lacking.set()

    def stream_spoke(self) -> None:
        """Note that the broker's stream told something."""
        self._spoke_ns = self._clock.monotonic_ns()

    async def start(self) -> None:
        """Make the books equal to the broker's before anything is sent.

        Orders that were being sent when we died have an unknown outcome; orders that were
        written and not sent are sent now, if they still may be.
        """
        self._desk.load(await self._books.open_orders())
        for one in await self._books.open_discrepancies():
            self._blocks.block(one.found.symbol, one.found.kind)
        await self._reconciliation.open_books()
        for order in self._desk.open_orders():
            if order.status is OrderStatus.SUBMITTING:
                await self._outcome_unknown(order)
        findings = await self._reconciliation.run("start", balances=True, deep=True)
        for _ in range(_SECOND_LOOKS):
            if not findings.doubts:
                break
            await asyncio.sleep(self._settle_s + 0.1)
            findings = await self._reconciliation.run("start", balances=True, deep=True)
        await self._look_at_gate()
        self._desk.opened = True
        for order in self._desk.open_orders():
            if order.status in {OrderStatus.CREATED, OrderStatus.OUTCOME_UNKNOWN}:
                self._resume(order)

    async def _outcome_unknown(self, order: Order) -> None:
        try:
            await self._lifecycle.happen(
                order.id, OrderEvent.LOSE_OUTCOME, reason="restarted while sending"
            )
        except ConflictError as error:
            # A start that is tried again: what was begun meanwhile has brought it on.
            _log.info("order_went_on", order=str(order.id), why=str(error))

    def _resume(self, order: Order) -> None:
        desk = self._submission if order.replaces_id is None else self._amends
        self._tasks.spawn(_work(order), lambda: desk.bring(order.id))

    async def follow_gate(self) -> None:
        """Notice a halt and cancel what may not rest."""
        while True:
            try:
                async with asyncio.timeout(self._gate_poll_s):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            await self._look_at_gate()

    async def _look_at_gate(self) -> None:
        gate = await self._gate.current()
        if gate is None or gate.state is not TradingState.HALTED:
            self._halted_at = None
            return
        reason = f"trading halted, generation {gate.generation}"
        if self._halted_at == gate:
            # What was on the wire when the halt came may have come to rest since.
            await self._cancels.cancel_open(reason, spare_protective=True, again=True)
            await self._flatten(gate)
            return
        asked = await self._cancels.cancel_open(reason, spare_protective=True)
        self._halted_at = gate
        _log.warning("halt_cancelled_orders", orders=len(asked), generation=gate.generation)
        await self._flatten(gate)

    async def _flatten(self, gate: Gate) -> None:
        if gate.flatten:
            for flatten in self.flatteners:
                await flatten(gate.generation)

    async def follow_orders(self) -> None:
        """Compare open orders every `orders_s`, sooner while one waits for news too long, and at
        the next look where the broker or the books were away at the last."""
        last, waits = self._clock.monotonic_ns(), False
        while True:
            try:
                async with asyncio.timeout(self._watch_s):
                    await self._lacking.wait()
                # The missing event may just be late: give it a moment.
                await asyncio.sleep(min(1.0, self._watch_s))
            except TimeoutError:
                pass
            lacking = self._lacking.is_set()
            self._lacking.clear()
            await self._repeat_cancels()
            await self._cancel_unwanted()
            await self._repair_amendments()
            await self._resume_stranded()
            due = (self._clock.monotonic_ns() - last) / 1e9 >= self._orders_s
            if not (due or lacking or waits or self._overdue()):
                continue
            last = self._clock.monotonic_ns()
            found = await self._compare("lacking" if lacking else "orders", balances=False)
            waits = found is None

    def _overdue(self) -> bool:
        """Tell whether an order has waited for news longer than the watch time."""
        limit = self._clock.now() - dt.timedelta(seconds=self._watch_s)
        return any(
            order.status in _AWAITING and (order.updated_at or order.created_at) < limit
            for order in self._desk.open_orders()
            if order.spec.limit_price is None and order.spec.stop_price is None
        )

    async def _repeat_cancels(self) -> None:
        limit = self._clock.now() - dt.timedelta(seconds=self._watch_s)
        for order in self._desk.open_orders():
            if order.status is OrderStatus.PENDING_CANCEL and (
                (order.updated_at or order.created_at) < limit
            ):
                try:
                    await self._cancels.ask(order)
                except UnavailableError as error:
                    _log.warning("cancel_waits", order=str(order.id), error=str(error))

    async def _cancel_unwanted(self) -> None:
        for order in self._desk.open_orders():
            if logic.unwanted(order) and order.status is not OrderStatus.PENDING_CANCEL:
                try:
                    await self._cancels.cancel(order.id, "no approval stands behind it any more")
                except (UnavailableError, ConflictError) as error:
                    _log.warning("cancel_waits", order=str(order.id), error=str(error))

    async def _resume_stranded(self) -> None:
        """Go on with orders that nobody works on any more: what brought them has failed."""
        limit = self._clock.now() - dt.timedelta(seconds=self._watch_s)
        for order in self._desk.open_orders():
            if order.status not in _IN_FLIGHT or (order.updated_at or order.created_at) > limit:
                continue
            if self._tasks.working_on(_work(order)):
                continue
            if order.status is OrderStatus.SUBMITTING:
                _log.warning("order_stranded", order=str(order.id))
                await self._lifecycle.happen(
                    order.id, OrderEvent.LOSE_OUTCOME, reason="sending it failed"
                )
            self._resume(order)

    async def _repair_amendments(self) -> None:
        try:
            await self._amends.repair(self._clock.now() - dt.timedelta(seconds=self._watch_s))
        except UnavailableError as error:
            _log.warning("amendments_wait", error=str(error))

    async def follow_books(self) -> None:
        """Compare positions and cash every `books_s`, sooner while something is in doubt."""
        doubts = False
        while True:
            await asyncio.sleep(self._settle_s + 0.1 if doubts else self._books_s)
            findings = await self._compare("books", balances=True)
            doubts = findings is None or findings.doubts

    async def _compare(self, cause: str, *, balances: bool) -> Findings | None:
        try:
            findings = await self._reconciliation.run(cause, balances=balances)
        except UnavailableError as error:
            self._readiness.block("reconciliation", str(error))
            _log.warning("reconciliation_waits", cause=cause, error=str(error))
            return None
        self._readiness.clear("reconciliation")
        silent_s = (self._clock.monotonic_ns() - self._spoke_ns) / 1e9
        if findings.news and silent_s > _MUTE_S:
            # REST knew what the stream did not tell: connected, and mute.
            STREAM_DISTRUSTED.inc()
            _log.warning("stream_distrusted", cause=cause, news=findings.news)
            self._broker.distrust_stream()
        return findings


def _work(order: Order) -> str:
    return f"order {order.id}"
