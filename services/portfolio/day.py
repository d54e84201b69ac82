"""The trading day of an account: which date it is, and what its P&L is counted from."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from libs.common.domain.sessions import NEW_YORK
from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.money import ZERO
from services.portfolio.logic import Valuation

RETURN_QUANTUM = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class Opening:
    """What the day began with. Day P&L = total P&L now - `total_pnl`, so money paid in or out
    during the day is no profit."""

    date: dt.date
    equity: Decimal
    total_pnl: Decimal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One day of an account as it is stored. `final` once taken at or after the close."""

    account_id: str
    date: dt.date
    total_value: Decimal
    cash_balance: Decimal
    invested_value: Decimal
    day_pnl: Decimal
    total_pnl: Decimal
    opening: Opening
    metrics: dict[str, str]
    final: bool


def session_date(market_now: dt.datetime, state: SessionState, known: dt.date | None) -> dt.date:
    """Return the trading date: New York's date, and while the market is closed the last one known.

    So a weekend belongs to Friday, and the hours after the close to the day that closed.
    """
    if state is SessionState.CLOSED and known is not None:
        return known
    return market_now.astimezone(NEW_YORK).date()


def opening_of(
    date: dt.date, today: Snapshot | None, previous: Snapshot | None, now: Valuation
) -> Opening:
    """Return the day's opening: as stored today, else the day before's end, else the values now."""
    if today is not None:
        return today.opening
    if previous is not None:
        return Opening(date, previous.total_value, previous.total_pnl)
    return Opening(date, now.equity, now.total_pnl)


def day_pnl(opening: Opening, now: Valuation) -> Decimal:
    """Return the profit since the opening, after fees."""
    return now.total_pnl - opening.total_pnl


def snapshot_of(account_id: str, opening: Opening, now: Valuation, *, final: bool) -> Snapshot:
    """Return the day's row for the values `now`."""
    gained = day_pnl(opening, now)
    return Snapshot(
        account_id=account_id,
        date=opening.date,
        total_value=now.equity,
        cash_balance=now.cash,
        invested_value=now.net,
        day_pnl=gained,
        total_pnl=now.total_pnl,
        opening=opening,
        metrics={
            "realized_pnl": str(now.realized_pnl),
            "unrealized_pnl": str(now.unrealized_pnl),
            "fees": str(now.fees),
            "income": str(now.income),
            "long_value": str(now.long_value),
            "short_value": str(now.short_value),
            "gross": str(now.gross),
            "day_return": str(day_return(opening, gained)),
            "positions": str(len(now.positions)),
        },
        final=final,
    )


def day_return(opening: Opening, gained: Decimal) -> Decimal:
    """Return the day's P&L as a share of the opening equity; 0 for an empty account."""
    if opening.equity <= 0:
        return ZERO
    return (gained / opening.equity).quantize(RETURN_QUANTUM, rounding=ROUND_HALF_EVEN)
