"""How much was earned: returns of an equity curve, growth a year."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.common.quant.metrics.measure import Floats, deviation, measure

YEAR_S: Final = 31_557_600
"""A Julian year of 365.25 days, in seconds."""


def simple_returns(equity: Floats) -> Floats:
    """Return equity[i] / equity[i - 1] - 1, shape (n - 1,); NaN where the first is not positive.

    100, 110, 99 -> 0.1, -0.1.
    """
    equity = np.asarray(equity, np.float64)
    before = equity[:-1]
    with np.errstate(all="ignore"):
        return np.where(before > 0.0, equity[1:] / before - 1.0, np.nan)


@measure(1)
def total_return(returns: Floats) -> Any:
    """All returns compounded: the product of (1 + r), less 1.

    Source: C. R. Bacon, Practical Portfolio Performance Measurement and Attribution, 2nd ed.
    (2008), chapter 2.
    Peer: quantstats.stats.comp.
    """
    return np.prod(1.0 + returns) - 1.0


def cagr(equity: Floats, ts: npt.NDArray[np.int64]) -> float:
    """Compound annual growth: (last / first equity) ^ (1 / years) - 1, by the calendar.

    `ts` in ns; a year has 365.25 days. NaN without two points of time, from an equity that is
    not positive, or to one below 0; -1 if all is lost.

    Source: Bacon (2008), chapter 2, annualised return; years by the calendar.
    Peer: ffn.calc_cagr. quantstats counts 252 returns to a year: see `geometric_return`.
    """
    if len(equity) < 2 or int(ts[-1]) <= int(ts[0]):
        return float("nan")
    years = (int(ts[-1]) - int(ts[0])) / 1e9 / YEAR_S
    return _growth(np.asarray(equity, np.float64)[[0, -1]], years)


@measure(2)
def _growth(ends: Floats, years: float) -> Any:
    if ends[0] <= 0.0 or ends[1] < 0.0:
        return np.float64(np.nan)
    return np.expm1(np.log(ends[1] / ends[0]) / years)


@measure(1)
def geometric_return(returns: Floats, periods: float = 252.0) -> Any:
    """Growth a year if `periods` returns make one: (product of (1 + r)) ^ (periods / n) - 1.

    Source: Bacon (2008), chapter 2, annualised return.
    Peer: quantstats.stats.cagr.
    """
    total = np.prod(1.0 + returns)
    if total < 0.0:
        return np.float64(np.nan)
    return np.expm1(np.log(total) * periods / len(returns))


@measure(2)
def annual_volatility(returns: Floats, periods: float = 252.0) -> Any:
    """Sample standard deviation of the returns x the square root of `periods` a year.

    Source: J. C. Hull, Options, Futures, and Other Derivatives, 8th ed. (2012), section 14.4
    (with simple, not logarithmic returns).
    Peer: quantstats.stats.volatility.
    """
    return deviation(returns) * np.sqrt(periods)


@measure(1)
def best_return(returns: Floats) -> Any:
    """The largest return.

    Source: the word.
    Peer: quantstats.stats.best.
    """
    return returns.max()


@measure(1)
def worst_return(returns: Floats) -> Any:
    """The smallest return.

    Source: the word.
    Peer: quantstats.stats.worst.
    """
    return returns.min()


@measure(1)
def positive_share(returns: Floats) -> Any:
    """Share of returns above 0 among those that are not 0.

    Source: Bacon (2008), chapter 4, "percentage gain".
    Peer: quantstats.stats.win_rate.
    """
    moved = np.count_nonzero(returns)
    return np.float64(np.count_nonzero(returns > 0.0)) / moved
