"""Exchange sessions against days whose hours are public record."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.sessions import (
    OutsideCalendarError,
    SessionCalendar,
    load_calendar,
)
from libs.common.domain.vocabulary import SessionState

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def calendar() -> SessionCalendar:
    return load_calendar(date(2018, 11, 1), date(2020, 1, 31))


def ny(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=NEW_YORK)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("hour", "minute", "state"),
    [
        (3, 59, SessionState.CLOSED),
        (4, 0, SessionState.PRE),
        (9, 29, SessionState.PRE),
        (9, 30, SessionState.REGULAR),
        (15, 59, SessionState.REGULAR),
        (16, 0, SessionState.POST),
        (19, 59, SessionState.POST),
        (20, 0, SessionState.CLOSED),
    ],
)
def test_full_day_changes_state_at_the_published_hours(
    calendar: SessionCalendar, hour: int, minute: int, state: SessionState
) -> None:
    assert calendar.state_at(ny(2019, 3, 5, hour, minute)) is state


@pytest.mark.parametrize("day", [date(2019, 7, 3), date(2019, 11, 29), date(2019, 12, 24)])
def test_half_day_closes_at_one_and_ends_at_five(calendar: SessionCalendar, day: date) -> None:
    session = calendar.session_on(day)
    assert session is not None
    assert session.is_half_day
    assert session.close == ny(day.year, day.month, day.day, 13, 0)
    assert calendar.state_at(ny(day.year, day.month, day.day, 13, 0)) is SessionState.POST
    assert calendar.state_at(ny(day.year, day.month, day.day, 17, 0)) is SessionState.CLOSED


@pytest.mark.parametrize(
    "day",
    [
        date(2018, 12, 5),  # mourning for G. H. W. Bush: an unscheduled closure
        date(2019, 4, 19),  # Good Friday
        date(2019, 11, 28),
        date(2019, 12, 25),
        date(2019, 3, 2),  # Saturday
    ],
)
def test_holidays_and_weekends_are_no_session_days(calendar: SessionCalendar, day: date) -> None:
    assert not calendar.is_session_day(day)
    assert calendar.state_at(ny(day.year, day.month, day.day, 12, 0)) is SessionState.CLOSED


def test_open_moves_in_utc_with_daylight_saving(calendar: SessionCalendar) -> None:
    before, after = calendar.session_on(date(2019, 3, 8)), calendar.session_on(date(2019, 3, 11))
    assert before is not None
    assert after is not None
    assert before.open == datetime(2019, 3, 8, 14, 30, tzinfo=UTC)
    assert after.open == datetime(2019, 3, 11, 13, 30, tzinfo=UTC)


def test_next_open_and_close_are_strictly_later(calendar: SessionCalendar) -> None:
    friday_open = ny(2019, 3, 1, 9, 30)
    assert calendar.next_open(friday_open) == ny(2019, 3, 4, 9, 30)
    assert calendar.next_close(friday_open) == ny(2019, 3, 1, 16, 0)
    assert calendar.next_close(ny(2019, 3, 1, 16, 0)) == ny(2019, 3, 4, 16, 0)
    assert calendar.previous_close(ny(2019, 3, 3, 12, 0)) == ny(2019, 3, 1, 16, 0)


def test_evening_belongs_to_the_next_trading_date(calendar: SessionCalendar) -> None:
    assert calendar.trading_date(ny(2019, 3, 1, 19, 59)) == date(2019, 3, 1)
    assert calendar.trading_date(ny(2019, 3, 1, 20, 0)) == date(2019, 3, 4)
    assert calendar.session_offset(date(2019, 3, 4), -1).date == date(2019, 3, 1)


def test_sessions_between_includes_both_ends(calendar: SessionCalendar) -> None:
    days = [s.date for s in calendar.sessions_between(date(2019, 3, 1), date(2019, 3, 5))]
    assert days == [date(2019, 3, 1), date(2019, 3, 4), date(2019, 3, 5)]


def test_beyond_the_calendar_is_refused_by_name(calendar: SessionCalendar) -> None:
    with pytest.raises(OutsideCalendarError, match="2020-01-31"):
        calendar.next_open(datetime(2021, 1, 1, tzinfo=UTC))


def test_naive_time_is_refused(calendar: SessionCalendar) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        calendar.state_at(datetime(2019, 3, 1, 12, 0))  # noqa: DTZ001


@given(st.integers(0, 440 * 1440))
def test_next_close_is_in_the_session_that_is_open(minutes: int) -> None:
    moment = datetime(2018, 11, 5, tzinfo=UTC) + timedelta(minutes=minutes)
    calendar = load_calendar(date(2018, 11, 1), date(2020, 1, 31))
    session = calendar.session_at(moment)
    if calendar.is_open(moment):
        assert session.close == calendar.next_close(moment)
        assert session.open <= moment < session.close
    else:
        assert calendar.next_open(moment) <= calendar.next_close(moment)
