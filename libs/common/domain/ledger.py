"""The double-entry ledger: accounts, transfers, and the one place where their rules are decided.

After the model of ledgers built for money (TigerBeetle): one *ledger* per currency and per
instrument; a transfer moves an amount from its debit account to its credit account within one
ledger; transfers are only ever added. Our own accounts are credit-positive: credits are what
came in, so cash = credits - debits, and an instrument's balance is the signed position.

Four kinds of transfer:

- `direct` moves at once;
- `pending` reserves: it counts on the pending side of both accounts and moves nothing;
- `post` resolves a pending one, moving up to its amount and releasing all of it;
- `void` resolves a pending one, moving nothing.

A pending transfer is resolved exactly once. A partly filled order therefore posts its hold and,
in the same group, opens a new hold for what is left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from libs.common.kernel.errors import ConflictError, InvalidInputError
from libs.common.kernel.ids import AccountId, TransferId, derived_id
from libs.common.kernel.money import MONEY_QUANTUM, PRICE_QUANTUM, ZERO

CURRENCY: Final = "USD"


class AccountCode(StrEnum):
    """What an account is for."""

    CASH = "cash"
    POSITION = "position"
    MARKET = "market"
    FEES = "fees"
    CORPORATE = "corporate_actions"
    INTEREST = "interest"
    CAPITAL = "capital"


class AccountKey(NamedTuple):
    """Names one account: whose, in which ledger, for what."""

    owner: str
    ledger: str
    code: AccountCode

    @property
    def id(self) -> UUID:
        """The account's id, the same for ever: derived from its name."""
        return _account_id(self)


@lru_cache(maxsize=4096)
def _account_id(key: AccountKey) -> UUID:
    # The few accounts of the symbols that are traded are named by every line.
    return derived_id("ledger_account", key.owner, key.ledger, key.code)


def cash_account(account: AccountId, currency: str = CURRENCY) -> AccountKey:
    """Our cash in one currency."""
    return AccountKey(account, currency, AccountCode.CASH)


def position_account(account: AccountId, symbol: str) -> AccountKey:
    """Our shares of one instrument; below zero when short."""
    return AccountKey(account, symbol, AccountCode.POSITION)


def market_account(ledger: str) -> AccountKey:
    """The other side of every trade, in a currency or an instrument."""
    return AccountKey("market", ledger, AccountCode.MARKET)


def fees_account(currency: str = CURRENCY) -> AccountKey:
    """Where commissions and fees go."""
    return AccountKey("fees", currency, AccountCode.FEES)


def corporate_account(ledger: str = CURRENCY) -> AccountKey:
    """The other side of dividends and splits, in a currency or an instrument."""
    return AccountKey("corporate_actions", ledger, AccountCode.CORPORATE)


def interest_account(currency: str = CURRENCY) -> AccountKey:
    """Whom interest comes from and goes to: the broker."""
    return AccountKey("broker", currency, AccountCode.INTEREST)


def capital_account(account: AccountId, ledger: str = CURRENCY) -> AccountKey:
    """Where money and shares come from that were there before us, or are paid in and out."""
    return AccountKey(f"capital:{account}", ledger, AccountCode.CAPITAL)


class TransferKind(StrEnum):
    """How a transfer moves its amount."""

    DIRECT = "direct"
    PENDING = "pending"
    POST = "post"
    VOID = "void"


class TransferCode(StrEnum):
    """Why a transfer was made."""

    HOLD = "hold"
    RELEASE = "release"
    CASH = "cash"
    INSTRUMENT = "instrument"
    FEE = "fee"
    DEPOSIT = "deposit"
    OPENING = "opening"
    REVERSAL = "reversal"
    DIVIDEND = "dividend"
    INTEREST = "interest"
    TAX = "tax"
    JOURNAL = "journal"
    SPLIT = "split"
    CASH_IN_LIEU = "cash_in_lieu"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One line of the ledger. A void carries the amount it releases, so that a statement reads
    without a look-up; a post the amount it moves."""

    id: TransferId
    debit: AccountKey
    credit: AccountKey
    amount: Decimal
    code: TransferCode
    kind: TransferKind = TransferKind.DIRECT
    pending_id: TransferId | None = None
    order_id: UUID | None = None
    trade_id: UUID | None = None

    def __post_init__(self) -> None:
        """Refuse a line that no book could take; raises InvalidInputError."""
        if not (self.amount.is_finite() and self.amount > 0):
            raise InvalidInputError(f"amount: {self.amount} of transfer {self.id} is not > 0")
        if self.debit.ledger != self.credit.ledger:
            raise InvalidInputError(
                f"transfer {self.id} leaves its ledger: {self.debit.ledger} to {self.credit.ledger}"
            )
        if self.debit == self.credit:
            raise InvalidInputError(f"transfer {self.id} moves nothing: {self.debit} to itself")
        resolves = self.kind in {TransferKind.POST, TransferKind.VOID}
        if resolves != (self.pending_id is not None):
            raise InvalidInputError(f"transfer {self.id}: kind {self.kind} and pending_id disagree")

    @property
    def ledger(self) -> str:
        """The currency or instrument that is moved."""
        return self.debit.ledger


@dataclass(frozen=True, slots=True)
class Balance:
    """The four sums of one account. `no_overdraft` forbids debits, pending ones included, above
    posted credits."""

    no_overdraft: bool = False
    debits_pending: Decimal = ZERO
    debits_posted: Decimal = ZERO
    credits_pending: Decimal = ZERO
    credits_posted: Decimal = ZERO

    @property
    def posted(self) -> Decimal:
        """What is there: credits minus debits."""
        return self.credits_posted - self.debits_posted

    @property
    def available(self) -> Decimal:
        """What may be spent: what is there minus what is held."""
        return self.posted - self.debits_pending

    @property
    def overdrawn(self) -> bool:
        """Whether the account breaks its own flag."""
        return self.no_overdraft and self.available < 0


class OverdraftError(ConflictError):
    """A group of transfers would take an account below what its flag allows."""


class ResolvedError(ConflictError):
    """A pending transfer was to be resolved twice, or is not there."""


@dataclass
class Ledger:
    """A book in memory: the definition that the database's functions are tested against."""

    balances: dict[AccountKey, Balance] = field(default_factory=dict)
    transfers: dict[TransferId, Transfer] = field(default_factory=dict)
    _open: set[TransferId] = field(default_factory=set)

    def open_account(self, key: AccountKey, *, no_overdraft: bool = False) -> None:
        """Make an account; one that is there stays as it is."""
        self.balances.setdefault(key, Balance(no_overdraft=no_overdraft))

    def balance(self, key: AccountKey) -> Balance:
        """Return the sums of an account, all zero if it was never used."""
        return self.balances.get(key, Balance())

    def commit(self, group: Iterable[Transfer], *, happened: bool = False) -> set[AccountKey]:
        """Take all of a linked group, or none of it.

        Overdraft is judged on the balances after the whole group. Raises OverdraftError,
        ResolvedError, ConflictError for an id that is taken; the book is then unchanged.
        A group of what has `happened` at the venue is never refused for overdraft: the flag of
        an account that it overdraws is lifted, and those accounts are returned, to be told of.
        """
        balances, transfers, open_ids = dict(self.balances), dict(self.transfers), set(self._open)
        touched: set[AccountKey] = set()
        for transfer in group:
            if transfer.id in transfers:
                raise ConflictError(f"transfer {transfer.id} is in the book already")
            resolved = _resolve(transfer, transfers, open_ids)
            for key in (transfer.debit, transfer.credit):
                before = balances.get(key, Balance())
                balances[key] = _moved(before, key, transfer, resolved)
                touched.add(key)
            transfers[transfer.id] = transfer
            if transfer.kind is TransferKind.PENDING:
                open_ids.add(transfer.id)
        overdrawn = {key for key in touched if balances[key].overdrawn}
        if overdrawn and not happened:
            names = ", ".join(f"{k.owner} {k.ledger}: {balances[k].available}" for k in overdrawn)
            raise OverdraftError(f"overdrawn: {names}")
        for key in overdrawn:
            balances[key] = replace(balances[key], no_overdraft=False)
        self.balances, self.transfers, self._open = balances, transfers, open_ids
        return overdrawn

    def open_holds(self) -> frozenset[TransferId]:
        """Return the pending transfers not yet resolved."""
        return frozenset(self._open)


def _resolve(
    transfer: Transfer, transfers: Mapping[TransferId, Transfer], open_ids: set[TransferId]
) -> Decimal:
    """Return the pending amount that `transfer` releases, and close it."""
    if transfer.pending_id is None:
        return ZERO
    if transfer.pending_id not in open_ids:
        raise ResolvedError(f"hold {transfer.pending_id} is not open")
    pending = transfers[transfer.pending_id]
    if (pending.debit, pending.credit) != (transfer.debit, transfer.credit):
        raise ConflictError(f"transfer {transfer.id} resolves a hold of other accounts")
    if transfer.amount > pending.amount:
        raise ConflictError(f"transfer {transfer.id} posts more than its hold {pending.amount}")
    open_ids.remove(transfer.pending_id)
    return pending.amount


def _moved(balance: Balance, key: AccountKey, transfer: Transfer, resolved: Decimal) -> Balance:
    pending = transfer.amount if transfer.kind is TransferKind.PENDING else -resolved
    moves = transfer.kind in {TransferKind.DIRECT, TransferKind.POST}
    posted = transfer.amount if moves else ZERO
    if key == transfer.debit:
        return replace(
            balance,
            debits_pending=balance.debits_pending + pending,
            debits_posted=balance.debits_posted + posted,
        )
    return replace(
        balance,
        credits_pending=balance.credits_pending + pending,
        credits_posted=balance.credits_posted + posted,
    )


def imbalances(balances: Mapping[AccountKey, Balance]) -> dict[str, Decimal]:
    """Return the ledgers whose debits and credits differ, with the difference; none, ever."""
    sums: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    held: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    for key, balance in balances.items():
        sums[key.ledger] += balance.posted
        held[key.ledger] += balance.credits_pending - balance.debits_pending
    return {name: sums[name] or held[name] for name in sums if sums[name] or held[name]}


def on_grid(ledger: str, amount: Decimal, currency: str = CURRENCY) -> bool:
    """Tell whether an amount has no more places than its ledger keeps: 4 of money, 8 of shares."""
    quantum = MONEY_QUANTUM if ledger == currency else PRICE_QUANTUM
    return amount % quantum == 0
