"""The civil calendar against that of Python."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.quant.calendar import DAY_NS, day_of, month_of, year_of

EPOCH = dt.date(1970, 1, 1)


@pytest.mark.parametrize(
    ("day", "month"),
    [
        ("1970-01-01", 12 * 1970),
        ("1969-12-31", 12 * 1970 - 1),
        ("2000-02-29", 24001),
        ("2000-03-01", 24002),
    ],
)
def test_months_by_hand(day: str, month: int) -> None:
    assert month_of((dt.date.fromisoformat(day) - EPOCH).days * DAY_NS) == month


@given(day=st.dates(dt.date(1700, 1, 1), dt.date(2250, 12, 31)), ns=st.integers(0, DAY_NS - 1))
def test_any_moment_of_any_day(day: dt.date, ns: int) -> None:
    ts = (day - EPOCH).days * DAY_NS + ns
    assert day_of(ts) == (day - EPOCH).days
    assert month_of(ts) == 12 * day.year + day.month - 1
    assert year_of(ts) == day.year
