"""What the portfolio's handlers need of the outside world."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from libs.common.contracts.messages import PortfolioUpdate
from libs.common.domain.vocabulary import SessionState
from services.portfolio.day import Snapshot
from services.portfolio.logic import Book, Mark
from services.portfolio.shares import Share


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """The account at one market time."""

    ts: dt.datetime
    equity: Decimal
    cash: Decimal


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One ledger line as a statement shows it.

    `change` is what it did to our posted balance of the ledger: negative for a debit, zero for a
    hold and its release.
    """

    seq: int
    id: UUID
    ts: dt.datetime
    ledger: str
    kind: str
    code: str
    amount: Decimal
    change: Decimal
    account: str
    counterparty: str
    order_id: UUID | None
    trade_id: UUID | None
    correlation_id: UUID


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines a statement shows: of one ledger, order, execution, stretch of time, or all."""

    ledger: str | None = None
    order_id: UUID | None = None
    trade_id: UUID | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """The balance of one ledger account: posted = credits - debits, available = posted - holds."""

    owner: str
    ledger: str
    code: str
    posted: Decimal
    pending_debits: Decimal
    pending_credits: Decimal
    available: Decimal


class Books(Protocol):
    """The executor's tables, read only."""

    async def book(self) -> Book:
        """Return cash, holdings and fees as of one instant."""
        ...

    async def last_prices(self, symbols: Collection[str]) -> dict[str, Mark]:
        """Return the last stored price of each symbol that has one."""
        ...

    async def shares(self, strategy_id: str | None) -> Sequence[Share]:
        """Return what each strategy, or this one, has made of each symbol it ever traded."""
        ...


class Journal(Protocol):
    """What the portfolio itself writes."""

    async def today(self, date: dt.date) -> Snapshot | None:
        """Return the snapshot of `date`."""
        ...

    async def before(self, date: dt.date) -> Snapshot | None:
        """Return the latest snapshot before `date`."""
        ...

    async def last_date(self) -> dt.date | None:
        """Return the date of the latest snapshot."""
        ...

    async def save(self, snapshot: Snapshot) -> None:
        """Insert or replace the snapshot of its date; only a final one replaces a final one."""
        ...

    async def publish(self, update: PortfolioUpdate, point: EquityPoint | None) -> None:
        """Publish the update and store the point, both or neither."""
        ...


class Days(Protocol):
    """What the API shows of the portfolio's own tables."""

    async def snapshots(self, before: dt.date | None, limit: int) -> list[Snapshot]:
        """Return snapshots older than `before`, newest first."""
        ...

    async def equity(
        self, start: dt.datetime | None, end: dt.datetime | None, limit: int
    ) -> list[EquityPoint]:
        """Return the newest points in [start, end), oldest first."""
        ...


class Statements(Protocol):
    """What the API shows of the ledger."""

    async def statement(
        self, wanted: Wanted, before: int | None, limit: int
    ) -> list[StatementLine]:
        """Return our ledger lines below `before`, newest first."""
        ...

    async def balances(self) -> Sequence[AccountBalance]:
        """Return every ledger account's balance."""
        ...


class Market(Protocol):
    """Market time and the part of the day."""

    def now(self) -> dt.datetime:
        """Return market time. Raises UnavailableError before it is known."""
        ...

    def session(self) -> SessionState:
        """Return the part of the trading day."""
        ...
