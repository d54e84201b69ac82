"""Market time and session: the simulated broker's word, else the calendar's."""

from __future__ import annotations

import asyncio
import datetime as dt

from libs.common.domain.sessions import SessionCalendar, load_calendar
from libs.common.domain.vocabulary import SessionState
from libs.common.runtime.clocks import MarketClock


class MarketView:
    """Says what time it is at the exchange and whether it is open."""

    def __init__(self, clock: MarketClock) -> None:
        self._clock = clock
        self._calendar: SessionCalendar | None = None
        self._year = 0

    async def prepare(self) -> None:
        """Load the calendar around the present year; call again now and then."""
        if self._clock.state is not None:
            return
        year = self.now().year
        if year != self._year:
            first, last = dt.date(year - 1, 12, 1), dt.date(year + 1, 1, 31)
            self._calendar = await asyncio.to_thread(load_calendar, first, last)
            self._year = year

    def now(self) -> dt.datetime:
        """Return market time. Raises UnavailableError before it is known."""
        return self._clock.now()

    def session(self) -> SessionState:
        """Return the part of the trading day."""
        if self._clock.state is not None:
            return self._clock.state
        if self._calendar is None:
            return SessionState.CLOSED
        return SessionState(self._calendar.state_at(self.now()).value)
