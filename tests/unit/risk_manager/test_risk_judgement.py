"""Judgement: signals become orders, approvals reserve, headroom is never spent twice."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.vocabulary import OrderClass, OrderType, Side, TimeInForce, TradingState
from services.risk_manager.desk import Desk
from services.risk_manager.judgement import Judgement, forget, judge, reserve
from services.risk_manager.limits import LimitKey, Scope
from services.risk_manager.memory import Losses
from services.risk_manager.signals import ask_of_signal
from tests.support.desks import (
    NOW_NS,
    SYMBOLS,
    ask,
    bring,
    desk,
    fill,
    market_order,
    moment,
    signal,
)

D = Decimal


def judged(at: Desk, **facts: object) -> Judgement:
    sent = signal(**facts)  # type: ignore[arg-type]
    return judge(at, ask_of_signal(at, sent, uuid.uuid4(), moment()), moment())


def code(judgement: Judgement) -> str:
    return "APPROVED" if judgement.refusal is None else judgement.refusal.code


def test_signal_is_sized_by_the_account_share() -> None:
    made = judged(desk())
    assert code(made) == "APPROVED"
    assert (made.spec.side, made.quantity) == (Side.BUY, 400)  # 4 % of 1 000 000 at 100
    assert made.hold == D("40404.0400")  # 400 x 100.01 x 1.01
    assert not made.reducing


def test_signal_counts_what_the_strategy_has_and_has_asked_for() -> None:
    at = desk()
    bring(at, market_order(quantity=150))
    assert judged(at).quantity == 250
    other = judge(at, ask(market_order(quantity=1), "other"), moment())
    assert other.refusal is None
    assert at.book.strategy_exposure("other", "AAPL") == 0


def test_signal_of_zero_closes_and_reduces() -> None:
    at = desk()
    bought = bring(at, market_order(quantity=400))
    pending = at.book.orders[bought.ask.order_id]
    at.book.execute(fill(pending, 400))
    at.book.end(pending.order_id, D(400))
    made = judged(at, target=0.0)
    assert (made.spec.side, made.quantity, made.hold) == (Side.SELL, 400, 0)
    assert made.reducing
    at.switch = replace(at.switch, state=TradingState.REDUCING)
    assert code(judged(at, target=0.0)) == "APPROVED"
    assert code(judged(at, symbol="KO")) == "TRADING_STATE"


@pytest.mark.parametrize(
    ("price", "side", "quantity"),
    # Equity 1 000 000 + 400 x (price - 100), of it 4 %: 39 680 / 80 and 40 400 / 125.
    [(80, Side.BUY, 496 - 400), (125, Side.SELL, 400 - 323)],
)
def test_same_target_stated_again_is_sized_again(price: int, side: Side, quantity: int) -> None:
    at = desk()
    bought = bring(at, market_order(quantity=400))
    pending = at.book.orders[bought.ask.order_id]
    at.book.execute(fill(pending, 400))
    at.book.end(pending.order_id, D(400))
    assert code(judged(at, minute=1)) == "NOTHING_TO_DO"
    at.book.set_mark("AAPL", price - 0.01, price + 0.01, NOW_NS)
    made = judged(at, minute=2)
    assert code(made) == "APPROVED"
    assert (made.spec.side, made.quantity) == (side, quantity)


def test_nothing_to_do_is_said_so() -> None:
    assert code(judged(desk(), target=0.0)) == "NOTHING_TO_DO"


def test_signal_without_price_or_instrument() -> None:
    at = desk()
    del at.book.marks["AAPL"]
    assert code(judged(at)) == "PRICE_MISSING"
    assert code(judged(at, symbol="NOPE")) == "INSTRUMENT_UNKNOWN"


def test_signal_with_mad_target_is_refused() -> None:
    assert code(judged(desk(), target=float("nan"))) == "TARGET_INVALID"
    assert code(judged(desk(), target=7.0)) == "TARGET_INVALID"


def test_older_bar_is_superseded_and_the_same_bar_too() -> None:
    at = desk()
    at.see_bar(signal(minute=5))
    assert code(judged(at, minute=4)) == "SIGNAL_SUPERSEDED"
    assert code(judged(at, minute=5)) == "SIGNAL_SUPERSEDED"
    assert code(judged(at, minute=6)) == "APPROVED"


def test_entry_takes_its_exits_along_and_limit_is_rounded_cautiously() -> None:
    made = judged(desk(), limit=D("100.019"), stop=D("95.004"), take_profit=D("110.006"))
    assert made.spec.order_class is OrderClass.BRACKET
    assert made.spec.time_in_force is TimeInForce.GTC
    assert made.spec.order_type is OrderType.LIMIT
    assert made.spec.limit_price == D("100.01")
    assert made.spec.stop_loss_stop_price == D("95.00")
    assert made.spec.take_profit_limit_price == D("110.01")


def test_notional_becomes_whole_shares() -> None:
    spec = OrderSpec(symbol="AAPL", side=Side.BUY, notional=D(1_050))
    made = judge(desk(), ask(spec), moment())
    assert (made.spec.quantity, made.spec.notional) == (10, None)


def test_notional_stays_where_fractions_trade() -> None:
    at = desk()
    at.instruments["AAPL"] = replace(at.instruments["AAPL"], fractionable=True)
    spec = OrderSpec(symbol="AAPL", side=Side.BUY, notional=D(1_050))
    made = judge(at, ask(spec), moment())
    assert (made.spec.notional, made.quantity) == (1_050, D("10.5"))


def test_duplicate_is_denied_within_its_window_only() -> None:
    at = desk()
    bring(at, market_order(), wall=0.0)
    assert code(judge(at, ask(market_order()), moment(1.9))) == "DUPLICATE_ORDER"
    assert code(judge(at, ask(market_order()), moment(2.1))) == "APPROVED"
    assert code(judge(at, ask(market_order(quantity=11)), moment(0.1))) == "APPROVED"


def test_opposite_orders_do_not_meet_each_other() -> None:
    at = desk()
    bring(at, market_order())
    assert code(judge(at, ask(market_order(Side.SELL, 5)), moment())) == "SELF_CROSSING"


def test_order_rate_counts_approvals_in_the_window() -> None:
    at = desk(orders_per_window_strategy=2, duplicate_window_s=0)
    assert [code(bring(at, market_order(), wall=t)) for t in (0.0, 1.0, 2.0)] == [
        "APPROVED",
        "APPROVED",
        "ORDER_RATE_STRATEGY",
    ]
    assert code(bring(at, market_order(), wall=60.5)) == "APPROVED"


def test_forgotten_reservation_leaves_no_trace() -> None:
    at = desk()
    made = bring(at, market_order())
    forget(at, made)
    assert at.book.orders == {}
    assert at.book.totals().held == 0
    assert at.rates.count("sma", 1.0, 60.0) == 0
    assert code(bring(at, market_order())) == "APPROVED"


def test_narrower_limit_tightens_and_cannot_loosen() -> None:
    at = desk()
    at.limits.change(LimitKey(Scope.SYMBOL, "AAPL", "notional_max"), D(500))
    at.limits.change(LimitKey(Scope.SYMBOL, "KO", "position_share_max"), D(5))
    assert code(judge(at, ask(market_order()), moment())) == "NOTIONAL_ABOVE_LIMIT"
    assert code(judge(at, ask(market_order(symbol="MSFT")), moment())) == "APPROVED"
    big = market_order(symbol="KO", quantity=1_001)
    assert code(judge(at, ask(big), moment())) == "POSITION_ABOVE_LIMIT"


def test_losses_are_counted_from_the_session_and_from_the_peak() -> None:
    losses = Losses()
    monday, tuesday = dt.date(2022, 3, 7), dt.date(2022, 3, 8)
    for day, equity in ((monday, 100), (monday, 120), (monday, 90), (tuesday, 90), (tuesday, 84)):
        losses.see(day, D(equity))
    assert losses.loss_today(D(84)) == 6
    assert losses.drawdown(D(84)) == D("0.3")
    losses.moved(D(-20))
    assert losses.loss_today(D(64)) == 6


ORDERS = st.lists(
    st.tuples(
        st.sampled_from(sorted(SYMBOLS)),
        st.sampled_from(Side),
        st.integers(1, 1_500),
        st.sampled_from(["reserve", "fill", "cancel", "expire"]),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(orders=ORDERS, order_of_fills=st.randoms(use_true_random=False))
def test_approvals_never_exceed_headroom_in_any_interleaving(
    orders: list[tuple[str, Side, int, str]], order_of_fills: object
) -> None:
    """Whatever is approved, filled, cancelled or still pending: if all that is pending filled,
    in any order, no limit would be broken. Prices stand still at 100."""
    at = desk(duplicate_window_s=0, orders_per_window_strategy=10_000)
    for symbol, side, quantity, fate in orders:
        made = bring(at, market_order(side, quantity, symbol))
        if made.refusal is not None:
            continue
        pending = at.book.orders[made.ask.order_id]
        if fate == "fill":
            at.book.execute(fill(pending, made.quantity))
            at.book.end(pending.order_id, made.quantity)
        elif fate == "cancel":
            half = made.quantity // 2
            if half:
                at.book.execute(fill(pending, half))
            at.book.end(pending.order_id, half)
        elif fate == "expire":
            at.book.release(pending.order_id)
        _assert_within_limits(at)
    left = list(at.book.orders.values())
    order_of_fills.shuffle(left)  # type: ignore[attr-defined]
    for pending in left:
        at.book.execute(fill(pending, pending.remaining))
        at.book.end(pending.order_id, pending.quantity)
        _assert_within_limits(at)


def _assert_within_limits(at: Desk) -> None:
    totals = at.book.totals()
    assert totals.equity == 1_000_000
    assert totals.gross <= totals.equity
    assert max(abs(totals.net_high), abs(totals.net_low)) <= totals.equity
    assert totals.positions_value <= totals.equity
    for sector in set(SYMBOLS.values()):
        assert at.book.totals(sector).sector <= D("0.30") * totals.equity
    for symbol in SYMBOLS:
        assert at.book.exposure(symbol).worst * 100 <= D("0.10") * totals.equity


def test_judging_changes_nothing() -> None:
    at = desk()
    before = at.book.totals()
    judge(at, ask(market_order()), moment())
    assert at.book.totals() == before
    assert at.book.orders == {}


def test_reservation_is_kept_until_its_time() -> None:
    at, now = desk(), moment()
    made = judge(at, ask(market_order()), now)
    reserve(at, made, now, expires_at=30.0)
    assert at.book.expired(29.0) == []
    assert len(at.book.expired(30.0)) == 1


def test_price_of_another_day_is_stale() -> None:
    at = desk()
    late = replace(moment(), market_ns=NOW_NS + 86_400 * 10**9)
    assert code(judge(at, ask(market_order()), late)) == "PRICE_STALE"
