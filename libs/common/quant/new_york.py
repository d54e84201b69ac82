"""New York's clocks in machine code, for strategies that follow the exchange's day."""

from __future__ import annotations

from typing import Any, Final

from libs.common.quant.calendar import DAY_NS, day_of, year_of
from libs.common.quant.compile import compiled

HOUR_NS: Final = 3_600_000_000_000
MINUTE_NS: Final = 60_000_000_000


@compiled
def _sunday(day: Any) -> int:
    """Return the first Sunday from `day` on; days are numbered from 1970-01-01, a Thursday."""
    return int(day + (-(day + 4)) % 7)


@compiled
def new_york(ts: Any) -> tuple[int, int]:
    """Return (number of the day, minute of the day) of `ts` (ns since the epoch, UTC) there.

    Day 0 is 1970-01-01. Daylight saving as in law: from 2007 on from the second Sunday in March to
    the first in November (Energy Policy Act of 2005, sec. 110), before from the first Sunday in
    April to the last in October (Uniform Time Act as amended in 1986), which holds back to 1987.
    2013-10-07 13:30 UTC gives (15985, 570): 9:30.
    """
    year = year_of(ts)
    # From March on the months have the same lengths in every year: 1 November is 245 days later.
    march = 365 * year + year // 4 - year // 100 + year // 400 - 719_468
    if year >= 2007:
        begin = _sunday(march + 7)
        end = _sunday(march + 245)
    else:
        begin = _sunday(march + 31)
        end = _sunday(march + 238)
    summer = begin * DAY_NS + 7 * HOUR_NS <= ts < end * DAY_NS + 6 * HOUR_NS
    local = ts - (4 if summer else 5) * HOUR_NS
    day = day_of(local)
    return day, int((local - day * DAY_NS) // MINUTE_NS)
