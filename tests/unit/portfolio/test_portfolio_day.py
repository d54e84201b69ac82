"""The trading day: its date, its opening, its P&L."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from libs.common.domain.vocabulary import SessionState
from services.portfolio.day import (
    Opening,
    day_pnl,
    day_return,
    opening_of,
    session_date,
    snapshot_of,
)
from services.portfolio.logic import Valuation

FRIDAY, MONDAY = dt.date(2022, 1, 7), dt.date(2022, 1, 10)


def values(cash: str, realized: str = "0", fees: str = "0") -> Valuation:
    return Valuation(
        cash=Decimal(cash),
        held=Decimal(0),
        long_value=Decimal(0),
        short_value=Decimal(0),
        realized_pnl=Decimal(realized),
        unrealized_pnl=Decimal(0),
        fees=Decimal(fees),
        income=Decimal(0),
        positions=(),
    )


def at(day: dt.date, hour: int) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, hour, tzinfo=dt.UTC)


def test_date_is_new_yorks_not_utcs() -> None:
    assert session_date(at(dt.date(2022, 1, 8), 0), SessionState.POST, None) == FRIDAY


def test_closed_hours_belong_to_the_last_day() -> None:
    assert session_date(at(dt.date(2022, 1, 8), 15), SessionState.CLOSED, FRIDAY) == FRIDAY
    assert session_date(at(MONDAY, 10), SessionState.PRE, FRIDAY) == MONDAY


def test_first_day_opens_at_the_first_values_seen() -> None:
    opening = opening_of(FRIDAY, None, None, values("1000", realized="5"))
    assert opening == Opening(FRIDAY, Decimal("1000"), Decimal("5"))


def test_next_day_opens_where_the_snapshot_before_ended() -> None:
    friday = snapshot_of(
        "main", Opening(FRIDAY, Decimal(1000), Decimal(0)), values("1010", "10"), final=True
    )
    opening = opening_of(MONDAY, None, friday, values("1012", "12"))
    assert opening == Opening(MONDAY, Decimal("1010"), Decimal("10"))
    assert day_pnl(opening, values("1012", "12")) == Decimal("2")


def test_restart_within_the_day_continues_its_pnl() -> None:
    stored = snapshot_of(
        "main", Opening(MONDAY, Decimal(1000), Decimal(0)), values("990", "-10"), final=False
    )
    opening = opening_of(MONDAY, stored, None, values("985", "-15"))
    assert day_pnl(opening, values("985", "-15")) == Decimal("-15")


def test_deposit_is_no_profit() -> None:
    opening = opening_of(MONDAY, None, None, values("0"))
    assert day_pnl(opening, values("1000000")) == 0


def test_snapshot_holds_the_parts() -> None:
    taken = snapshot_of(
        "main", Opening(MONDAY, Decimal(1000), Decimal(0)), values("1009", "10", "1"), final=True
    )
    assert (taken.day_pnl, taken.total_pnl, taken.total_value) == (9, 9, 1009)
    assert taken.metrics["day_return"] == "0.00900000"


def test_return_of_an_empty_account_is_zero() -> None:
    assert day_return(Opening(MONDAY, Decimal(0), Decimal(0)), Decimal(5)) == 0
