"""Whether the exchange is in its regular hours."""

from __future__ import annotations

import asyncio
import datetime as dt

from libs.common.domain.sessions import OutsideCalendarError, SessionCalendar, load_calendar
from libs.common.domain.vocabulary import SessionState
from libs.common.runtime.clocks import MarketClock


class OpenHours:
    """The broker's own word where it gives one, else the exchange's calendar."""

    def __init__(self, clock: MarketClock) -> None:
        self._clock = clock
        self._calendar: SessionCalendar | None = None

    async def prepare(self) -> None:
        """Load the calendar if it will be needed; takes about a second, once."""
        if self._clock.is_wall and self._calendar is None:
            today = self._clock.now().date()
            last = today + dt.timedelta(days=366)
            self._calendar = await asyncio.to_thread(
                load_calendar, today - dt.timedelta(days=7), last
            )

    def regular(self, ns: int) -> bool:
        """Tell whether market time `ns` lies in regular hours; not known means no."""
        if not self._clock.is_wall:
            return self._clock.state is SessionState.REGULAR
        if self._calendar is None:
            return False
        try:
            return self._calendar.state_at_ns(ns) is SessionState.REGULAR
        except OutsideCalendarError:
            return False
