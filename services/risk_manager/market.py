"""Market time and session, as the broker's clock, the calendar and the ticks tell it."""

from __future__ import annotations

import asyncio
import datetime as dt

from libs.common.domain.sessions import NEW_YORK, SessionCalendar, load_calendar
from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.clock import Clock, from_ns
from libs.common.runtime.clocks import MarketClock
from services.risk_manager.book import Book
from services.risk_manager.desk import Moment


class MarketView:
    """Says when it is. A tick proves that market time has come to its own time, which matters
    when a simulated night is skipped between two polls of the clock."""

    def __init__(self, wall: Clock, clock: MarketClock, book: Book) -> None:
        self._wall = wall
        self._clock = clock
        self.book = book
        self._calendar: SessionCalendar | None = None
        self._year = 0

    async def prepare(self) -> None:
        """Load the calendar around the present year; call again now and then."""
        year = self._now().year
        if year == self._year:
            return
        first, last = dt.date(year - 1, 12, 1), dt.date(year + 1, 1, 31)
        self._calendar = await asyncio.to_thread(load_calendar, first, last)
        self._year = year

    def moment(self) -> Moment:
        """Return the present moment. Raises UnavailableError without a market clock."""
        ns = self._now_ns()
        return Moment(
            self._wall.now_ns() / 1e9,
            ns,
            self._clock.factor,
            self._session(ns),
            from_ns(ns).astimezone(NEW_YORK).time(),
        )

    def date(self) -> dt.date:
        """Return the exchange's date."""
        return self.date_of(self._now())

    def date_of(self, moment: dt.datetime) -> dt.date:
        """Return the exchange's date at `moment`."""
        return moment.astimezone(NEW_YORK).date()

    def _now_ns(self) -> int:
        return max(self._clock.now_ns(), self.book.latest_ns)

    def _now(self) -> dt.datetime:
        return from_ns(self._now_ns())

    def _session(self, ns: int) -> SessionState:
        # The broker's word is up to a poll old, so it may open the day but not close it.
        if self._clock.state is SessionState.REGULAR:
            return SessionState.REGULAR
        if self._calendar is None:
            return self._clock.state or SessionState.CLOSED
        return self._calendar.state_at_ns(ns)
