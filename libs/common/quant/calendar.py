"""The civil calendar in machine code: which day, month and year (UTC) a time falls into."""

from __future__ import annotations

from typing import Any, Final

from libs.common.quant.compile import compiled

DAY_NS: Final = 86_400_000_000_000


@compiled
def day_of(ts: Any) -> int:
    """Return the number of the day of `ts` (ns since the epoch); 0 is 1970-01-01."""
    return int(ts // DAY_NS)


@compiled
def month_of(ts: Any) -> int:
    """Return the number of the month of `ts` (ns since the epoch): 12 x year + month - 1.

    2000-02-29 gives 24001. The proleptic Gregorian calendar by Howard Hinnant, "chrono-Compatible
    Low-Level Date Algorithms" (2013), civil_from_days: years that begin in March, so that the leap
    day is the last.
    """
    days = day_of(ts) + 719_468
    era = days // 146_097
    day = days - era * 146_097
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day_of_year = day - (365 * year + year // 4 - year // 100)
    march = (5 * day_of_year + 2) // 153
    return int(12 * (year + 400 * era) + march + 2)


@compiled
def year_of(ts: Any) -> int:
    """Return the year of `ts` (ns since the epoch)."""
    return int(month_of(ts) // 12)
