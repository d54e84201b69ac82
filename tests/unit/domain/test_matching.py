"""Matching: numbers checked by hand, and properties."""

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.matching import (
    Level,
    Match,
    QueueStep,
    affordable_quantity,
    depth,
    is_stop_triggered,
    matched_quantity,
    queue_after_print,
    queue_on_arrival,
    trailing_mark,
    trailing_stop_price,
    walk,
    walk_notional,
)
from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import money

ASKS = (Level(D("10.00"), D(100)), Level(D("10.01"), D(200)), Level(D("10.02"), D(300)))


def test_depth_steps_away_from_the_market_with_growing_size() -> None:
    assert depth(Level(D("10.00"), D(100)), Side.BUY, D("0.01"), 3) == ASKS
    bids = depth(Level(D("9.99"), D(50)), Side.SELL, D("0.01"), 2)
    assert bids == (Level(D("9.99"), D(50)), Level(D("9.98"), D(100)))


def test_depth_never_shows_a_price_of_zero() -> None:
    assert depth(Level(D("0.0002"), D(1)), Side.SELL, D("0.0001"), 5) == (
        Level(D("0.0002"), D(1)),
        Level(D("0.0001"), D(2)),
    )


def test_market_order_walks_displayed_size() -> None:
    assert walk(ASKS, Side.BUY, D(150)) == [
        Match(D("10.00"), D(100)),
        Match(D("10.01"), D(50)),
    ]


def test_limit_order_stops_at_its_price() -> None:
    assert matched_quantity(walk(ASKS, Side.BUY, D(500), D("10.01"))) == D(300)
    assert walk(ASKS, Side.BUY, D(500), D("9.99")) == []


def test_order_larger_than_the_book_takes_what_is_there() -> None:
    assert matched_quantity(walk(ASKS, Side.BUY, D(10_000))) == D(600)


def test_notional_buys_eight_places() -> None:
    assert walk_notional([Level(D("300.00"), D(100))], Side.BUY, D(1000)) == [
        Match(D("300.00"), D("3.33333333"))
    ]


@given(
    st.decimals("0.01", "1000000", places=2),
    st.decimals("0.0001", "5000", places=4),
)
def test_affordable_quantity_is_the_largest_that_fits(notional: D, price: D) -> None:
    quantity = affordable_quantity(notional, price)
    assert money(quantity * price) <= notional
    assert (quantity + D("0.00000001")) * price > notional - D("0.0001")


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(0, 1000)), min_size=1, max_size=8),
    st.integers(1, 5000),
    st.integers(1, 600),
)
def test_walk_never_exceeds_order_or_display_or_limit(
    book: list[tuple[int, int]], quantity: int, limit: int
) -> None:
    levels = [Level(D(p), D(s)) for p, s in sorted(book)]
    matches = walk(levels, Side.BUY, D(quantity), D(limit))
    assert matched_quantity(matches) <= D(quantity)
    shown = sum((lv.size for lv in levels if lv.price <= D(limit)), D(0))
    assert matched_quantity(matches) == min(D(quantity), shown)
    assert all(m.price <= D(limit) and m.quantity > 0 for m in matches)


@pytest.mark.parametrize(
    ("side", "price", "triggered"),
    [
        (Side.SELL, "95.01", False),
        (Side.SELL, "95.00", True),
        (Side.BUY, "94.99", False),
        (Side.BUY, "95.00", True),
    ],
)
def test_stop_triggers_at_its_price(side: Side, price: str, triggered: bool) -> None:
    assert is_stop_triggered(side, D("95.00"), D(price)) is triggered


def test_trailing_sell_follows_the_high_and_never_falls() -> None:
    mark = None
    for price in ("100", "102", "101"):
        mark = trailing_mark(Side.SELL, mark, D(price))
    assert mark == D(102)
    assert trailing_stop_price(Side.SELL, mark, D("1.50"), None) == D("100.50")
    assert trailing_stop_price(Side.SELL, D("101.00"), None, D(1)) == D("99.99")
    assert trailing_stop_price(Side.BUY, D("50.00"), None, D("2.5")) == D("51.25")


def test_trailing_needs_exactly_one_distance() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        trailing_stop_price(Side.SELL, D(100), None, None)


def test_print_at_the_limit_serves_the_queue_first() -> None:
    step = queue_after_print(Side.BUY, D(10), D(200), D(150), D(10), D(300))
    assert step == QueueStep(D(0), D(100))
    step = queue_after_print(Side.BUY, D(10), D(200), D(150), D(10), D(120))
    assert step == QueueStep(D(80), D(0))


def test_print_through_the_limit_fills_regardless_of_queue() -> None:
    step = queue_after_print(Side.SELL, D(10), D(900), D(150), D("10.01"), D(100))
    assert step == QueueStep(D(0), D(100))


def test_print_away_from_the_limit_changes_nothing() -> None:
    step = queue_after_print(Side.SELL, D(10), D(900), D(150), D("9.99"), D(100))
    assert step == QueueStep(D(900), D(0))


def test_order_that_betters_the_best_price_stands_first() -> None:
    best = Level(D("9.99"), D(400))
    assert queue_on_arrival(Side.BUY, D("10.00"), best) == D(0)
    assert queue_on_arrival(Side.BUY, D("9.99"), best) == D(400)
