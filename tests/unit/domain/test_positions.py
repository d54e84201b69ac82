"""Positions against worked examples and an independent oracle that replays with fractions."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.positions import Position, apply_fill, unrealized_pnl
from libs.common.domain.vocabulary import Side

D = Decimal


@pytest.mark.parametrize(
    ("fills", "quantity", "avg_cost", "realized"),
    [
        ([("buy", "100", "10"), ("buy", "50", "13")], "150", "11", "0"),
        ([("buy", "100", "10"), ("sell", "40", "12")], "60", "10", "80"),
        ([("buy", "100", "10"), ("sell", "150", "12")], "-50", "12", "200"),
        ([("sell", "50", "12"), ("buy", "50", "11")], "0", "0", "50"),
        ([("sell", "50", "12"), ("sell", "50", "14"), ("buy", "20", "15")], "-80", "13", "-40"),
        ([("buy", "1", "1"), ("buy", "2", "2")], "3", "1.66666667", "0"),
        ([("sell", "10", "5"), ("buy", "15", "4")], "5", "4", "10"),
    ],
)
def test_worked_examples(
    fills: list[tuple[str, str, str]], quantity: str, avg_cost: str, realized: str
) -> None:
    position = Position()
    for side, size, price in fills:
        position = apply_fill(position, Side(side), D(size), D(price)).position
    assert position == Position(D(quantity), D(avg_cost), D(realized))


def test_unrealized_follows_the_sign() -> None:
    assert unrealized_pnl(Position(D(-50), D(12)), D(11)) == 50
    assert unrealized_pnl(Position(D(50), D(12)), D(11)) == -50


fills = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.decimals("0.00000001", "9999", places=8),
        st.decimals("0.0001", "9999", places=4),
    ),
    max_size=30,
)


@given(fills)
def test_profit_is_cash_flow_plus_what_is_held_at_cost(
    trades: list[tuple[Side, Decimal, Decimal]],
) -> None:
    """Oracle: realised = cash in - cash out + quantity held x average cost, by accounting alone.

    Tolerance: each fill rounds the average by at most 5e-9 per share held and the profit by
    5e-5.
    """
    position, cash, slack = Position(), Fraction(0), Fraction(0)
    for side, quantity, price in trades:
        position = apply_fill(position, side, quantity, price).position
        cash -= side.sign * Fraction(quantity) * Fraction(price)
        slack += abs(Fraction(position.quantity)) * Fraction(5, 10**9) + Fraction(5, 10**5)
    expected = cash + Fraction(position.quantity) * Fraction(position.avg_cost)
    assert abs(Fraction(position.realized_pnl) - expected) <= slack
    assert position.quantity == sum((side.sign * size for side, size, _ in trades), D(0))


@given(fills)
def test_each_fill_reports_its_own_share_of_the_profit(
    trades: list[tuple[Side, Decimal, Decimal]],
) -> None:
    position, total = Position(), D(0)
    for side, quantity, price in trades:
        position, realized = apply_fill(position, side, quantity, price)
        total += realized
    assert position.realized_pnl == total
    assert (position.avg_cost == 0) == (position.quantity == 0)
