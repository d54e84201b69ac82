"""Which minutes of regular sessions lie between two minute bars."""

from libs.common.domain.sessions import SessionCalendar
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import from_ns, to_ns

_MINUTE = Timeframe.MINUTE.ns


def gap_between(last_ns: int, next_ns: int, calendar: SessionCalendar) -> tuple[int, int] | None:
    """The range [start, end) of bar starts to ask the provider for, or None if none is missing.

    A minute is missing where it lies in a regular session, after `last_ns` and before `next_ns`.
    15:59 to the next day's 09:30 misses nothing; 15:58 to 09:31 misses two minutes.
    """
    start, end = last_ns + _MINUTE, next_ns
    if start >= end:
        return None
    sessions = calendar.sessions_between(from_ns(last_ns).date(), from_ns(next_ns).date())
    for session in sessions:
        if max(start, to_ns(session.open)) < min(end, to_ns(session.close)):
            return start, end
    return None
