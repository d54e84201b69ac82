"""Exchange sessions: pre-market, regular and post-market hours, half days and holidays.

Everything here is a pure function of a time and a calendar loaded beforehand. The days and
the regular hours come from `exchange_calendars`; the extended hours around them are US
equity practice (04:00 to 20:00 New York, 17:00 on a half day).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo

from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.clock import from_ns, to_ns
from libs.common.kernel.errors import InvalidInputError

NEW_YORK = ZoneInfo("America/New_York")
PRE_MARKET_OPEN = time(4, 0)
POST_MARKET_CLOSE = time(20, 0)
POST_MARKET_CLOSE_HALF_DAY = time(17, 0)
REGULAR_CLOSE = time(16, 0)


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day; all times aware UTC, each interval closed at its start, open at its end."""

    date: date
    pre_open: datetime
    open: datetime
    close: datetime
    post_close: datetime

    @property
    def is_half_day(self) -> bool:
        """Whether the regular session ends before 16:00 New York."""
        return self.close.astimezone(NEW_YORK).time() < REGULAR_CLOSE


class OutsideCalendarError(InvalidInputError):
    """The asked time lies before the first or after the last loaded session."""


class SessionCalendar:
    """The sessions of one exchange, searchable by time in O(log n).

    `*_ns` methods take and give nanoseconds since 1970 for hot paths, the others aware datetimes.
    A time outside the loaded range raises `OutsideCalendarError` where the answer needs a
    session that was not loaded.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        if not sessions:
            raise ValueError("a calendar needs at least one session")
        self.sessions = tuple(sessions)
        self._pre_opens = [to_ns(s.pre_open) for s in self.sessions]
        self._opens = [to_ns(s.open) for s in self.sessions]
        self._closes = [to_ns(s.close) for s in self.sessions]
        self._post_closes = [to_ns(s.post_close) for s in self.sessions]
        self._by_date = {s.date: i for i, s in enumerate(self.sessions)}

    def state_at(self, ts: datetime) -> SessionState:
        """The part of the day at `ts`: 09:30:00 New York is regular, 16:00:00 is post."""
        return self.state_at_ns(to_ns(ts))

    def state_at_ns(self, ns: int) -> SessionState:
        """Like `state_at`, for nanoseconds since 1970."""
        index = bisect_right(self._pre_opens, ns) - 1
        if index < 0 or ns >= self._post_closes[index]:
            return SessionState.CLOSED
        if ns < self._opens[index]:
            return SessionState.PRE
        if ns < self._closes[index]:
            return SessionState.REGULAR
        return SessionState.POST

    def is_open(self, ts: datetime) -> bool:
        """Whether `ts` lies in regular hours."""
        return self.state_at(ts) is SessionState.REGULAR

    def next_open(self, ts: datetime) -> datetime:
        """The first regular open strictly after `ts`."""
        return self._session(bisect_right(self._opens, to_ns(ts)), ts).open

    def next_close(self, ts: datetime) -> datetime:
        """The first regular close strictly after `ts`."""
        return self._session(bisect_right(self._closes, to_ns(ts)), ts).close

    def previous_close(self, ts: datetime) -> datetime:
        """The last regular close at or before `ts`."""
        return self._session(bisect_right(self._closes, to_ns(ts)) - 1, ts).close

    def next_open_ns(self, ns: int) -> int:
        """Like `next_open`, for nanoseconds since 1970."""
        return to_ns(self.next_open(from_ns(ns)))

    def next_close_ns(self, ns: int) -> int:
        """Like `next_close`, for nanoseconds since 1970."""
        return to_ns(self.next_close(from_ns(ns)))

    def is_session_day(self, day: date) -> bool:
        """Whether the exchange opens on `day`."""
        return day in self._by_date

    def session_on(self, day: date) -> Session | None:
        """The session of `day`, or None on a weekend or holiday."""
        index = self._by_date.get(day)
        return None if index is None else self.sessions[index]

    def session_at(self, ts: datetime) -> Session:
        """The session that `ts` trades in: the running one up to its post close, else the next.

        A Friday 20:00 New York belongs to Monday, a Monday 19:59 to Monday.
        """
        return self._session(bisect_right(self._post_closes, to_ns(ts)), ts)

    def trading_date(self, ts: datetime) -> date:
        """The date of `session_at(ts)`: the day in which an order sent at `ts` can trade."""
        return self.session_at(ts).date

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        """Every session with `first <= date <= last`, oldest first."""
        days = [s.date for s in self.sessions]
        return self.sessions[bisect_left(days, first) : bisect_right(days, last)]

    def session_offset(self, day: date, offset: int) -> Session:
        """The session `offset` sessions away from `day`'s (negative is earlier)."""
        index = self._by_date.get(day)
        if index is None:
            raise OutsideCalendarError(f"{day} is not a loaded session day")
        return self._session(index + offset, self.sessions[index].open)

    def _session(self, index: int, ts: datetime) -> Session:
        if not 0 <= index < len(self.sessions):
            raise OutsideCalendarError(
                f"{ts.isoformat()} needs a session outside the loaded calendar "
                f"{self.sessions[0].date} to {self.sessions[-1].date}"
            )
        return self.sessions[index]


def session_of(day: date, open_: datetime, close: datetime) -> Session:
    """The session of `day` with the extended hours that US venues keep around `open_`-`close`."""
    half = close.astimezone(NEW_YORK).time() < REGULAR_CLOSE
    post_close = POST_MARKET_CLOSE_HALF_DAY if half else POST_MARKET_CLOSE
    return Session(
        date=day,
        pre_open=datetime.combine(day, PRE_MARKET_OPEN, NEW_YORK).astimezone(UTC),
        open=open_.astimezone(UTC),
        close=close.astimezone(UTC),
        post_close=datetime.combine(day, post_close, NEW_YORK).astimezone(UTC),
    )


@lru_cache(maxsize=8)
def load_calendar(first: date, last: date, exchange: str = "XNYS") -> SessionCalendar:
    """The calendar of `exchange` (an ISO market code) for `first` to `last`, both included.

    Takes about a second the first time for thirty years: load once, at start.
    """
    import exchange_calendars  # takes a second and pandas with it; callers of types need neither

    calendar = exchange_calendars.get_calendar(exchange, start=str(first), end=str(last))
    schedule = calendar.schedule
    return SessionCalendar(
        [
            session_of(day.date(), open_.to_pydatetime(), close.to_pydatetime())
            for day, open_, close in zip(
                schedule.index, schedule["open"], schedule["close"], strict=True
            )
        ]
    )
