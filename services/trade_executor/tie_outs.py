"""The daily tie-out: each market day's books against the broker's, to the cent.

It goes by the calendar and the market's clock: a day is due when its regular session has closed,
again when its extended hours are over, and as long as it differs. Days that were missed while
nobody looked are caught up, the oldest first.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

from libs.common.domain.sessions import (
    OutsideCalendarError,
    Session,
    SessionCalendar,
    load_calendar,
)
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, InvalidInputError, UnavailableError
from libs.common.runtime.logging import get_logger
from services.trade_executor.ports import Books, Broker, Opening
from services.trade_executor.reconciliation import Reconciliation
from services.trade_executor.tie_out import (
    Figures,
    compare,
    day_of,
    is_due,
    moved_by,
    movement,
    standing,
    traded,
)
from services.trade_executor.tie_out_store import TieOut, TieOutStore

_log = get_logger(__name__)

_DAYS_BACK = 10
_YEAR = dt.timedelta(days=366)
_DAY = dt.timedelta(days=1)
# A difference counts when this many looks, a settle time apart, have seen one.
_LOOKS = 3


class TieOuts:
    """Ties out market days, one at a time."""

    def __init__(
        self,
        *,
        store: TieOutStore,
        books: Books,
        broker: Broker,
        reconciliation: Reconciliation,
        clock: Clock,
        market_clock: Clock,
        poll_s: float,
        settle_s: float,
        retry_s: float,
    ) -> None:
        self._store = store
        self._books = books
        self._broker = broker
        self._reconciliation = reconciliation
        self._clock = clock
        self._market_clock = market_clock
        self._poll_s = poll_s
        self._settle_s = settle_s
        self._retry_ns = int(retry_s * 1e9)
        self._calendar: SessionCalendar | None = None
        self._one_at_a_time = asyncio.Lock()
        self._seen: tuple[dt.date, bool] | None = None
        self._again_ns: int | None = None

    async def run(self) -> None:
        """Tie out what is due, until cancelled."""
        while True:
            try:
                await self.look()
            except UnavailableError as error:
                _log.warning("tie_out_waits", error=str(error))
            await asyncio.sleep(self._poll_s)

    async def look(self) -> None:
        """Tie out the days that are due. Raises UnavailableError; the next look tries again."""
        opening = await self._books.opening() if self._anything_new(await self._last()) else None
        if opening is None:
            return
        await asyncio.sleep(self._settle_s)  # what ends with the day is told by the stream first
        now, calendar = self._market_clock.now(), await self._days()
        first = max(opening.begun, now - dt.timedelta(days=3 * _DAYS_BACK)).date()
        closed = [one for one in calendar.sessions_between(first, now.date() + _DAY)
                  if opening.begun < one.close <= now][-_DAYS_BACK:]  # fmt: skip
        tried = await self._store.last_attempts(closed[0].date) if closed else {}
        differs = False
        for session in closed:
            before = tried.get(session.date)
            if is_due(session, before, now):
                cause = "close" if before is None else "again" if not before.agrees else "end"
                async with self._one_at_a_time:
                    found = await self._tie_out(session, opening, cause)
                    if before is None or found.agrees or found.differences != before.differences:
                        await self._store.add(found)
                differs |= not found.agrees
        self._seen = _mark(await self._last(now), now)
        self._again_ns = self._clock.monotonic_ns() + self._retry_ns if differs else None

    async def now(self, day: dt.date | None) -> dict[str, Any]:
        """Tie out `day`, the last closed one if None, and keep the attempt. Raises
        InvalidInputError, ConflictError where there is nothing to compare."""
        opening = await self._books.opening()
        if opening is None:
            raise ConflictError("the books are not open yet")
        session = await self._last()
        if day is not None:
            found = (await self._days()).session_on(day)
            if found is None:
                raise InvalidInputError(f"day: the exchange has no session on {day}")
            session = found
        if not opening.begun < session.close <= self._market_clock.now():
            raise ConflictError(
                f"day: {session.date} has not closed yet, or before the books began"
            )
        async with self._one_at_a_time:
            return await self._store.add(await self._tie_out(session, opening, "request"))

    def _anything_new(self, last: Session) -> bool:
        retry = self._again_ns is not None and self._clock.monotonic_ns() >= self._again_ns
        return retry or self._seen != _mark(last, self._market_clock.now())

    async def _tie_out(self, session: Session, opening: Opening, cause: str) -> TieOut:
        """Compare a day; a difference counts when each of several looks has seen one."""
        await self._reconciliation.run("tie-out", balances=True, deep=True)
        found = await self._compared(session, opening, cause)
        for _ in range(_LOOKS - 1):
            if found.agrees:
                break
            await asyncio.sleep(self._settle_s)
            await self._reconciliation.run("tie-out", balances=True, deep=True)
            found = await self._compared(session, opening, cause)
        _log.info(
            "tied_out", day=str(session.date), cause=cause, differences=len(found.differences)
        )
        return found

    async def _compared(self, session: Session, opening: Opening, cause: str) -> TieOut:
        """Read both sides once and compare."""
        calendar, now = await self._days(), self._market_clock.now()
        begin = calendar.session_offset(session.date, -1).post_close
        # Activities may be dated by the day alone: read a day more, and tell by their day.
        since, until = begin - _DAY, min(now, session.post_close)
        executions = standing(
            await self._broker.executions_since(since), await self._broker.reversals_since(since)
        )
        listed = await self._broker.cash_activities_since(since)
        positions = await self._broker.positions()
        cash = await self._broker.cash()
        ours = await self._store.our_day(since, now)
        # The two views of an execution may date it some milliseconds apart: ours counts.
        dated = {one.execution_id: one.executed_at for one in ours.executions}
        floor = max(begin, opening.at)

        def in_day(moment: dt.datetime) -> bool:
            return floor <= moment <= until

        theirs = Figures(
            cash,
            {held.symbol: held.quantity for held in positions if held.quantity},
            traded(
                one for one in executions if in_day(dated.get(one.execution_id, one.executed_at))
            ),
            moved_by(
                one
                for one in listed
                if one.id not in opening.activities and day_of(one, calendar) == session.date
            ),
        )
        here = Figures(
            ours.cash,
            ours.positions,
            traded(one for one in ours.executions if in_day(one.executed_at)),
            moved_by(one for one in ours.activities if day_of(one, calendar) == session.date),
        )
        before = await self._store.closing_before(session.date)
        moved = movement(before.cash, dict(before.moved), ours.moved, ours.cash)
        differences = tuple(compare(here, theirs, moved))
        return TieOut(session.date, cause, now, here, theirs, moved, ours.moved, differences)

    async def _last(self, at: dt.datetime | None = None) -> Session:
        """Return the last session whose regular hours are over."""
        now = at or self._market_clock.now()
        calendar = await self._days()
        closed = calendar.previous_close(now)
        session = calendar.session_on(closed.astimezone(dt.UTC).date())
        assert session is not None  # a regular close is on its session's day, in UTC too
        return session

    async def _days(self) -> SessionCalendar:
        """Return a calendar that covers now."""
        now = self._market_clock.now()
        if self._calendar is not None:
            try:
                self._calendar.next_close(now)
                self._calendar.previous_close(now - dt.timedelta(days=60))
            except OutsideCalendarError:
                _log.info("calendar_used_up", now=now.isoformat())
            else:
                return self._calendar
        first, last = (now - _YEAR).date(), (now + _YEAR).date()
        self._calendar = await asyncio.to_thread(
            load_calendar, dt.date(first.year, 1, 1), dt.date(last.year, 12, 31)
        )
        return self._calendar


def _mark(last: Session, now: dt.datetime) -> tuple[dt.date, bool]:
    return last.date, now >= last.post_close
