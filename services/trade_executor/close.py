"""The close: when the regular session has ended, everything is compared."""

from __future__ import annotations

import asyncio
import datetime as dt

from libs.common.domain.sessions import OutsideCalendarError, SessionCalendar, load_calendar
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from services.trade_executor.reconciliation import Reconciliation

_log = get_logger(__name__)

_YEARS_BACK, _YEARS_AHEAD = 1, 1


class CloseWatch:
    """Compares everything once after each regular close of the exchange, in market time.

    It goes by the calendar, not by a state that is polled: a simulated night may be over in less
    than a poll. A close that passed while nobody looked is noticed by the comparison at start.
    """

    def __init__(
        self, reconciliation: Reconciliation, market_clock: Clock, *, poll_s: float, settle_s: float
    ) -> None:
        self._reconciliation = reconciliation
        self._market_clock = market_clock
        self._poll_s = poll_s
        self._settle_s = settle_s
        self._calendar: SessionCalendar | None = None
        self.compared: dt.datetime | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self.look()
            except UnavailableError as error:
                _log.warning("close_waits", error=str(error))
            await asyncio.sleep(self._poll_s)

    async def look(self) -> None:
        """Compare if a close has passed since the last look. Raises UnavailableError; the next
        look tries again."""
        closed = await self._last_close()
        if self.compared is None or closed < self.compared:
            self.compared = closed  # the start has compared; or the market's clock was set back
        if closed == self.compared:
            return
        await asyncio.sleep(self._settle_s)  # what ends with the day is told by the stream first
        findings = await self._reconciliation.run("close", balances=True, deep=True)
        if findings.doubts:
            await asyncio.sleep(self._settle_s)
            await self._reconciliation.run("close", balances=True, deep=True)
        self.compared = closed

    async def _last_close(self) -> dt.datetime:
        now = self._market_clock.now()
        if self._calendar is not None:
            try:
                return self._calendar.previous_close(now)
            except OutsideCalendarError:
                _log.info("calendar_used_up", now=now.isoformat())
        first, last = now.year - _YEARS_BACK, now.year + _YEARS_AHEAD
        self._calendar = await asyncio.to_thread(
            load_calendar, dt.date(first, 1, 1), dt.date(last, 12, 31)
        )
        return self._calendar.previous_close(now)
