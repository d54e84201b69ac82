"""Bad times by name, and what a curve did in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from libs.common.quant.metrics.days import Times, check_times
from libs.common.quant.metrics.drawdowns import DAY_NS, max_drawdown
from libs.common.quant.metrics.growth import simple_returns, total_return
from libs.common.quant.metrics.measure import Floats


@dataclass(frozen=True, slots=True)
class Crisis:
    """A bad time, from the close of `first` to that of `last`, and where the dates are from."""

    name: str
    first: date
    last: date
    source: str


# Where the index itself says it; most are in Yardeni Research's S&P 500 Bull & Bear Market Tables
# too, and a test finds those of 1990 to 2022 in the index.
_PEAK: Final = "S&P 500, highest to lowest close"

CRISES: Final = (
    Crisis("Black Monday", date(1987, 8, 25), date(1987, 12, 4), _PEAK),
    Crisis("Gulf War", date(1990, 7, 16), date(1990, 10, 11), _PEAK),
    Crisis("Bond massacre", date(1994, 2, 2), date(1994, 4, 4), _PEAK),
    Crisis("Asian crisis", date(1997, 10, 7), date(1997, 10, 27), _PEAK),
    Crisis("Russia and LTCM", date(1998, 7, 17), date(1998, 8, 31), _PEAK),
    Crisis("Dot-com bust", date(2000, 3, 24), date(2002, 10, 9), _PEAK),
    Crisis("Quant quake", date(2007, 8, 3), date(2007, 8, 9),
           "A. Khandani, A. Lo, What Happened to the Quants in August 2007? (2007)"),
    Crisis("Financial crisis", date(2007, 10, 9), date(2009, 3, 9), _PEAK),
    Crisis("Flash crash", date(2010, 5, 5), date(2010, 5, 6), "CFTC and SEC report, 30 Sept. 2010"),
    Crisis("US downgrade", date(2011, 4, 29), date(2011, 10, 3), _PEAK),
    Crisis("China devaluation", date(2015, 5, 21), date(2015, 8, 25), _PEAK),
    Crisis("Oil and China", date(2015, 11, 3), date(2016, 2, 11), _PEAK),
    Crisis("Volmageddon", date(2018, 1, 26), date(2018, 2, 8), _PEAK),
    Crisis("Late 2018", date(2018, 9, 20), date(2018, 12, 24), _PEAK),
    Crisis("Covid crash", date(2020, 2, 19), date(2020, 3, 23), _PEAK),
    Crisis("Rates of 2022", date(2022, 1, 3), date(2022, 10, 12), _PEAK),
    Crisis("Regional banks", date(2023, 3, 8), date(2023, 3, 13),
           "FDIC on Silvergate, SVB and Signature, March 2023"),
    Crisis("Yen carry unwind", date(2024, 7, 16), date(2024, 8, 5), _PEAK),
    Crisis("Tariffs of 2025", date(2025, 2, 19), date(2025, 4, 8), _PEAK),
)  # fmt: skip
"""Windows of stress in US equities, oldest first."""


@dataclass(frozen=True, slots=True)
class Stressed:
    """What a curve did in a crisis: its return, and its deepest drawdown inside it."""

    crisis: Crisis
    total_return: float
    max_drawdown: float


def stressed(
    ts: Times, equity: Floats, crises: tuple[Crisis, ...] = CRISES
) -> tuple[Stressed, ...]:
    """Return the crises that lie wholly inside the curve's time, with what it did in each.

    From the last point of the first day (or before it) to the last point of the last day. Raises
    InvalidInputError as `check_times`.
    """
    check_times(ts, equity, "equity curve")
    found = []
    for crisis in crises:
        begin, end = (
            int(np.searchsorted(ts, _ns(day) + DAY_NS, side="left"))
            for day in (crisis.first, crisis.last)
        )
        if begin == 0 or end == begin or int(ts[-1]) < _ns(crisis.last):
            continue
        window = np.asarray(equity[begin - 1 : end], np.float64)
        found.append(Stressed(crisis, total_return(simple_returns(window)), max_drawdown(window)))
    return tuple(found)


def _ns(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY_NS
