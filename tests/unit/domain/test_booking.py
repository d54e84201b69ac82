"""A random trading session booked line by line, against sums an accountant would make."""

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.domain.booking import Booked, fill_group, hold, hold_amount, release, reversal
from libs.common.domain.ledger import (
    Ledger,
    Transfer,
    TransferCode,
    TransferKind,
    capital_account,
    cash_account,
    fees_account,
    imbalances,
    position_account,
)
from libs.common.domain.positions import Position, apply_fill
from libs.common.domain.vocabulary import Side
from libs.common.kernel.ids import AccountId, OrderId, Symbol, TradeId, TransferId
from libs.common.kernel.money import ZERO, notional

D = Decimal
MAIN, AAPL = AccountId("main"), Symbol("AAPL")
CASH, SHARES = cash_account(MAIN), position_account(MAIN, AAPL)
ORDER = OrderId(UUID(int=7))


def funded(cash: str) -> Ledger:
    book = Ledger()
    book.open_account(CASH, no_overdraft=True)
    deposit = Transfer(
        TransferId(UUID(int=1)), capital_account(MAIN), CASH, D(cash), TransferCode.DEPOSIT
    )
    book.commit([deposit])
    return book


def trade(number: int, side: Side, quantity: str, price: str, fee: str = "0") -> Booked:
    amount = notional(D(quantity), D(price))
    trade_id = TradeId(UUID(int=16 * (1000 + number)))
    return Booked(trade_id, ORDER, MAIN, AAPL, side, D(quantity), amount, D(fee))


def test_buy_in_two_parts_posts_the_hold_and_voids_nothing_twice() -> None:
    book = funded("2000")
    held = hold(ORDER, MAIN, AAPL, Side.BUY, D("1050"))
    book.commit([held])
    first = fill_group(trade(1, Side.BUY, "40", "10.10", "1"), held, order_open=True)
    book.commit(first)
    assert [(line.kind, line.amount) for line in first] == [
        (TransferKind.POST, D("404.0000")),
        (TransferKind.DIRECT, D("40")),
        (TransferKind.DIRECT, D("1")),
        (TransferKind.PENDING, D("646.0000")),
    ]
    assert book.balance(CASH).available == D("2000") - 1050 - 1
    book.commit(fill_group(trade(2, Side.BUY, "60", "10.20"), first[-1], order_open=False))
    assert book.balance(CASH).available == D("2000") - 404 - 1 - 612
    assert book.open_holds() == frozenset()
    assert book.balance(SHARES).posted == 100
    assert book.balance(fees_account()).posted == 1


def test_a_cost_above_the_hold_goes_direct() -> None:
    book = funded("2000")
    held = hold(ORDER, MAIN, AAPL, Side.BUY, D("1000"))
    book.commit([held])
    lines = fill_group(trade(1, Side.BUY, "100", "10.50"), held, order_open=False)
    assert [line.amount for line in lines] == [D("1000"), D("50.0000"), D("100")]
    book.commit(lines)
    assert book.balance(CASH).posted == 950


def test_late_fill_without_hold_is_booked_direct() -> None:
    book = funded("2000")
    held = hold(ORDER, MAIN, AAPL, Side.BUY, D("1000"))
    book.commit([held])
    book.commit([release(held)])
    book.commit(fill_group(trade(1, Side.BUY, "10", "10"), None, order_open=False))
    assert book.balance(CASH).available == 1900


def test_short_sale_takes_the_position_account_below_zero() -> None:
    book = funded("1000")
    held = hold(ORDER, MAIN, AAPL, Side.SELL, D("50"))
    book.commit([held])
    book.commit(fill_group(trade(1, Side.SELL, "50", "12"), held, order_open=False))
    assert book.balance(SHARES).posted == -50
    assert book.balance(CASH).posted == 1600


def test_a_bust_takes_everything_back() -> None:
    book = funded("1000")
    lines = fill_group(trade(1, Side.BUY, "10", "12", "0.5"), None, order_open=False)
    book.commit(lines)
    book.commit(reversal(lines))
    assert book.balance(CASH).posted == 1000
    assert book.balance(SHARES).posted == 0


@pytest.mark.parametrize(
    ("side", "quantity", "money_amount", "worst", "reference", "expected"),
    [
        (Side.BUY, "100", None, None, "10", "1050.0000"),
        (Side.BUY, "100", None, "10", "9", "1000.0000"),
        (Side.BUY, None, "500", None, "9", "500.0000"),
        (Side.SELL, "100", None, None, None, "100"),
        (Side.SELL, None, "500", None, "8", "62.5"),
        (Side.BUY, "100", None, None, None, None),
        (Side.SELL, None, "500", None, None, None),
    ],
)
def test_what_an_order_holds(
    side: Side,
    quantity: str | None,
    money_amount: str | None,
    worst: str | None,
    reference: str | None,
    expected: str | None,
) -> None:
    amount = hold_amount(
        side,
        quantity=D(quantity) if quantity else None,
        notional_amount=D(money_amount) if money_amount else None,
        worst_price=D(worst) if worst else None,
        reference_price=D(reference) if reference else None,
    )
    assert amount == (D(expected) if expected else None)


@dataclass
class Oracle:
    """Cash and shares as plain sums."""

    cash: Decimal
    shares: Decimal = ZERO
    fees: Decimal = ZERO
    position: Position = field(default_factory=Position)

    def trade(self, side: Side, quantity: Decimal, price: Decimal, fee: Decimal) -> None:
        self.cash -= side.sign * notional(quantity, price) + fee
        self.shares += side.sign * quantity
        self.fees += fee
        self.position = apply_fill(self.position, side, quantity, price).position


orders = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.decimals("0.0001", "500", places=4),  # what is held
        st.lists(
            st.tuples(
                st.decimals("0.00000001", "50", places=8),
                st.decimals("0.01", "99", places=2),
                st.decimals("0", "2", places=4),
            ),
            max_size=4,
        ),
        st.booleans(),  # does the last part complete the order
    ),
    max_size=8,
)


@settings(max_examples=80, deadline=None)
@given(orders)
def test_sums_are_zero_and_balances_are_what_was_traded(
    session: list[tuple[Side, Decimal, list[tuple[Decimal, Decimal, Decimal]], bool]],
) -> None:
    book, oracle, number = funded("100000"), Oracle(D("100000")), 0
    for index, (side, amount, fills, completes) in enumerate(session):
        open_hold: Transfer | None = hold(OrderId(UUID(int=50 + index)), MAIN, AAPL, side, amount)
        assert open_hold is not None
        book.commit([open_hold])
        for part, (quantity, price, fee) in enumerate(fills):
            number += 1
            order_open = not (completes and part == len(fills) - 1)
            booked = trade(number, side, str(quantity), str(price), str(fee))
            lines = fill_group(booked, open_hold, order_open=order_open)
            book.commit(lines, happened=True)
            oracle.trade(side, quantity, price, fee)
            posted = any(line.kind is TransferKind.POST for line in lines)
            held = [line for line in lines if line.kind is TransferKind.PENDING]
            open_hold = held[0] if held else open_hold if not posted and order_open else None
            assert imbalances(book.balances) == {}
        if open_hold is not None:
            book.commit([release(open_hold)])
    assert book.open_holds() == frozenset()
    assert book.balance(CASH).posted == oracle.cash
    assert book.balance(CASH).debits_pending == 0
    assert book.balance(SHARES).posted == oracle.shares == oracle.position.quantity
    assert book.balance(fees_account()).posted == oracle.fees
