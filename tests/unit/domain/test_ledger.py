"""Rules of the book, each by a case small enough to check by hand."""

from decimal import Decimal
from uuid import UUID

import pytest

from libs.common.domain.ledger import (
    AccountKey,
    Balance,
    Ledger,
    OverdraftError,
    ResolvedError,
    Transfer,
    TransferCode,
    TransferKind,
    capital_account,
    cash_account,
    imbalances,
    market_account,
)
from libs.common.kernel.errors import ConflictError, InvalidInputError
from libs.common.kernel.ids import AccountId, TransferId

D = Decimal
CASH = cash_account(AccountId("main"))
CAPITAL = capital_account(AccountId("main"))
MARKET = market_account("USD")


def transfer(
    number: int,
    debit: AccountKey,
    credit: AccountKey,
    amount: str,
    kind: TransferKind = TransferKind.DIRECT,
    pending: int | None = None,
) -> Transfer:
    pending_id = TransferId(UUID(int=pending)) if pending else None
    return Transfer(
        TransferId(UUID(int=number)), debit, credit, D(amount), TransferCode.CASH, kind, pending_id
    )


@pytest.fixture
def book() -> Ledger:
    ledger = Ledger()
    ledger.open_account(CASH, no_overdraft=True)
    ledger.commit([transfer(1, CAPITAL, CASH, "1000")])
    return ledger


def test_deposit_is_ours_and_the_sum_is_zero(book: Ledger) -> None:
    assert book.balance(CASH).posted == 1000
    assert book.balance(CAPITAL).posted == -1000
    assert imbalances(book.balances) == {}


def test_pending_reserves_without_moving(book: Ledger) -> None:
    book.commit([transfer(2, CASH, MARKET, "400", TransferKind.PENDING)])
    assert (book.balance(CASH).posted, book.balance(CASH).available) == (1000, 600)


def test_post_moves_its_part_and_releases_the_rest(book: Ledger) -> None:
    book.commit([transfer(2, CASH, MARKET, "400", TransferKind.PENDING)])
    book.commit([transfer(3, CASH, MARKET, "150", TransferKind.POST, 2)])
    assert (book.balance(CASH).posted, book.balance(CASH).available) == (850, 850)
    assert book.open_holds() == frozenset()


def test_void_releases_all(book: Ledger) -> None:
    book.commit([transfer(2, CASH, MARKET, "400", TransferKind.PENDING)])
    book.commit([transfer(3, CASH, MARKET, "400", TransferKind.VOID, 2)])
    assert book.balance(CASH) == Balance(True, D(0), D(0), D(0), D(1000))


@pytest.mark.parametrize("kind", [TransferKind.POST, TransferKind.VOID])
def test_a_hold_is_resolved_exactly_once(book: Ledger, kind: TransferKind) -> None:
    book.commit([transfer(2, CASH, MARKET, "400", TransferKind.PENDING)])
    book.commit([transfer(3, CASH, MARKET, "400", kind, 2)])
    with pytest.raises(ResolvedError):
        book.commit([transfer(4, CASH, MARKET, "400", TransferKind.VOID, 2)])


def test_a_post_above_its_hold_is_refused(book: Ledger) -> None:
    book.commit([transfer(2, CASH, MARKET, "400", TransferKind.PENDING)])
    with pytest.raises(ConflictError, match="more than its hold"):
        book.commit([transfer(3, CASH, MARKET, "400.0001", TransferKind.POST, 2)])


def test_holds_count_against_the_overdraft(book: Ledger) -> None:
    book.commit([transfer(2, CASH, MARKET, "1000", TransferKind.PENDING)])
    with pytest.raises(OverdraftError):
        book.commit([transfer(3, CASH, MARKET, "0.0001", TransferKind.PENDING)])


def test_a_group_is_judged_as_a_whole_and_taken_whole_or_not(book: Ledger) -> None:
    spend, earn = transfer(2, CASH, MARKET, "1500"), transfer(3, MARKET, CASH, "600")
    book.commit([spend, earn])
    assert book.balance(CASH).posted == 100
    before = dict(book.balances)
    with pytest.raises(OverdraftError):
        book.commit([transfer(4, MARKET, CASH, "1"), transfer(5, CASH, MARKET, "102")])
    assert book.balances == before
    assert TransferId(UUID(int=4)) not in book.transfers


def test_what_happened_is_booked_and_the_flag_falls(book: Ledger) -> None:
    assert book.commit([transfer(2, CASH, MARKET, "1001")], happened=True) == {CASH}
    assert book.balance(CASH) == Balance(False, D(0), D(1001), D(0), D(1000))


def test_the_same_transfer_twice_is_refused(book: Ledger) -> None:
    with pytest.raises(ConflictError, match="already"):
        book.commit([transfer(1, CAPITAL, CASH, "1000")])


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity"])
def test_amounts_that_move_nothing_are_refused(amount: str) -> None:
    with pytest.raises(InvalidInputError, match="amount"):
        transfer(2, CASH, MARKET, amount)


def test_a_transfer_stays_in_its_ledger_and_has_two_sides() -> None:
    with pytest.raises(InvalidInputError, match="leaves its ledger"):
        transfer(2, CASH, market_account("AAPL"), "1")
    with pytest.raises(InvalidInputError, match="to itself"):
        transfer(2, CASH, CASH, "1")
    with pytest.raises(InvalidInputError, match="disagree"):
        transfer(2, CASH, MARKET, "1", TransferKind.POST)
