"""Amendments before the risk desk: of an order and its amendment the larger counts, once."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from libs.common.domain.vocabulary import OrderType, Side, TradingState
from services.risk_manager.book import Book
from services.risk_manager.desk import Desk
from services.risk_manager.judgement import Ask, Judgement, judge, reserve
from services.risk_manager.pending import Pending
from tests.support.desks import bring, desk, fill, instruments, market_order, moment

D = Decimal


def limit(price: str, quantity: str, side: Side = Side.BUY) -> Any:
    return structs.replace(
        market_order(side, quantity), order_type=OrderType.LIMIT, limit_price=D(price)
    )


def amend(at: Desk, old: Judgement, spec: Any, *, leg: bool = False) -> Judgement:
    wanted = Ask(uuid.uuid4(), spec, "sma", replaces=old.ask.order_id, leg=leg)
    judgement = judge(at, wanted, moment(5.0))
    if judgement.refusal is None:
        reserve(at, judgement, moment(5.0), 30.0)
    return judgement


def held(at: Desk) -> tuple[Decimal, Decimal]:
    return at.book.totals().held, at.book.exposure("AAPL").buys


def test_while_both_may_live_the_larger_counts() -> None:
    at = desk()
    old = bring(at, limit("90", "100"))
    assert held(at) == (9000, 100)
    new = amend(at, old, limit("91", "150"))
    assert held(at) == (13650, 150)
    at.book.end(old.ask.order_id, D(0))
    assert held(at) == (13650, 150)
    at.book.end(new.ask.order_id, D(0))
    assert held(at) == (0, 0)


def test_an_amendment_refused_by_the_venue_gives_back_what_it_added() -> None:
    at = desk()
    old = bring(at, limit("90", "100"))
    new = amend(at, old, limit("91", "150"))
    at.book.end(new.ask.order_id, D(0))
    assert held(at) == (9000, 100)
    at.book.end(old.ask.order_id, D(0))
    assert held(at) == (0, 0)


def test_a_smaller_amendment_frees_headroom_only_when_it_stands() -> None:
    at = desk()
    old = bring(at, limit("90", "100"))
    new = amend(at, old, limit("90", "10"))
    assert held(at) == (9000, 100)
    at.book.end(old.ask.order_id, D(0))
    assert held(at) == (900, 10)
    at.book.resize(new.ask.order_id, D(5))
    assert held(at) == (450, 5)


def test_what_asks_for_less_is_not_blocked_by_a_limit_it_improves() -> None:
    at = desk()
    old = bring(at, limit("90", "1000"))
    assert old.refusal is None
    tight = desk(notional_max=1, position_share_max="0.0001", order_equity_share_max="0.0001")
    at.limits = tight.limits
    for state in (TradingState.ACTIVE, TradingState.REDUCING):
        at.switch = type(at.switch)(state, 2, "test", "test", at.switch.set_at)
        for spec in (limit("90", "900"), limit("89", "1000")):
            judgement = judge(
                at, Ask(uuid.uuid4(), spec, "sma", replaces=old.ask.order_id), moment(9)
            )
            assert judgement.refusal is None, judgement.refusal
        for spec in (limit("90", "1001"), limit("91", "1000")):
            judgement = judge(
                at, Ask(uuid.uuid4(), spec, "sma", replaces=old.ask.order_id), moment(9)
            )
            assert judgement.refusal is not None
    assert held(at) == (90000, 1000)


def test_an_exit_leg_is_amended_as_an_exit_and_is_no_part_of_the_book() -> None:
    at = desk()
    entry = bring(at, limit("90", "100"))
    leg = amend(at, entry, limit("120", "100", Side.SELL), leg=True)
    assert (leg.refusal, leg.hold, leg.reducing) == (None, 0, True)
    assert at.book.exposure("AAPL").sells == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["fill", "end_old", "end_new", "reserve"]), st.integers(1, 40)),
        max_size=8,
    ),
    st.integers(1, 100),
    st.integers(1, 100),
)
def test_sums_are_what_they_would_be_counted_anew(
    steps: list[tuple[str, int]], old_size: int, new_size: int
) -> None:
    book = Book(instruments())
    book.cash = D(100_000)
    book.set_mark("AAPL", 99.99, 100.01, 1)
    old = Pending(uuid.uuid4(), "AAPL", Side.BUY, D(old_size), D(old_size * 10))
    new = Pending(uuid.uuid4(), "AAPL", Side.BUY, D(new_size), D(new_size * 11))
    new.replaces = old.order_id
    book.reserve(old)
    book.reserve(new)
    for what, quantity in steps:
        if what == "fill" and old.remaining >= quantity and old.order_id in book.orders:
            book.execute(fill(old, quantity))
        elif what == "end_old":
            book.end(old.order_id, old.executed)
        elif what == "end_new":
            book.end(new.order_id, new.executed)
        with book.without(old.order_id):
            pass
        before = book.totals().held, book.exposure("AAPL").buys
        live_old = old.remaining if old.order_id in book.orders else D(0)
        live_new = new.remaining if new.order_id in book.orders else D(0)
        assert before[1] == max(live_old, live_new)
        book.revalue_all()
        assert (book.totals().held, book.exposure("AAPL").buys) == before
