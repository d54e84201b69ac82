"""From any difference between our books and the broker's that faults can lead to, two passes a
settle time apart make them equal, and a third changes nothing: also when the first is cut down at
any of its awaits, and when the stream tells the same things at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderStatus, OrderType, Side
from libs.common.kernel.clock import ManualClock
from libs.common.kernel.ids import (
    BrokerOrderId,
    ExecutionId,
    OrderId,
    SequentialIds,
    client_order_id,
)
from services.trade_executor.desk import Desk
from services.trade_executor.gate import Blocks
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.model import BrokerOrder, Order, Update
from services.trade_executor.ports import Opening, Recorded
from services.trade_executor.reconciliation import Reconciliation
from tests.support.fake_broker import FakeBroker
from tests.support.memory_books import MemoryBooks


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


START = dt.datetime(2022, 3, 1, 15, tzinfo=dt.UTC)
SETTLE_S = 5.0
SYMBOLS = ("AAPL", "KO")
Act = tuple[str, int, int, bool]


class Cut(BaseException):
    """The process dies here."""


@dataclass
class Venue(FakeBroker):
    """A broker on a clock of its own that can name executions twice over and be cut off."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    renames: bool = False
    activities: list[Activity] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    tripwire: object = None

    @property
    def now(self) -> dt.datetime:
        return self.clock.now()

    def _tell(
        self, order: BrokerOrder, event: OrderEvent, execution: Execution | None = None
    ) -> None:
        super()._tell(order, event, execution)
        self.updates.append(
            Update(event, event, self.orders[order.broker_order_id], execution, ts=self.now)
        )

    def _trip(self) -> None:
        if callable(self.tripwire):
            self.tripwire()

    async def order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        self._trip()
        return await super().order(broker_order_id)

    async def open_orders(self) -> Sequence[BrokerOrder]:
        self._trip()
        replaced = OrderEvent.REPLACED
        return [one for one in await super().open_orders() if one.event is not replaced]

    async def executions_since(self, since: dt.datetime) -> Sequence[Execution]:
        self._trip()
        found = await super().executions_since(since)
        if not self.renames:
            return found
        return [replace(one, execution_id=ExecutionId(f"x-{one.execution_id}")) for one in found]

    async def cash_activities_since(self, since: dt.datetime) -> Sequence[Activity]:
        self._trip()
        return [one for one in self.activities if one.executed_at >= since]

    def swap(self, broker_order_id: BrokerOrderId) -> None:
        """Somebody replaces an order by hand."""
        old = self.orders[broker_order_id]
        new = replace(
            old,
            broker_order_id=BrokerOrderId(str(uuid.uuid4())),
            client_order_id=str(uuid.uuid4()),
            replaces=broker_order_id,
            event=OrderEvent.WORKING,
            filled_quantity=Decimal(0),
            submitted_at=self.now,
        )
        self._tell(new, OrderEvent.WORKING)
        self._tell(replace(old, replaced_by=new.broker_order_id), OrderEvent.REPLACED)

    def split(self, broker_order_id: BrokerOrderId) -> None:
        """A corporate action doubles an order's quantity."""
        old = self.orders[broker_order_id]
        assert old.spec.quantity is not None
        spec = OrderSpec(
            symbol=old.spec.symbol, side=old.spec.side, order_type=OrderType.LIMIT,
            quantity=old.spec.quantity * 2, limit_price=Decimal(1),
        )  # fmt: skip
        changed = replace(old, spec=spec)
        self._tell(changed, OrderEvent.RESTATED)
        self.orders[broker_order_id] = replace(changed, event=old.event, status_word="new")


class Bench:
    """Books, broker and the executor's parts between them; the parts can be made anew."""

    def __init__(self, renames: bool = False) -> None:
        self.clock = ManualClock(START)
        self.venue = Venue(clock=self.clock, renames=renames)
        self.books = MemoryBooks(
            self.clock, Opening(START - dt.timedelta(hours=1), frozenset()), money=self.venue.money
        )
        self.ids = SequentialIds()
        self.left: int | None = None
        self.books.tripwire = self._trip
        self.venue.tripwire = self._trip
        self.awake()

    def awake(self) -> None:
        """A process begins: all it knows is in the books."""
        self.left = None
        desk, blocks = Desk(), Blocks()
        desk.load(order for order in self.books.orders.values() if not order.status.is_terminal)
        self.lifecycle = Lifecycle(
            self.books, desk, blocks, self.clock, account_id="main", broker="fake"
        )
        self.identifier = Identifier(self.books, self.venue, desk, self.lifecycle, legs_wait_s=0.01)
        self.reconciliation = Reconciliation(
            books=self.books, broker=self.venue, desk=desk, lifecycle=self.lifecycle,
            identifier=self.identifier, blocks=blocks, clock=self.clock, market_clock=self.clock,
            ids=self.ids, settle_s=SETTLE_S, overlap=dt.timedelta(hours=1),
        )  # fmt: skip

    def _trip(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Cut

    async def run(self, deep: bool = True) -> int:
        """Make a pass; return how much it changed."""
        return (await self.reconciliation.run("test", balances=True, deep=deep)).changes

    def settle(self) -> None:
        self.clock.advance(dt.timedelta(seconds=SETTLE_S))

    async def tell(self, update: Update) -> None:
        """What the stream's follower does with an update."""
        order = await self.identifier.family(update.order)
        if update.execution is not None:
            await self.lifecycle.executed(
                order.id,
                update.execution,
                source="stream",
                sum_there=update.order.filled_quantity,
            )
        await self.lifecycle.happen(order.id, update.event)

    async def place(self, symbol: str, side: Side, quantity: int, ours: bool) -> None:
        spec = OrderSpec(
            symbol=symbol, side=side, order_type=OrderType.LIMIT,
            quantity=Decimal(quantity), limit_price=Decimal(2),
        )  # fmt: skip
        order_id = OrderId(self.ids.new())
        name = client_order_id(order_id, 1) if ours else f"theirs-{order_id}"
        found = self.venue._accept(name, spec)  # type: ignore[arg-type]
        if ours:
            await self.books.create(
                Order(
                    id=order_id,
                    client_order_id=client_order_id(order_id, 1),
                    broker="fake",
                    broker_order_id=found.broker_order_id,
                    account_id="main",
                    spec=spec,
                    correlation_id=order_id,
                    created_at=self.clock.now(),
                    status=OrderStatus.SUBMITTED,
                ),
                [Recorded("created", None, OrderStatus.CREATED)],
                None,
            )

    def check(self) -> None:
        """Our books say what the broker's say."""
        assert self.books.money == self.venue.money
        ours = {name: held.quantity for name, held in self.books.held.items() if held.quantity}
        theirs = {name: held.quantity for name, held in self.venue.held.items() if held.quantity}
        assert ours == theirs
        assert len(self.books.trades) == len(self.venue.executions)
        by_id = {order.broker_order_id: order for order in self.books.orders.values()}
        assert len(by_id) == len(self.books.orders)
        assert by_id.keys() == self.venue.orders.keys()
        for found in self.venue.orders.values():
            order = by_id[found.broker_order_id]
            assert order.filled_quantity == found.filled_quantity
            live = found.event in {OrderEvent.WORKING, OrderEvent.PARTLY_FILLED}
            assert order.status.is_terminal is not live, (order.status, found.event)
            if live:
                assert order.spec.quantity == found.spec.quantity


def _acts(words: list[str], least: int, most: int) -> st.SearchStrategy[list[Act]]:
    one = st.tuples(
        st.sampled_from(words), st.integers(0, 3), st.sampled_from([1, 3, 2]), st.booleans()
    )
    return st.lists(one, min_size=least, max_size=most)


ORDERS = _acts(["place", "external"], 1, 3)
EVENTS = _acts(
    ["fill", "fill", "fill", "again", "cancel", "expire", "fee", "swap", "split", "misjudge",
     "place"], 2, 10,
)  # fmt: skip
ACTS = st.tuples(ORDERS, EVENTS).map(lambda both: [*both[0], *both[1]])


async def _act(bench: Bench, what: str, which: int, size: int, told: bool) -> None:
    """Let one thing happen at the broker; `told`: the stream tells us of it."""
    venue = bench.venue
    bench.clock.advance(dt.timedelta(seconds=2))
    before = len(venue.updates)
    if what in {"place", "external"}:
        symbol, side = SYMBOLS[which % 2], Side.SELL if which % 3 == 0 else Side.BUY
        await bench.place(symbol, side, size * 4, what == "place")
    elif what == "fee":
        amount = Decimal(size - 3) or Decimal(7)
        name = str(uuid.uuid4())
        venue.money += amount
        venue.activities.append(Activity(name, "FEE", amount, venue.now))
    live = list(await venue.open_orders())
    if what in {"place", "external", "fee"} or not live:
        pass
    elif what == "misjudge":
        ours = await bench.books.open_orders()
        if ours:
            await bench.lifecycle.happen(ours[which % len(ours)].id, OrderEvent.CANCELED)
    else:
        found = live[which % len(live)]
        if what in {"fill", "again"}:  # "again": twice at the same instant
            assert found.spec.quantity is not None
            rest = found.spec.quantity - found.filled_quantity
            venue.price = Decimal(size)
            venue.fill(found.broker_order_id, min(rest, Decimal(size)))
            if what == "again" and rest >= 2 * size:
                venue.fill(found.broker_order_id, Decimal(size))
        elif what == "cancel":
            await venue.cancel(found.broker_order_id)
        elif what == "expire":
            venue._tell(found, OrderEvent.EXPIRED)
        elif what == "swap" and not found.filled_quantity:
            venue.swap(found.broker_order_id)
        elif what == "split":
            venue.split(found.broker_order_id)
    if told:
        for update in venue.updates[before:]:
            await bench.tell(update)


async def _differ(bench: Bench, acts: list[Act]) -> None:
    for act in acts:
        await _act(bench, *act)


async def _equal_after_two(bench: Bench, deep_again: bool) -> None:
    await bench.run()
    bench.settle()
    await bench.run(deep=deep_again)
    bench.check()
    writes = bench.books.writes
    bench.settle()
    assert await bench.run() == 0
    assert bench.books.writes == writes
    assert not bench.books.unresolved
    bench.check()


@settings(max_examples=150, deadline=None)
@given(ACTS, st.booleans(), st.booleans())
def test_two_passes_make_the_books_equal(acts: list[Act], renames: bool, deep_again: bool) -> None:
    async def body() -> None:
        bench = Bench(renames)
        await _differ(bench, acts)
        await _equal_after_two(bench, deep_again)

    asyncio.run(body())


@settings(max_examples=150, deadline=None)
@given(ACTS, st.integers(0, 60), st.booleans())
def test_a_pass_cut_down_anywhere_leaves_nothing_half_done(
    acts: list[Act], at: int, renames: bool
) -> None:
    async def body() -> None:
        bench = Bench(renames)
        await _differ(bench, acts)
        bench.left = at
        with contextlib.suppress(Cut):
            await bench.run()
        bench.awake()
        await _equal_after_two(bench, deep_again=True)

    asyncio.run(body())


@settings(max_examples=150, deadline=None)
@given(ACTS, st.booleans())
def test_the_stream_may_tell_the_same_meanwhile(acts: list[Act], renames: bool) -> None:
    async def body() -> None:
        bench = Bench(renames)
        await _differ(bench, acts)
        told = [
            bench.tell(update)
            for update in bench.venue.updates
            if update.execution is not None or update.event is OrderEvent.CANCELED
        ]
        await asyncio.gather(bench.run(), *told)
        await _equal_after_two(bench, deep_again=True)

    asyncio.run(body())
