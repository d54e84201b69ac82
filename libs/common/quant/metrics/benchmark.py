"""Beside a benchmark: what came from the market, what did not."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.quant.metrics.measure import Floats, deviation, measure, per_period, varies


@measure(2)
def beta(returns: Floats, benchmark: Floats) -> Any:
    """Covariance with the benchmark / variance of the benchmark. NaN if that does not vary.

    Source: W. F. Sharpe, Capital Asset Prices, Journal of Finance 19 (1964); Grinold and Kahn
    (2000), chapter 2.
    Peer: quantstats.stats.greeks()["beta"].
    """
    if not varies(benchmark):
        return np.float64(np.nan)
    matrix = np.cov(returns, benchmark)
    return matrix[0, 1] / matrix[1, 1]


@measure(2)
def alpha(returns: Floats, benchmark: Floats, rate: float = 0.0, periods: float = 252.0) -> Any:
    """Jensen's alpha a year: (mean excess return - beta x mean excess of the benchmark) x periods.

    Source: M. C. Jensen, The Performance of Mutual Funds, Journal of Finance 23 (1968).
    Peer: quantstats.stats.greeks()["alpha"], with a risk-free rate of 0.
    """
    safe = per_period(rate, periods)
    slope = beta(returns, benchmark)
    return ((returns.mean() - safe) - slope * (benchmark.mean() - safe)) * np.float64(periods)


@measure(2)
def tracking_error(returns: Floats, benchmark: Floats, periods: float = 252.0) -> Any:
    """Sample standard deviation of the active returns, a year.

    Source: Grinold and Kahn (2000), chapter 3, "active risk".
    Peer: quantstats.stats.volatility of the differences.
    """
    return deviation(returns - benchmark) * np.sqrt(periods)


@measure(2)
def information_ratio(returns: Floats, benchmark: Floats, periods: float = 252.0) -> Any:
    """Mean active return / its sample standard deviation x the square root of `periods`.

    NaN if they do not differ (quantstats and ffn: 0).

    Source: Grinold and Kahn (2000), chapter 5, in its plain form (active return, beta not removed).
    Peer: quantstats.stats.information_ratio and ffn.calc_information_ratio x sqrt(periods): they
    leave it a ratio of one period.
    """
    active = returns - benchmark
    return active.mean() / deviation(active) * np.sqrt(periods)


@measure(2)
def correlation(returns: Floats, benchmark: Floats) -> Any:
    """Pearson's correlation with the benchmark. NaN if one does not vary.

    Source: Bacon (2008), chapter 4.
    Peer: pandas.Series.corr; its square is quantstats.stats.r_squared.
    """
    if not varies(returns) or not varies(benchmark):
        return np.float64(np.nan)
    return np.corrcoef(returns, benchmark)[0, 1]
