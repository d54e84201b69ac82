"""New York's clocks against the time zone database."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.quant.new_york import new_york

ZONE = ZoneInfo("America/New_York")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def expected(moment: dt.datetime) -> tuple[int, int]:
    local = moment.astimezone(ZONE)
    return (local.date() - EPOCH.date()).days, local.hour * 60 + local.minute


def ns(moment: dt.datetime) -> int:
    return (moment - EPOCH) // dt.timedelta(microseconds=1) * 1000


def test_the_open_by_hand() -> None:
    assert new_york(ns(dt.datetime(2013, 10, 7, 13, 30, tzinfo=dt.UTC))) == (15985, 570)


@pytest.mark.parametrize("year", [1987, 1999, 2006, 2007, 2013, 2037])
def test_every_change_of_the_clocks(year: int) -> None:
    minute = dt.timedelta(minutes=1)
    moments = [dt.datetime(year, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=h) for h in range(8760)]
    offsets = [moment.astimezone(ZONE).utcoffset() for moment in moments]
    changes = [
        b for a, b, x, y in zip(moments, moments[1:], offsets, offsets[1:], strict=False) if x != y
    ]
    assert len(changes) == 2
    for change in changes:
        for moment in (change - minute, change, change + minute):
            assert new_york(ns(moment)) == expected(moment)


@given(st.integers(ns(dt.datetime(1987, 1, 1, tzinfo=dt.UTC)), 2_145_916_800 * 10**9 - 1))
def test_any_moment(ts: int) -> None:
    assert new_york(ts) == expected(EPOCH + dt.timedelta(microseconds=ts // 1000))
