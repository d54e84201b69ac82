"""The book: sums that stay right however messages come, and bear repetition."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from libs.common.domain.checks import SymbolExposure
from libs.common.domain.vocabulary import OrderType, Side
from libs.common.kernel.money import ZERO
from services.risk_manager.book import Book, crossing
from services.risk_manager.pending import Fill, Pending
from tests.support.desks import NOW_NS, SYMBOLS, fill, instruments

D = Decimal


def order(side: Side = Side.BUY, quantity: int = 100, **more: object) -> Pending:
    fields: dict[str, object] = {
        "order_id": uuid.uuid4(),
        "symbol": "AAPL",
        "side": side,
        "quantity": D(quantity),
        "hold": D(quantity) * 101 if side is Side.BUY else ZERO,
        "strategy_id": "sma",
        "expires_at": 30.0,
    }
    return Pending(**(fields | more))  # type: ignore[arg-type]


def book(cash: int = 100_000) -> Book:
    made = Book(instruments())
    made.cash = D(cash)
    for symbol in SYMBOLS:
        made.set_mark(symbol, 99.99, 100.01, NOW_NS)
    return made


def taken_back(of: Pending, quantity: int) -> Fill:
    made = fill(of, quantity)
    return replace(made, side=made.side.opposite, cash=-made.cash, reverses=True)


def test_reservation_counts_as_exposure_and_is_held() -> None:
    b = book()
    assert b.reserve(order())
    totals = b.totals("technology")
    assert (totals.equity, totals.gross, totals.sector) == (100_000, 10_000, 10_000)
    assert totals.held == 10_100
    assert b.strategy_exposure("sma", "AAPL") == 100


def test_second_reservation_of_one_order_changes_nothing() -> None:
    b, o = book(), order()
    assert b.reserve(o)
    assert not b.reserve(order(order_id=o.order_id))
    assert b.totals().held == 10_100


def test_fill_moves_exposure_from_pending_to_position() -> None:
    b, o = book(), order()
    b.reserve(o)
    assert b.execute(fill(o, 40))
    assert b.exposure("AAPL") == SymbolExposure(D(40), D(60), ZERO)
    assert b.totals().held == 6_060
    assert b.totals().equity == 100_000


def test_same_execution_twice_changes_nothing() -> None:
    b, o = book(), order()
    b.reserve(o)
    f = fill(o, 40)
    assert b.execute(f)
    assert not b.execute(f)
    assert b.exposure("AAPL").position == 40
    assert b.cash == 96_000


def test_executions_told_before_their_order_count_for_it() -> None:
    b, o = book(), order()
    b.execute(fill(o, 100))
    assert b.reserve(o)
    assert b.totals().held == 0
    b.end(o.order_id, D(100))
    assert not b.orders


def test_an_order_that_lives_after_all_counts_again() -> None:
    b, o = book(), order()
    b.reserve(o)
    b.end(o.order_id, D(0))
    assert not b.orders
    assert b.revive(order(order_id=o.order_id, expires_at=None))
    assert b.totals().held == 10_100


def test_an_approval_told_again_after_its_order_has_ended_reserves_nothing() -> None:
    b, o = book(), order()
    b.execute(fill(o, 100))
    b.pass_over(o.order_id)
    assert not b.reserve(o)
    assert b.strategy_exposure("sma", "AAPL") == 100


def test_end_told_before_the_executions_frees_nothing_too_early() -> None:
    b, o = book(), order()
    b.reserve(o)
    b.end(o.order_id, D(100))
    assert b.exposure("AAPL").worst == 100
    b.execute(fill(o, 100))
    assert b.exposure("AAPL") == SymbolExposure(D(100), ZERO, ZERO)
    assert b.orders == {}


def test_executions_told_before_the_end_leave_nothing_pending() -> None:
    b, o = book(), order()
    b.reserve(o)
    b.execute(fill(o, 100))
    assert b.exposure("AAPL") == SymbolExposure(D(100), ZERO, ZERO)
    b.end(o.order_id, D(100))
    assert b.orders == {}
    assert not b.end(o.order_id, D(100))
    assert not b.reserve(order(order_id=o.order_id))


def test_cancelled_rest_is_released() -> None:
    b, o = book(), order()
    b.reserve(o)
    b.execute(fill(o, 30))
    b.end(o.order_id, D(30))
    assert b.exposure("AAPL") == SymbolExposure(D(30), ZERO, ZERO)
    assert b.totals().held == 0


def test_an_execution_corrected_before_the_late_end_of_its_order_leaves_nothing_pending() -> None:
    b, o = book(), order(quantity=188)
    b.reserve(o)
    for one in (fill(o, 188), taken_back(o, 188), fill(o, 173)):
        assert b.execute(one)
    assert b.end(o.order_id, D(188), 5)
    assert b.exposure("AAPL") == SymbolExposure(D(173), D(15), ZERO)
    assert b.end(o.order_id, D(0), 6)
    assert not b.end(o.order_id, D(188), 5)
    assert b.end(o.order_id, D(173), 7)
    assert b.orders == {}
    assert b.exposure("AAPL") == SymbolExposure(D(173), ZERO, ZERO)


@pytest.mark.parametrize("first", ["row", "reversal"])
def test_what_an_order_traded_before_our_books_is_no_execution_to_wait_for(first: str) -> None:
    b, o = book(), order(executed=D(40))
    if first == "row":
        assert b.take_up(o, D(40))
        assert (o.remaining, b.exposure("AAPL").buys) == (60, 60)
    assert b.execute(taken_back(o, 30))
    if first == "reversal":
        assert b.take_up(o, D(40))
    assert (o.remaining, b.exposure("AAPL").buys) == (90, 90)
    assert b.execute(fill(o, 20))
    assert b.end(o.order_id, D(30), 5)
    assert o.order_id not in b.orders
    assert b.exposure("AAPL").buys == 0


def test_an_order_that_is_over_counts_again_while_its_execution_is_corrected() -> None:
    b, o = book(), order(quantity=188)
    b.reserve(o)
    b.execute(fill(o, 188))
    b.end(o.order_id, D(188), 5)
    b.execute(taken_back(o, 188))
    assert b.exposure("AAPL").worst == 188
    b.end(o.order_id, D(0), 6)
    assert b.exposure("AAPL").worst == 0
    b.end(o.order_id, D(173), 7)
    assert b.exposure("AAPL").worst == 173
    b.execute(fill(o, 173))
    assert b.exposure("AAPL") == SymbolExposure(D(173), ZERO, ZERO)
    assert not b.reserve(order(order_id=o.order_id))


@given(st.data())
def test_what_the_venue_takes_back_counts_right_in_every_order_of_arrival(
    data: st.DataObject,
) -> None:
    """Executions, some corrected, and what the order's events say of them: the messages come in
    any order and some twice. At the end nothing is pending, and never is less counted than what
    the latest event heard of says that the order traded."""
    b, o = book(), order(quantity=100)
    b.reserve(o)
    filled, events, executions = 0, [], []
    for size in data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=3)):
        filled += size
        executions.append(fill(o, size))
        if data.draw(st.booleans()):
            corrected = data.draw(st.integers(0, size))
            events.append(filled)
            filled += corrected - size
            executions += [taken_back(o, size)] + ([fill(o, corrected)] if corrected else [])
        events.append(filled)
    told = [*executions, *enumerate(events, start=1)]
    told += data.draw(st.lists(st.sampled_from(told), max_size=3))
    heard, latest = 0, 0
    for one in data.draw(st.permutations(told)):
        if isinstance(one, Fill):
            b.execute(one)
        else:
            seq, total = one
            assert b.end(o.order_id, D(total), seq) == (seq > heard)
            if seq > heard:
                heard, latest = seq, total
        if heard:
            assert b.exposure("AAPL").worst >= latest
        kept = b.totals()
        b.revalue_all()
        assert b.totals() == kept
    assert b.orders == {}
    assert b.exposure("AAPL") == SymbolExposure(D(filled), ZERO, ZERO)


def test_confirmed_order_does_not_expire() -> None:
    b, first, second = book(), order(), order()
    b.reserve(first)
    b.reserve(second)
    b.confirm(first.order_id)
    assert [o.order_id for o in b.expired(30.0)] == [second.order_id]
    assert b.expired(29.9) == []
    assert b.release(second.order_id)
    assert b.reservations() == 0
    assert b.totals().held == 10_100


def test_released_order_that_turns_up_is_taken_again() -> None:
    b, o = book(), order()
    b.reserve(o)
    b.release(o.order_id)
    assert b.reserve(order(order_id=o.order_id, expires_at=None))


def test_older_quote_is_ignored() -> None:
    b = book()
    b.set_mark("AAPL", 1.0, 2.0, NOW_NS - 1)
    mark = b.mark("AAPL", NOW_NS, 1.0)
    assert mark is not None
    assert mark.price == 100


def test_age_is_in_wall_seconds() -> None:
    mark = book().mark("AAPL", NOW_NS + 60 * 10**9, 60.0)
    assert mark is not None
    assert mark.age_s == 1


def test_price_age_in_a_stopped_market_is_market_time() -> None:
    mark = book().mark("AAPL", NOW_NS + 2 * 10**9, 0.0)
    assert mark is not None
    assert mark.age_s == 2


def test_position_without_a_price_is_told() -> None:
    b = Book(instruments())
    b.set_position("AAPL", D(5))
    assert not b.totals().complete
    b.set_mark("AAPL", 9.0, 11.0, NOW_NS)
    assert b.totals().complete
    assert b.totals().equity == 50


def test_crossing_needs_prices_that_meet() -> None:
    b = book()
    b.reserve(order(Side.SELL, order_type=OrderType.LIMIT, limit_price=D("101.00")))
    assert crossing(b, "AAPL", Side.BUY, D("100.99")) is None
    assert crossing(b, "AAPL", Side.BUY, D("101.00")) is not None
    assert crossing(b, "AAPL", Side.BUY, None) is not None
    assert crossing(b, "AAPL", Side.SELL, None) is None
    assert crossing(b, "MSFT", Side.BUY, None) is None


def test_stop_order_does_not_cross_before_its_trigger() -> None:
    b = book()
    b.reserve(order(Side.SELL, order_type=OrderType.STOP))
    assert crossing(b, "AAPL", Side.BUY, None) is None


@dataclass
class _Known:
    order: Pending
    filled: Decimal = ZERO
    fills: list[Fill] = field(default_factory=list)


class BookMachine(RuleBasedStateMachine):
    """Reservations, fills, ends, releases and prices in any order, some of them twice."""

    @initialize()
    def begin(self) -> None:
        self.book = book()
        self.known: list[_Known] = []
        self.clock = NOW_NS

    @rule(
        side=st.sampled_from(Side),
        quantity=st.integers(1, 500),
        symbol=st.sampled_from(sorted(SYMBOLS)),
    )
    def reserve(self, side: Side, quantity: int, symbol: str) -> None:
        made = order(side, quantity, symbol=symbol)
        assert self.book.reserve(made)
        self.known.append(_Known(made))

    @rule(data=st.data())
    def execute(self, data: st.DataObject) -> None:
        open_ones = [k for k in self.known if k.filled < k.order.quantity]
        if not open_ones:
            return
        known = data.draw(st.sampled_from(open_ones))
        amount = data.draw(st.integers(1, int(known.order.quantity - known.filled)))
        made = fill(known.order, amount, data.draw(st.integers(90, 110)))
        assert self.book.execute(made)
        known.filled += amount
        known.fills.append(made)

    @rule(data=st.data())
    def execute_again(self, data: st.DataObject) -> None:
        fills = [f for k in self.known for f in k.fills]
        if fills:
            before = self.book.totals(), self.book.cash
            assert not self.book.execute(data.draw(st.sampled_from(fills)))
            assert (self.book.totals(), self.book.cash) == before

    @rule(data=st.data(), ahead=st.booleans())
    def end(self, data: st.DataObject, ahead: bool) -> None:
        if self.known:
            known = data.draw(st.sampled_from(self.known))
            # The venue may have filled more than we have heard of.
            filled = known.order.quantity if ahead else known.filled
            self.book.end(known.order.order_id, filled)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.known:
            self.book.release(data.draw(st.sampled_from(self.known)).order.order_id)

    @rule(symbol=st.sampled_from(sorted(SYMBOLS)), cents=st.integers(1_000, 30_000))
    def price(self, symbol: str, cents: int) -> None:
        self.clock += 1
        self.book.set_mark(symbol, cents / 100, cents / 100, self.clock)

    @invariant()
    def sums_equal_a_count_from_scratch(self) -> None:
        kept = self.book.totals("technology")
        self.book.revalue_all()
        assert self.book.totals("technology") == kept

    @invariant()
    def nothing_pending_is_negative(self) -> None:
        assert self.book.totals().held >= 0
        for symbol in SYMBOLS:
            exposure = self.book.exposure(symbol)
            assert exposure.buys >= 0
            assert exposure.sells >= 0
        for pending in self.book.orders.values():
            assert pending.remaining >= 0
            assert pending.held >= 0


TestBookMachine = BookMachine.TestCase
TestBookMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
