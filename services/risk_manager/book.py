"""The book of one account: what it holds, what is on its way, and what that is worth.

Kept in memory and changed incrementally; `Totals` cost the same however many positions there
are. Every change bears repetition: an execution, an order event or an approval that arrives
again changes nothing and says so by returning False.

Two streams tell of one fill (the order's event and the execution), in either order, and a venue
may take an execution back after the order's end. So what an order still may do shrinks only with
executions seen; an ended order stays pending for what its latest event says was filled and we
have not seen yet. Headroom is thus never counted free too early.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Final
from uuid import UUID

from libs.common.domain.checks import Mark, SymbolExposure, Totals
from libs.common.domain.instruments import UNKNOWN_SECTOR, Instrument
from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import ZERO, money
from services.risk_manager.lines import NOTHING, Line, RawMark
from services.risk_manager.pending import Fill, Pending, Recent

_EARLY_MAX: Final = 10_000
# How many orders that are over are still watched for executions that the venue takes back.
_OVER_MAX: Final = 10_000


class Book:
    """One account. Not safe for concurrent use: the account's lock serialises all calls."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self.cash = ZERO
        self.orders: dict[UUID, Pending] = {}
        self.marks: dict[str, RawMark] = {}
        self.by_strategy: defaultdict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
        self.executions = Recent(200_000)
        self.ended = Recent(50_000)
        # What was executed of orders that are not known yet.
        self._early: dict[UUID, Decimal] = {}
        self._over: dict[UUID, Pending] = {}
        self.latest_ns = 0
        self._instruments = instruments
        self._lines: dict[str, Line] = {}
        self._sides: defaultdict[tuple[str, Side], dict[UUID, Pending]] = defaultdict(dict)
        self._asked: defaultdict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
        self._heirs: defaultdict[UUID, set[UUID]] = defaultdict(set)
        self._dirty: set[str] = set()
        self._clear_sums()

    # What is there --------------------------------------------------------------------------

    def exposure(self, symbol: str) -> SymbolExposure:
        """Position and pending quantities of `symbol`."""
        line = self._lines.get(symbol)
        return SymbolExposure() if line is None else line.exposure

    def positions(self) -> dict[str, Decimal]:
        """The symbols with a position, signed."""
        return {s: e.exposure.position for s, e in self._lines.items() if e.exposure.position}

    def pending(self, symbol: str, side: Side) -> Iterator[Pending]:
        """Open orders and reservations of `symbol` on one side."""
        return iter(self._sides[symbol, side].values())

    def strategy_exposure(self, strategy_id: str, symbol: str) -> Decimal:
        """The strategy's position if all its pending orders of `symbol` fill; signed."""
        where = strategy_id, symbol
        return self.by_strategy[where] + self._asked[where]

    def mark(self, symbol: str, now_ns: int, factor: float) -> Mark | None:
        """The last quote and its age at market time `now_ns`: in wall seconds where the market
        runs faster than the wall clock, in market seconds where it is slowed down or stopped."""
        raw = self.marks.get(symbol)
        if raw is None:
            return None
        bid, ask, middle = raw.prices()
        age = max(0, now_ns - raw.ts_ns) / (1e9 * max(1.0, factor))
        return Mark(bid, ask, middle, Decimal(round(age * 1000)).scaleb(-3))

    def totals(self, sector: str = UNKNOWN_SECTOR) -> Totals:
        """The account's sums at the last prices, with the sum of `sector`."""
        for symbol in self._dirty:
            self._revalue(symbol)
        self._dirty.clear()
        return Totals(
            equity=self.cash + self._value,
            gross=self._gross,
            net_high=self._high,
            net_low=self._low,
            sector=self._sectors[sector],
            positions_value=self._absolute,
            held=self._held,
            complete=not self._unpriced,
        )

    def load(
        self,
        cash: Decimal,
        positions: Mapping[str, Decimal],
        by_strategy: Mapping[tuple[str, str], Decimal],
        executions: Iterable[UUID],
    ) -> None:
        """Begin anew with what the books say; pending orders are reserved after it."""
        self.cash = cash
        self.orders.clear()
        self._sides.clear()
        self._asked.clear()
        self._heirs.clear()
        self._early.clear()
        self._over.clear()
        self._lines.clear()
        self.by_strategy.clear()
        self.by_strategy.update(by_strategy)
        for trade_id in executions:
            self.executions.add(trade_id)
        self.revalue_all()
        for symbol, quantity in positions.items():
            self.set_position(symbol, quantity)

    # What happens ---------------------------------------------------------------------------

    def set_mark(self, symbol: str, bid: float, ask: float, ts_ns: int) -> None:
        """Take a quote; an older one than the last is ignored."""
        last = self.marks.get(symbol)
        if last is not None and ts_ns < last.ts_ns:
            return
        self.marks[symbol] = RawMark(bid, ask, ts_ns)
        self.latest_ns = max(self.latest_ns, ts_ns)
        if symbol in self._lines:
            self._dirty.add(symbol)

    def set_position(self, symbol: str, quantity: Decimal) -> None:
        """Take the account's position as the position table has it."""
        exposure = self.exposure(symbol)
        if exposure.position != quantity:
            self._put(symbol, replace(exposure, position=quantity))

    def reserve(self, order: Pending) -> bool:
        """Set aside an approval or take an open order; False if its id is known already.

        Executions that were told before it count for it.
        """
        if order.order_id in self.orders or order.order_id in self.ended:
            return False
        order.executed += self._early.pop(order.order_id, ZERO)
        with self._recounted(order, *self._heirs_of(order)):
            self._take_in(order)
        return True

    @contextmanager
    def without(self, order_id: UUID | None) -> Iterator[Pending | None]:
        """The book as if this pending order were not in it: what its amendment is judged by."""
        order = None if order_id is None else self.orders.get(order_id)
        if order is None:
            yield None
            return
        quantity, held = self._counted(order)
        self._add_pending(order, -quantity, -held)
        try:
            yield order
        finally:
            self._add_pending(order, quantity, held)

    def resize(self, order_id: UUID, quantity: Decimal) -> None:
        """An amended order took over less than was approved: its forerunner traded first."""
        order = self.orders.get(order_id)
        if order is not None and order.replaces is not None and 0 < quantity < order.quantity:
            with self._recounted(order):
                order.hold = money(order.hold * quantity / order.quantity)
                order.quantity = quantity

    def confirm(self, order_id: UUID) -> None:
        """An order stands behind the reservation: it no longer expires."""
        order = self.orders.get(order_id)
        if order is not None:
            order.expires_at = None

    def end(self, order_id: UUID, filled: Decimal, seq: int = 0) -> bool:
        """The order is over with `filled` executed at the venue, executions taken back not
        counted, as its event number `seq` says; False if that or a later event is known.

        An ended order whose executions the venue corrects has further events: the last one holds.
        """
        order = self.orders.get(order_id) or self._over.get(order_id)
        if order is None or (order.ended_with is not None and seq <= order.ended_seq):
            return False
        self._change(order, ended_with=filled, ended_seq=seq)
        return True

    def take_up(self, order: Pending, before_us: Decimal = ZERO) -> bool:
        """Take an order from its row; False if its id is known already. The row knows of
        executions that this book may not have seen yet: its own count goes on. It begins with
        what was traded `before_us`: that is in the opening balance, and never told."""
        order.executed = before_us
        return self.reserve(order)

    def revive(self, order: Pending) -> bool:
        """Take an order back that had ended here and lives after all: one given up that came to
        the venue late, or one found open there."""
        self.ended.discard(order.order_id)
        self._over.pop(order.order_id, None)
        return self.reserve(order)

    def pass_over(self, order_id: UUID) -> None:
        """An order that was never taken has ended: its approval, told again, sets nothing aside.
        One that is in the book is ended by its own events."""
        if order_id in self.orders:
            return
        self.ended.add(order_id)
        self._early.pop(order_id, None)

    def restate(self, order_id: UUID, quantity: Decimal, limit_price: Decimal | None) -> bool:
        """The venue changed what the order asks for; False if that is known."""
        order = self.orders.get(order_id)
        if order is None or (order.quantity, order.limit_price) == (quantity, limit_price):
            return False
        with self._recounted(order):
            order.quantity, order.limit_price = quantity, limit_price
        return True

    def release(self, order_id: UUID) -> bool:
        """Forget an approval that has not become an order; False if it is not there. Should the
        order turn up after all, it is taken as any order that was not known."""
        order = self.orders.get(order_id)
        if order is None:
            return False
        with self._recounted(order, *self._heirs_of(order)):
            self._drop(order)
        return True

    def execute(self, fill: Fill) -> bool:
        """Book one execution; False if its id was seen. A busted one comes as the opposite side
        under an id of its own: its order has those shares to trade again, if it still trades."""
        if not self.executions.add(fill.trade_id):
            return False
        signed = fill.side.sign * fill.quantity
        self.cash += fill.cash
        if fill.strategy_id is not None:
            self.by_strategy[fill.strategy_id, fill.symbol] += signed
        order = None
        if fill.order_id is not None:
            order = self.orders.get(fill.order_id) or self._over.get(fill.order_id)
        if order is None:
            self._note_early(fill)
        else:
            self._change(order, executed=order.executed + fill.of_order)
        exposure = self.exposure(fill.symbol)
        self._put(fill.symbol, replace(exposure, position=exposure.position + signed))
        return True

    def expired(self, now: float) -> list[Pending]:
        """The reservations whose time (epoch seconds) is over."""
        return [
            order
            for order in self.orders.values()
            if order.expires_at is not None and order.expires_at <= now
        ]

    def reservations(self) -> int:
        """How many approvals have not been seen as orders."""
        return sum(1 for order in self.orders.values() if order.expires_at is not None)

    def revalue_all(self) -> None:
        """Sum everything anew, as after a change of the instruments."""
        self._clear_sums()
        self._dirty.clear()
        lines, self._lines = self._lines, {}
        for symbol, line in lines.items():
            self._replace(symbol, line.at(self._price(symbol)))
        self._held = sum((self._counted(order)[1] for order in self.orders.values()), ZERO)

    # How the sums are kept ------------------------------------------------------------------

    def _clear_sums(self) -> None:
        self._value = self._absolute = self._gross = self._high = self._low = ZERO
        self._held = ZERO
        self._sectors: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
        self._unpriced = 0

    def _change(
        self,
        order: Pending,
        *,
        executed: Decimal | None = None,
        ended_with: Decimal | None = None,
        ended_seq: int = 0,
    ) -> None:
        with self._recounted(order, *self._heirs_of(order)):
            if executed is not None:
                order.executed = executed
            if ended_with is not None:
                order.ended_with, order.ended_seq = ended_with, ended_seq
            if order.is_over and order.order_id in self.orders:
                self._drop(order)
                self.ended.add(order.order_id)
                self._watch(order)
            elif not order.is_over and order.order_id in self._over:
                del self._over[order.order_id]
                self.ended.discard(order.order_id)
                self._take_in(order)

    def _watch(self, order: Pending) -> None:
        self._over[order.order_id] = order
        if len(self._over) > _OVER_MAX:
            del self._over[next(iter(self._over))]

    def _take_in(self, order: Pending) -> None:
        self.orders[order.order_id] = order
        self._sides[order.symbol, order.side][order.order_id] = order
        if order.replaces is not None:
            self._heirs[order.replaces].add(order.order_id)

    def _note_early(self, fill: Fill) -> None:
        if fill.order_id is None or fill.order_id in self.ended:
            return
        self._early[fill.order_id] = self._early.get(fill.order_id, ZERO) + fill.of_order
        if len(self._early) > _EARLY_MAX:
            del self._early[next(iter(self._early))]

    def _drop(self, order: Pending) -> None:
        del self.orders[order.order_id]
        del self._sides[order.symbol, order.side][order.order_id]
        if order.replaces is not None:
            self._heirs[order.replaces].discard(order.order_id)
            if not self._heirs[order.replaces]:
                del self._heirs[order.replaces]

    def _heirs_of(self, order: Pending) -> list[Pending]:
        if order.order_id not in self._heirs:
            return []
        return [self.orders[heir] for heir in self._heirs[order.order_id]]

    def _counted(self, order: Pending) -> tuple[Decimal, Decimal]:
        """What an order adds to the sums, quantity and money set aside. The venue has either an
        order or its amendment, never both: of the two the larger counts."""
        if order.order_id not in self.orders:
            return ZERO, ZERO
        old = None if order.replaces is None else self.orders.get(order.replaces)
        if old is None or old.ended_with is not None:
            return order.remaining, order.held
        return max(ZERO, order.remaining - old.remaining), max(ZERO, order.held - old.held)

    @contextmanager
    def _recounted(self, *orders: Pending) -> Iterator[None]:
        """Take the difference that the block makes to these orders into the sums."""
        before = [self._counted(order) for order in orders]
        yield
        for order, (quantity, held) in zip(orders, before, strict=True):
            quantity_now, held_now = self._counted(order)
            self._add_pending(order, quantity_now - quantity, held_now - held)

    def _add_pending(self, order: Pending, quantity: Decimal, held: Decimal) -> None:
        self._held += held
        if order.strategy_id is not None:
            self._asked[order.strategy_id, order.symbol] += order.side.sign * quantity
        exposure = self.exposure(order.symbol)
        self._put(order.symbol, exposure.with_order(order.side, quantity))

    def _put(self, symbol: str, exposure: SymbolExposure) -> None:
        self._dirty.discard(symbol)
        self._replace(symbol, Line(exposure).at(self._price(symbol)))

    def _revalue(self, symbol: str) -> None:
        self._replace(symbol, self._lines[symbol].at(self._price(symbol)))

    def _price(self, symbol: str) -> Decimal | None:
        raw = self.marks.get(symbol)
        return None if raw is None else raw.prices()[2]

    def _replace(self, symbol: str, new: Line) -> None:
        old = self._lines.get(symbol, NOTHING)
        self._lines[symbol] = new
        self._value += new.value - old.value
        self._absolute += abs(new.value) - abs(old.value)
        self._gross += new.worst - old.worst
        self._high += new.high - old.high
        self._low += new.low - old.low
        self._unpriced += old.priced - new.priced
        instrument = self._instruments.get(symbol)
        sector = UNKNOWN_SECTOR if instrument is None else instrument.sector
        self._sectors[sector] += new.worst - old.worst


def crossing(book: Book, symbol: str, side: Side, limit: Decimal | None) -> str | None:
    """The id of a pending order on the other side that an order at `limit` would trade with.

    None as limit means at any price. Orders that wait for a trigger are not on the book yet.
    """
    for order in book.pending(symbol, side.opposite):
        if not order.rests or not order.remaining:
            continue
        if limit is None or order.limit_price is None:
            return str(order.order_id)
        buy, sell = (limit, order.limit_price) if side is Side.BUY else (order.limit_price, limit)
        if buy >= sell:
            return str(order.order_id)
    return None
