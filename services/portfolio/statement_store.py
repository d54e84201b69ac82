"""Statements of one ledger account with opening, running and closing balance; balances at a time.

A line belongs to the time it was booked at (wall time); lines of one instant stand in the order of
their numbers. Every figure is added up from the transfers themselves.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from libs.common.domain.ledger import CURRENCY, AccountKey
from libs.common.kernel.errors import NotFoundError
from libs.common.kernel.money import ZERO, money
from libs.common.runtime.database import Database
from services.portfolio.ports import AccountBalance

# Every line of the account, with the balance after it.
_RUNNING: Final = """
    WITH lines AS (
        SELECT t.*, CASE WHEN t.kind NOT IN ('direct', 'post') THEN 0
                         WHEN t.credit_account = :account THEN t.amount
                         ELSE -t.amount END AS change
        FROM ledger_transfers t WHERE :account IN (t.debit_account, t.credit_account)
    ), running AS (
        SELECT *, sum(change) OVER (ORDER BY ts, seq) AS balance FROM lines
        WHERE CAST(:end AS timestamptz) IS NULL OR ts < :end
    )
"""
_LINES: Final = text(
    _RUNNING
    + """
    SELECT r.*, o.owner || '/' || o.code AS counterparty
    FROM running r
    JOIN ledger_accounts o ON o.id = CASE WHEN r.credit_account = :account
                                          THEN r.debit_account ELSE r.credit_account END
    WHERE (CAST(:start AS timestamptz) IS NULL OR r.ts >= :start)
      AND (CAST(:after AS bigint) IS NULL
           OR (r.ts, r.seq) > (SELECT ts, seq FROM ledger_transfers WHERE seq = :after))
    ORDER BY r.ts, r.seq LIMIT :limit
    """  # nosec B608 # our own constants
)
_ENDS: Final = text(
    _RUNNING
    + """
    SELECT coalesce(sum(change) FILTER (WHERE ts < :start), 0) AS opening,
           coalesce(sum(change), 0) AS closing
    FROM running
    """  # nosec B608 # our own constants
)
# What every account held just before :at. A pending transfer is resolved once, as a whole.
_BALANCES: Final = text(
    """
    WITH before AS (
        SELECT * FROM ledger_transfers WHERE ts < :at
    ), sides AS (
        SELECT debit_account AS account, -amount AS posted, 0 AS debits, 0 AS credits
        FROM before WHERE kind IN ('direct', 'post')
        UNION ALL
        SELECT credit_account, amount, 0, 0 FROM before WHERE kind IN ('direct', 'post')
        UNION ALL
        SELECT debit_account, 0, amount, 0 FROM before b WHERE kind = 'pending'
           AND NOT EXISTS (SELECT 1 FROM before r WHERE r.pending_id = b.id)
        UNION ALL
        SELECT credit_account, 0, 0, amount FROM before b WHERE kind = 'pending'
           AND NOT EXISTS (SELECT 1 FROM before r WHERE r.pending_id = b.id)
    )
    SELECT a.owner, a.ledger, a.code, coalesce(sum(s.posted), 0) AS posted,
           coalesce(sum(s.debits), 0) AS debits, coalesce(sum(s.credits), 0) AS credits
    FROM ledger_accounts a LEFT JOIN sides s ON s.account = a.id
    GROUP BY a.owner, a.ledger, a.code ORDER BY a.ledger, a.owner, a.code
    """
)


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One line of an account's statement; `change` is zero for a hold and its release, `balance`
    what is posted after it."""

    seq: int
    ts: dt.datetime
    code: str
    kind: str
    amount: Decimal
    change: Decimal
    balance: Decimal
    counterparty: str
    id: UUID
    order_id: UUID | None
    trade_id: UUID | None
    correlation_id: UUID


@dataclass(frozen=True, slots=True)
class AccountStatement:
    """An account's lines of a stretch, oldest first, and its balances at both ends."""

    opening: Decimal
    closing: Decimal
    lines: Sequence[AccountLine]


class StatementStore:
    """Reads the ledger, each answer from one snapshot."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def account(
        self,
        account: AccountKey,
        start: dt.datetime | None,
        end: dt.datetime | None,
        *,
        after: int | None,
        limit: int,
    ) -> AccountStatement:
        """Return the lines with `start <= ts < end` that come after line `after`. Raises
        NotFoundError where the ledger has no such account."""
        known = text("SELECT 1 FROM ledger_accounts WHERE id = :account")
        given: dict[str, Any] = {"account": account.id, "start": start, "end": end}
        async with self._database.read() as tx:
            if await tx.row(known, {"account": account.id}) is None:
                raise NotFoundError(f"the ledger has no account {'/'.join(account)}")
            ends = await tx.row(_ENDS, given)
            rows = await tx.rows(_LINES, {**given, "after": after, "limit": limit})
        assert ends is not None
        return AccountStatement(
            _amount(account.ledger, ends["opening"]),
            _amount(account.ledger, ends["closing"]),
            [_line(row) for row in rows],
        )

    async def balances_at(self, at: dt.datetime) -> Sequence[AccountBalance]:
        """Return every account's balance just before `at`."""
        async with self._database.read() as tx:
            rows = await tx.rows(_BALANCES, {"at": at})
        return [
            AccountBalance(
                owner=row["owner"],
                ledger=row["ledger"],
                code=row["code"],
                posted=_amount(row["ledger"], row["posted"]),
                pending_debits=_amount(row["ledger"], row["debits"]),
                pending_credits=_amount(row["ledger"], row["credits"]),
                available=_amount(row["ledger"], row["posted"] - row["debits"]),
            )
            for row in rows
        ]


def _line(row: RowMapping) -> AccountLine:
    ledger = row["ledger"]
    return AccountLine(
        seq=row["seq"],
        ts=row["ts"],
        code=row["code"],
        kind=row["kind"],
        amount=_amount(ledger, row["amount"]),
        change=_amount(ledger, row["change"]),
        balance=_amount(ledger, row["balance"]),
        counterparty=row["counterparty"],
        id=row["id"],
        order_id=row["order_id"],
        trade_id=row["trade_id"],
        correlation_id=row["correlation_id"],
    )


def _amount(ledger: str, amount: Decimal) -> Decimal:
    """Money shows four places, a quantity eight."""
    return money(amount) if ledger == CURRENCY else (amount + ZERO).quantize(_QUANTUM)


_QUANTUM: Final = Decimal("0.00000001")
