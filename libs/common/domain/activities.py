"""What a broker's account does besides trading: which ledger lines an activity becomes.

Alpaca's words for the kinds, because they are the field's longest list. A kind that is not known
is booked all the same, against capital: money that moved is never left out of the books, and what
it was is kept with its word.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from libs.common.domain.ledger import (
    AccountKey,
    TransferCode,
    capital_account,
    corporate_account,
    fees_account,
    interest_account,
)
from libs.common.domain.replay import ChangeKind
from libs.common.kernel.ids import AccountId
from libs.common.kernel.money import ZERO


class Meaning(StrEnum):
    """What an activity is to the account's owner."""

    INCOME = "income"
    COST = "cost"
    CAPITAL = "capital"
    POSITION = "position"


@dataclass(frozen=True, slots=True)
class Activity:
    """Money or shares that moved at the broker without a trade.

    `amount` is money, positive ours; `quantity` signed shares for the kinds that move shares (a
    dividend names the shares it was paid for: those do not move). `price` is a share's cost where
    shares are moved in. `executed_at` is market time.
    """

    id: str
    kind: str
    amount: Decimal
    executed_at: dt.datetime
    symbol: str = ""
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    description: str = ""
    broker: str = ""

    @property
    def code(self) -> TransferCode:
        """Why its transfers are made."""
        return _CODES.get(self.kind, TransferCode.DEPOSIT)

    @property
    def change(self) -> ChangeKind | None:
        """How it changes the position, None if it moves no shares."""
        kind = _CHANGES.get(self.kind)
        return kind if kind is not None and self.symbol and self.quantity else None

    @property
    def meaning(self) -> Meaning:
        """Whether it is profit, cost, capital, or part of a position's own result."""
        if self.code in {TransferCode.SPLIT, TransferCode.CASH_IN_LIEU}:
            return Meaning.POSITION
        if self.code in {TransferCode.DIVIDEND, TransferCode.INTEREST}:
            return Meaning.INCOME
        if self.code in COST_CODES:
            return Meaning.COST
        return Meaning.CAPITAL

    def counterparty(self, account: AccountId, ledger: str) -> AccountKey:
        """Return the other side of its lines in `ledger`."""
        match self.code:
            case TransferCode.FEE | TransferCode.TAX:
                return fees_account(ledger)
            case TransferCode.INTEREST:
                return interest_account(ledger)
            case TransferCode.DIVIDEND | TransferCode.SPLIT | TransferCode.CASH_IN_LIEU:
                return corporate_account(ledger)
            case _:
                return capital_account(account, ledger)


COST_CODES: Final = frozenset({TransferCode.FEE, TransferCode.TAX})
INCOME_CODES: Final = frozenset({TransferCode.DIVIDEND, TransferCode.INTEREST})

_CODES: Final = {
    **dict.fromkeys(("FEE", "CFEE", "PTC", "DIVFEE", "PTR"), TransferCode.FEE),
    **dict.fromkeys(
        ("DIVNRA", "DIVFT", "DIVTW", "DIVTXEX", "DIVTAX", "INTNRA", "INTTW"), TransferCode.TAX
    ),
    **dict.fromkeys(("DIV", "DIVCGL", "DIVCGS", "DIVROC", "CGD"), TransferCode.DIVIDEND),
    "INT": TransferCode.INTEREST,
    **dict.fromkeys(("JNL", "JNLC", "JNLS", "ACATC", "ACATS"), TransferCode.JOURNAL),
    **dict.fromkeys(("SPLIT", "SSP", "FSPLIT", "RSPLIT"), TransferCode.SPLIT),
    "CIL": TransferCode.CASH_IN_LIEU,
}
_CHANGES: Final = {
    **dict.fromkeys(("SPLIT", "SSP", "FSPLIT", "RSPLIT"), ChangeKind.SPLIT),
    "CIL": ChangeKind.CASH_IN_LIEU,
    **dict.fromkeys(("JNLS", "ACATS", "JNL"), ChangeKind.TRANSFER),
}
