"""Market time as a function of wall time: a factor, and a jump over the hours nobody trades."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum

from libs.common.domain.sessions import OutsideCalendarError, Session, SessionCalendar
from libs.common.kernel.clock import NS_PER_SECOND, from_ns, to_ns
from libs.common.kernel.errors import InvalidInputError


class Hours(StrEnum):
    """Which part of each day the clock lives through."""

    REGULAR = "regular"
    EXTENDED = "extended"
    ALL = "all"


class MarketTime:
    """Runs at `factor` market seconds a wall second; 0 stands still until stepped.

    With hours `regular` it lives from `lead_in` before the open to `lead_out` after the close,
    with `extended` from the pre-market's open to the post-market's close; then it rests for
    `pause_s` wall seconds and continues at the next session's beginning. `all` skips nothing.
    `monotonic_ns` is the wall's monotonic clock.
    """

    def __init__(
        self,
        calendar: SessionCalendar,
        start_ns: int,
        factor: float,
        *,
        hours: Hours,
        pause_s: float,
        lead_in: timedelta,
        lead_out: timedelta,
        monotonic_ns: Callable[[], int],
    ) -> None:
        self._calendar = calendar
        self._hours = hours
        self._pause_ns = int(pause_s * NS_PER_SECOND)
        self._lead_in = lead_in
        self._lead_out = lead_out
        self._monotonic_ns = monotonic_ns
        self._anchor = start_ns
        self._anchor_wall = monotonic_ns()
        self._resting = False
        self.factor = check_factor(factor)

    def now_ns(self) -> int:
        """Return the market time now."""
        if self._hours is Hours.ALL or self.factor == 0:
            return self._anchor + self._elapsed()
        self._cross_nights()
        return self._anchor if self._resting else self._anchor + self._elapsed()

    @property
    def rate(self) -> float:
        """Return how fast time runs at this moment: the factor, or 0 while it rests."""
        self.now_ns()
        return 0.0 if self._resting else self.factor

    def set_factor(self, factor: float) -> None:
        """Run at `factor` from now on."""
        self._rebase(self.now_ns())
        self.factor = check_factor(factor)

    def set(self, ns: int) -> None:
        """Put the clock forward to `ns`. Raises InvalidInputError for the past."""
        now = self.now_ns()
        if ns < now:
            raise InvalidInputError(f"the clock does not run backward: {from_ns(ns)} is before now")
        self._rebase(ns)

    def _rebase(self, ns: int) -> None:
        self._anchor, self._anchor_wall, self._resting = ns, self._monotonic_ns(), False

    def _elapsed(self) -> int:
        return int((self._monotonic_ns() - self._anchor_wall) * self.factor)

    def _cross_nights(self) -> None:
        """Move the anchor over each window's end that the wall clock has passed."""
        while True:
            session = self._session_at_anchor()
            if session is None:
                self._resting = True
                return
            start, end = self._window(session)
            if self._anchor < start:
                rested = self._monotonic_ns() - self._anchor_wall
                if rested < self._pause_ns:
                    self._resting = True
                    return
                self._anchor, self._resting = start, False
                self._anchor_wall += self._pause_ns
                continue
            if self._anchor + self._elapsed() < end:
                self._resting = False
                return
            self._anchor_wall += int((end - self._anchor) / self.factor)
            self._anchor = end

    def _session_at_anchor(self) -> Session | None:
        """Return the session whose window holds the anchor, or the next one."""
        moment = from_ns(self._anchor)
        try:
            session = self._calendar.session_at(moment)
            if self._anchor >= self._window(session)[1]:
                session = self._calendar.session_offset(session.date, 1)
        except OutsideCalendarError:
            return None
        return session

    def _window(self, session: Session) -> tuple[int, int]:
        if self._hours is Hours.EXTENDED:
            return to_ns(session.pre_open), to_ns(session.post_close)
        return to_ns(session.open - self._lead_in), to_ns(session.close + self._lead_out)


def check_factor(factor: float) -> float:
    """Return `factor`; raises InvalidInputError unless it is finite and not negative."""
    if not 0 <= factor < 1e7:
        raise InvalidInputError(f"factor {factor} must be between 0 and 10 000 000")
    return factor
