"""The shape of the distribution of returns, and its bad end."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, Final

import numpy as np

from libs.common.quant.metrics.measure import Floats, deviation, measure, varies

_NORMAL: Final = NormalDist()


@measure(1)
def var_historical(returns: Floats, confidence: float = 0.95) -> Any:
    """The return that all but 1 - `confidence` of the returns exceed; a loss is negative.

    The empirical quantile, interpolated between neighbours.

    Source: P. Jorion, Value at Risk, 3rd ed. (2007), nonparametric VaR; quantile 7 of
    R. J. Hyndman, Y. Fan, Sample Quantiles in Statistical Packages, The American Statistician 50
    (1996).
    Peer: pandas.Series.quantile, and so the threshold of quantstats.stats.conditional_value_at_risk
    with method="historical".
    """
    return np.quantile(returns, 1.0 - confidence)


@measure(2)
def var_normal(returns: Floats, confidence: float = 0.95) -> Any:
    """The same quantile of a normal distribution with the returns' mean and deviation.

    Source: Jorion (2007), parametric VaR.
    Peer: quantstats.stats.value_at_risk.
    """
    return returns.mean() + _NORMAL.inv_cdf(1.0 - confidence) * deviation(returns)


@measure(1)
def cvar_historical(returns: Floats, confidence: float = 0.95) -> Any:
    """The mean of the returns at or below `var_historical`.

    Source: R. T. Rockafellar, S. Uryasev, Optimization of Conditional Value-at-Risk, Journal of
    Risk 2 (2000).
    Peer: quantstats.stats.conditional_value_at_risk with method="historical".
    """
    return returns[returns <= np.quantile(returns, 1.0 - confidence)].mean()


@measure(2)
def cvar_normal(returns: Floats, confidence: float = 0.95) -> Any:
    """The mean of a normal distribution below its `var_normal`.

    Source: A. J. McNeil, R. Frey, P. Embrechts, Quantitative Risk Management (2005), section 2.2.
    Peer: quantstats.stats.conditional_value_at_risk.
    """
    tail = 1.0 - confidence
    return returns.mean() - deviation(returns) * _NORMAL.pdf(_NORMAL.inv_cdf(tail)) / tail


@measure(2)
def tail_ratio(returns: Floats, quantile: float = 0.95) -> Any:
    """|The `quantile` of the returns / the opposite one|: above 1 the good tail is longer.

    Source: the practice of Quantopian's empyrical, which introduced it.
    Peer: quantstats.stats.tail_ratio.
    """
    return abs(np.quantile(returns, quantile) / np.quantile(returns, 1.0 - quantile))


@measure(3)
def skewness(returns: Floats) -> Any:
    """Adjusted Fisher-Pearson coefficient of skewness G1; 0 for a symmetric distribution.

    NaN if the returns do not vary, or are fewer than three.

    Source: D. N. Joanes, C. A. Gill, Comparing Measures of Sample Skewness and Kurtosis, The
    Statistician 47 (1998), eq. for G1.
    Peer: quantstats.stats.skew.
    """
    if not varies(returns):
        return np.float64(np.nan)
    n = len(returns)
    centred = returns - returns.mean()
    g1 = np.mean(centred**3) / np.mean(centred**2) ** 1.5
    return np.sqrt(n * (n - 1)) / (n - 2) * g1


@measure(4)
def excess_kurtosis(returns: Floats) -> Any:
    """Adjusted excess kurtosis G2; 0 for a normal distribution, positive with fat tails.

    NaN if the returns do not vary, or are fewer than four.

    Source: Joanes and Gill (1998), eq. for G2.
    Peer: quantstats.stats.kurtosis.
    """
    if not varies(returns):
        return np.float64(np.nan)
    n = len(returns)
    centred = returns - returns.mean()
    g2 = np.mean(centred**4) / np.mean(centred**2) ** 2 - 3.0
    return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * g2 + 6.0)
