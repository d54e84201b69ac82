"""Account values: worked examples, identities, and what happens without a price."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.messages import Bar, MarketData, Quote, TradeTick
from libs.common.domain.positions import Position, apply_fill
from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import ZERO, notional
from services.portfolio.logic import Book, Holding, Mark, MarkSource, mark_of, newer, value_book

AGE = dt.timedelta(seconds=30)
SECOND = 1_000_000_000
NS = 1_355_000_000 * SECOND


def mark(price: str, seen_ns: int | None = 0) -> Mark:
    return Mark(Decimal(price), MarkSource.QUOTE, None, seen_ns)


def holding(symbol: str, quantity: str, cost: str, realized: str = "0") -> Holding:
    return Holding(symbol, Decimal(quantity), Decimal(cost), Decimal(realized))


def test_worked_account_long_and_short() -> None:
    book = Book(
        cash=Decimal("1000"),
        fees=Decimal("3.5"),
        holdings=(
            holding("AAPL", "10", "50", "7"),
            holding("XOM", "-5", "80"),
            holding("KO", "0", "0", "4"),
        ),
    )
    values = value_book(book, {"AAPL": mark("52"), "XOM": mark("79")}, 0, AGE)
    assert values.long_value == Decimal("520")
    assert values.short_value == Decimal("-395")
    assert (values.gross, values.net) == (Decimal("915"), Decimal("125"))
    assert values.equity == Decimal("1125")
    assert values.unrealized_pnl == Decimal("25")
    assert values.realized_pnl == Decimal("11")
    assert values.total_pnl == Decimal("32.5")
    assert [position.symbol for position in values.positions] == ["AAPL", "XOM"]
    assert values.stale == ()


def test_holding_without_mark_is_valued_at_cost_and_flagged_never_at_zero() -> None:
    values = value_book(Book(holdings=(holding("AAPL", "10", "50"),)), {}, 0, AGE)
    assert values.equity == Decimal("500")
    assert values.positions[0].mark_source is MarkSource.COST
    assert values.stale == ("AAPL",)


@pytest.mark.parametrize(
    ("seen_ns", "age_max", "stale"),
    [
        (0, AGE, False),
        (-30 * SECOND, AGE, False),
        (-30 * SECOND - 1, AGE, True),
        (-99 * SECOND, None, False),
        (None, AGE, True),
        (None, None, True),
    ],
)
def test_mark_goes_stale_by_age_while_the_market_is_open(
    seen_ns: int | None, age_max: dt.timedelta | None, stale: bool
) -> None:
    book = Book(holdings=(holding("AAPL", "1", "1"),))
    values = value_book(book, {"AAPL": mark("2", seen_ns)}, 0, age_max)
    assert values.positions[0].stale is stale
    assert values.equity == Decimal("2")


prices = st.decimals("0.01", "5000", places=2)
quantities = st.decimals("0.001", "1000", places=3)
fills = st.tuples(
    st.sampled_from(["AAPL", "MSFT"]),
    st.sampled_from(list(Side)),
    quantities,
    prices,
    st.decimals("0", "5", places=4),
)


@given(st.lists(fills, max_size=25), prices, prices, st.decimals("0", "1000000", places=4))
def test_equity_change_is_realised_plus_unrealised_less_fees(
    trades: list[tuple[str, Side, Decimal, Decimal, Decimal]],
    aapl: Decimal,
    msft: Decimal,
    deposit: Decimal,
) -> None:
    """Cash is booked trade by trade here, P&L comes from the positions: two ways to one figure.

    They differ by roundings alone: half a cent of a cent per trade for cash and profit, and the
    average cost's eighth place times the shares held.
    """
    cash, fees = deposit, ZERO
    positions = {"AAPL": Position(), "MSFT": Position()}
    for symbol, side, quantity, price, fee in trades:
        cash -= side.sign * notional(quantity, price) + fee
        fees += fee
        positions[symbol] = apply_fill(positions[symbol], side, quantity, price).position
    book = Book(
        cash=cash,
        fees=fees,
        holdings=tuple(
            Holding(symbol, p.quantity, p.avg_cost, p.realized_pnl)
            for symbol, p in positions.items()
        ),
    )
    values = value_book(book, {"AAPL": mark(str(aapl)), "MSFT": mark(str(msft))}, 0, AGE)
    tolerance = Decimal("0.0001") * (2 * len(trades) + 2)
    assert abs((values.equity - deposit) - values.total_pnl) <= tolerance
    assert values.gross >= abs(values.net)
    assert values.net == values.long_value + values.short_value


def test_mark_is_the_middle_of_the_newest_usable_quote() -> None:
    data = MarketData(
        symbol="AAPL",
        provider="p",
        ts_init=0,
        quotes=(
            Quote(ts_event=NS, bid=150.1, ask=150.2),
            Quote(ts_event=NS + SECOND, bid=0.0, ask=150.3),
        ),
        trades=(TradeTick(ts_event=NS, price=150.5, size=1),),
    )
    found = mark_of(data, 5)
    assert found is not None
    assert (found.price, found.source, found.seen_ns) == (Decimal("150.15"), MarkSource.QUOTE, 5)


def test_without_quote_a_trade_then_a_bar_is_the_mark() -> None:
    tick = TradeTick(ts_event=NS, price=150.5, size=1)
    bar = Bar(timeframe="1m", ts_event=NS, open=1, high=2, low=1, close=1.5, volume=1)
    traded = mark_of(
        MarketData(symbol="A", provider="p", ts_init=0, trades=(tick,), bars=(bar,)), 0
    )
    closed = mark_of(MarketData(symbol="A", provider="p", ts_init=0, bars=(bar,)), 0)
    assert traded is not None
    assert closed is not None
    assert (traded.price, closed.price) == (Decimal("150.5"), Decimal("1.5"))


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, math.inf])
def test_unusable_price_is_no_mark(price: float) -> None:
    tick = TradeTick(ts_event=NS, price=price, size=1)
    assert mark_of(MarketData(symbol="A", provider="p", ts_init=0, trades=(tick,)), 0) is None


def test_late_bar_does_not_replace_a_quote_of_its_minute_but_the_next_does() -> None:
    start = dt.datetime(2022, 1, 3, 15, 0, tzinfo=dt.UTC)
    quote = Mark(Decimal(2), MarkSource.QUOTE, start + dt.timedelta(seconds=59), 0)
    late = Mark(Decimal(1), MarkSource.BAR, start, 1)
    following = Mark(Decimal(3), MarkSource.BAR, start + dt.timedelta(minutes=1), 2)
    assert newer(quote, late) is quote
    assert newer(quote, following) is following
    assert newer(None, late) is late


def test_market_time_that_starts_over_does_not_freeze_marks() -> None:
    known = Mark(Decimal(2), MarkSource.QUOTE, dt.datetime(2022, 1, 3, tzinfo=dt.UTC), 0)
    fresh = Mark(Decimal(1), MarkSource.QUOTE, dt.datetime(1990, 1, 3, tzinfo=dt.UTC), 1)
    assert newer(known, fresh) is fresh
