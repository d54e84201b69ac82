"""What the portfolio's routes answer with, as OpenAPI tells it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TypedDict

from libs.common.domain.vocabulary import SessionState
from services.portfolio.ports import AccountBalance


class AccountShape(TypedDict):
    """The account's values at their last valuation."""

    account_id: str
    ts: dt.datetime
    session: SessionState
    trading_date: dt.date
    equity: Decimal
    cash: Decimal
    cash_held: Decimal
    cash_available: Decimal
    long_value: Decimal
    short_value: Decimal
    gross_exposure: Decimal
    net_exposure: Decimal
    opening_equity: Decimal
    day_pnl: Decimal
    day_return: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    fees: Decimal
    income: Decimal
    total_pnl: Decimal
    positions: int
    stale: list[str]


class ShareShape(TypedDict):
    """What a strategy holds and has made in a symbol."""

    strategy_id: str | None
    symbol: str
    quantity: str
    cash: Decimal
    mark: Decimal | None
    market_value: Decimal | None
    pnl: Decimal | None


class SnapshotShape(TypedDict):
    """One day."""

    account_id: str
    date: dt.date
    total_value: Decimal
    cash_balance: Decimal
    invested_value: Decimal
    opening_value: Decimal
    day_pnl: Decimal
    total_pnl: Decimal
    performance_metrics: dict[str, str]
    final: bool


class AccountName(TypedDict):
    """A ledger account."""

    owner: str
    ledger: str
    code: str


class BalancesShape(TypedDict):
    """Every ledger account, and the sum of each ledger."""

    items: list[AccountBalance]
    sums: dict[str, Decimal]
    next: None
