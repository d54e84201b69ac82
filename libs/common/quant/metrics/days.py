"""From n bars at ns times to days and months."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics.measure import Floats

Times = npt.NDArray[np.int64]

DAY_NS: Final = 86_400_000_000_000
_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True)
class Daily:
    """An equity curve with one point a day: `ts` (m,) ns, of the day's last point, `equity` (m,),
    and `last` (m,), the index of that point in the curve it came from."""

    ts: Times
    equity: Floats
    last: npt.NDArray[np.int64]


def check_times(ts: Times, values: Floats, what: str) -> None:
    """Raise InvalidInputError unless there is one value a time and times increase."""
    if len(ts) != len(values):
        raise InvalidInputError(f"{what}: {len(ts)} times but {len(values)} values")
    late = np.flatnonzero(np.diff(ts) <= 0)
    if len(late):
        raise InvalidInputError(f"{what}: time {late[0] + 1} is not after the one before it")


def daily(ts: Times, equity: Floats, offset_ns: int = 0) -> Daily:
    """Return the last point of each day on which there is one.

    Days without a point do not exist in the result: nothing is filled, so that weekends and
    holidays neither dampen volatility nor stretch the series. A day begins at midnight UTC plus
    `offset_ns` (for a session that crosses midnight). Raises InvalidInputError as `check_times`.
    """
    check_times(ts, equity, "equity curve")
    days = (np.asarray(ts, np.int64) - offset_ns) // DAY_NS
    last = np.flatnonzero(np.append(np.diff(days) != 0, True)[: len(days)])
    return Daily(np.asarray(ts, np.int64)[last], np.asarray(equity, np.float64)[last], last)


def periods_per_year(ts: Times) -> float:
    """Return how many points like these make a year: 12, 52, 252 or 365.

    By the median distance: 25 days or more are months, 5 or more are weeks. Days are 365 where
    more than a tenth of them are Saturdays or Sundays (crypto), else 252. 252 for fewer than two.
    """
    if len(ts) < 2:
        return 252.0
    distance = float(np.median(np.diff(ts))) / DAY_NS
    if distance >= 25.0:
        return 12.0
    if distance >= 5.0:
        return 52.0
    weekday = (np.asarray(ts, np.int64) // DAY_NS + 3) % 7  # 1970-01-01 was a Thursday
    return 365.0 if np.mean(weekday >= _SATURDAY) > 0.1 else 252.0


def monthly_returns(ts: Times, equity: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return months since 1970-01 (m,) and the return of each (m,).

    A month's return is from the last point of the month before (of the first: from its first
    point) to its own last. Months without a point are left out. Raises as `check_times`.
    """
    check_times(ts, equity, "equity curve")
    equity = np.asarray(equity, np.float64)
    months = np.asarray(ts, "datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    if len(months) == 0:
        return months, np.empty(0)
    last = np.flatnonzero(np.append(np.diff(months) != 0, True))
    before = np.concatenate([[0], last[:-1]])
    with np.errstate(all="ignore"):
        returns = np.where(equity[before] > 0.0, equity[last] / equity[before] - 1.0, np.nan)
    return months[last], returns
