"""The domain's books against a small independent oracle: every figure, after every step."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Progress
from libs.common.domain.ledger import (
    cash_account,
    corporate_account,
    fees_account,
    imbalances,
    position_account,
)
from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import ZERO
from tests.support.domain_books import MAIN, DomainBooks, new_order
from tests.support.ledger_sessions import CASH_KINDS, SYMBOLS, Session

which = st.integers(0, 1000)
symbols = st.sampled_from(SYMBOLS)
shares = st.integers(1, 10**11).map(lambda n: Decimal(n).scaleb(-8))
prices = st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-6))
money = st.integers(0, 10**7).map(lambda n: Decimal(n).scaleb(-4))
fees = st.sampled_from([ZERO, Decimal("0.0123"), Decimal("2.5")])


class TaughtDomain:
    """The domain's books as a session tells them."""

    def __init__(self) -> None:
        self.books = DomainBooks()

    def place(self, name: str, symbol: str, side: Side, quantity: Decimal, held: Decimal) -> None:
        self.books.place(name, new_order(symbol, side, quantity), held)

    def end(self, name: str) -> None:
        self.books.end(name)

    def fill(self, name: str, one: Execution) -> None:
        self.books.fill(name, one)

    def take_back(
        self, name: str, original: str, replacement: Execution | None, at: dt.datetime
    ) -> None:
        self.books.take_back(name, original, replacement)

    def activity(self, one: Activity) -> None:
        self.books.activity(one)

    def restate(self, name: str, quantity: Decimal) -> None:
        raise NotImplementedError("the domain has no function for it: SQL alone restates")


class Books(RuleBasedStateMachine):
    """Anything may happen to an account, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.taught = TaughtDomain()
        self.session = Session(self.taught)

    @initialize(amount=st.integers(1, 10**6).map(Decimal))
    def begin(self, amount: Decimal) -> None:
        self.session.deposit(amount)

    @rule(symbol=symbols, side=st.sampled_from(Side), quantity=shares, held=money)
    def place(self, symbol: str, side: Side, quantity: Decimal, held: Decimal) -> None:
        self.session.place(symbol, side, quantity, held)

    @rule(which=which)
    def end(self, which: int) -> None:
        self.session.end(which)

    @rule(which=which, quantity=shares, price=prices, fee=fees)
    def fill(self, which: int, quantity: Decimal, price: Decimal, fee: Decimal) -> None:
        self.session.fill(which, quantity, price, fee)

    @rule(which=which)
    def told_again(self, which: int) -> None:
        self.session.repeat(which)

    @rule(which=which, unheard=st.integers(0, 5))
    def bust(self, which: int, unheard: int) -> None:
        self.session.take_back(which, None, unheard=unheard == 5)

    @rule(which=which, quantity=shares, price=prices, fee=fees, unheard=st.integers(0, 5))
    def correct(
        self, which: int, quantity: Decimal, price: Decimal, fee: Decimal, unheard: int
    ) -> None:
        self.session.take_back(which, (quantity, price, fee), unheard=unheard == 5)

    @rule(kind=st.sampled_from(CASH_KINDS), symbol=symbols, amount=money, sign=st.booleans())
    def cash(self, kind: str, symbol: str, amount: Decimal, sign: bool) -> None:
        if amount:
            self.session.cash(kind, symbol, amount if sign else -amount)

    @rule(
        kind=st.sampled_from(("SPLIT", "CIL", "JNLS")),
        symbol=symbols,
        parts=st.integers(-99, 300),
        amount=money,
        ago=st.integers(0, 6),
    )
    def move(self, kind: str, symbol: str, parts: int, amount: Decimal, ago: int) -> None:
        held = self.session.oracle.position(symbol).quantity
        quantity = (held * parts / 100).quantize(Decimal("0.00000001"))
        self.session.move(kind, symbol, quantity, amount if parts < 0 else -amount, ago)

    @invariant()
    def equal(self) -> None:
        oracle, books = self.session.oracle, self.taught.books
        ledger = books.ledger
        assert ledger.balance(cash_account(MAIN)).posted == oracle.cash
        assert ledger.balance(cash_account(MAIN)).debits_pending == oracle.cash_held
        paid = ledger.balance(fees_account()).posted
        assert paid == oracle.fees - oracle.money["DIVNRA"]
        lieu = sum((m.amount for m in oracle.movements), ZERO)
        assert ledger.balance(corporate_account()).posted == -oracle.money["DIV"] - lieu
        assert imbalances(ledger.balances) == {}
        for symbol in SYMBOLS:
            told, kept = oracle.position(symbol), books.positions[symbol]
            assert (kept.quantity, kept.avg_cost, kept.realized_pnl) == (
                told.quantity, told.average, told.realized,
            )  # fmt: skip
            balance = ledger.balance(position_account(MAIN, symbol))
            assert (balance.posted, balance.debits_pending) == (
                told.quantity, oracle.shares_held(symbol),
            )  # fmt: skip
        for name, order in oracle.orders.items():
            kept_order = books.orders[name]
            held = kept_order.held.amount if kept_order.held else ZERO
            assert held == order.held
            assert kept_order.filled_value == order.worth
            assert kept_order.progress == Progress(
                kept_order.progress.status, order.quantity, order.filled
            )
            assert kept_order.progress.status.is_terminal == order.over


TestBooks = Books.TestCase
TestBooks.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
