"""Timeframes: how long a bar is and where it begins."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import to_ns


@pytest.mark.parametrize(
    ("word", "span"),
    [
        ("1s", dt.timedelta(seconds=1)),
        ("1m", dt.timedelta(minutes=1)),
        ("5m", dt.timedelta(minutes=5)),
        ("15m", dt.timedelta(minutes=15)),
        ("1h", dt.timedelta(hours=1)),
        ("1d", dt.timedelta(days=1)),
    ],
)
def test_word_on_the_wire_means_its_span(word: str, span: dt.timedelta) -> None:
    assert Timeframe(word).ns == span // dt.timedelta(microseconds=1) * 1000


def test_unknown_timeframe_is_no_timeframe() -> None:
    with pytest.raises(ValueError, match="2m"):
        Timeframe("2m")


def test_bar_begins_at_the_clocks_own_cuts() -> None:
    ts = to_ns(dt.datetime(2022, 3, 1, 14, 38, 59, tzinfo=dt.UTC))
    starts = {
        "1s": "14:38:59",
        "1m": "14:38:00",
        "5m": "14:35:00",
        "15m": "14:30:00",
        "1h": "14:00:00",
        "1d": "00:00:00",
    }
    for word, start in starts.items():
        expected = dt.datetime.fromisoformat(f"2022-03-01T{start}+00:00")
        assert Timeframe(word).floor(ts) == to_ns(expected)


@given(st.sampled_from(list(Timeframe)), st.integers(0, 2**62))
def test_bucket_holds_its_moment(timeframe: Timeframe, ts: int) -> None:
    start = timeframe.floor(ts)
    assert start <= ts < start + timeframe.ns
    assert timeframe.floor(start) == start
