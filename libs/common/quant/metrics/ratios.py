"""Return for risk: Sharpe, Sortino, Calmar, Omega and their like."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from libs.common.quant.metrics.measure import ROUNDING, Floats, deviation, measure, per_period

# So many windows at a time, because each is copied.
_FRAMES: Final = 4096


@measure(2)
def sharpe(returns: Floats, rate: float = 0.0, periods: float = 252.0) -> Any:
    """Mean excess return / its sample standard deviation x the square root of `periods`.

    `rate` is the risk-free rate a year. NaN if the returns do not vary.

    Source: W. F. Sharpe, The Sharpe Ratio, Journal of Portfolio Management 21 (1994), eq. 3-6.
    Peer: quantstats.stats.sharpe, ffn.calc_sharpe.
    """
    excess = returns - per_period(rate, periods)
    return excess.mean() / deviation(excess) * np.sqrt(periods)


@measure(2)
def sortino(returns: Floats, rate: float = 0.0, periods: float = 252.0) -> Any:
    """Mean excess return / downside deviation x the square root of `periods`.

    The downside deviation is the root of the mean over *all* returns of min(excess, 0)^2. NaN
    without a loss.

    Source: F. A. Sortino, L. N. Price, Performance Measurement in a Downside Risk Framework,
    Journal of Investing 3 (1994), with the risk-free rate as the least acceptable return.
    Peer: quantstats.stats.sortino, ffn.calc_sortino_ratio.
    """
    excess = returns - per_period(rate, periods)
    downside = np.sqrt(np.mean(np.minimum(excess, 0.0) ** 2))
    return excess.mean() / downside * np.sqrt(periods)


@measure(2)
def omega(returns: Floats, required: float = 0.0, periods: float = 252.0) -> Any:
    """Sum of gains above the required return / sum of losses below it.

    `required` is a return a year. NaN without a loss.

    Source: C. Keating, W. F. Shadwick, A Universal Performance Measure, Journal of Performance
    Measurement 6 (2002).
    Peer: quantstats.stats.omega.
    """
    excess = returns - per_period(required, periods)
    return excess[excess > 0.0].sum() / -excess[excess < 0.0].sum()


@measure(0)
def calmar(growth: float, drawdown: float) -> Any:
    """CAGR / |maximum drawdown|. NaN without a drawdown.

    Source: T. W. Young, Calmar Ratio: A Smoother Tool, Futures 20 (1991), over the whole time
    instead of 36 months.
    Peer: ffn.calc_calmar_ratio.
    """
    return np.float64(growth) / abs(drawdown)


@measure(0)
def recovery_factor(total: float, drawdown: float) -> Any:
    """Total return / |maximum drawdown|. NaN without a drawdown.

    Source: "return retracement" of the trading literature, e.g. R. Pardo, The Evaluation and
    Optimization of Trading Strategies, 2nd ed. (2008).
    Peer: quantstats.stats.comp / |quantstats.stats.max_drawdown|. Its own recovery_factor adds
    returns up instead of compounding them and drops the sign of a loss.
    """
    return np.float64(total) / abs(drawdown)


@measure(1)
def gain_to_pain(returns: Floats) -> Any:
    """Sum of the returns / |sum of those below 0|. NaN without a loss.

    Source: J. D. Schwager, Hedge Fund Market Wizards (2012), appendix A.
    Peer: quantstats.stats.gain_to_pain_ratio.
    """
    return returns.sum() / -returns[returns < 0.0].sum()


def rolling_sharpe(returns: Floats, window: int, periods: float = 252.0) -> Floats:
    """Return the Sharpe ratio of the last `window` returns at each, shape (n,).

    NaN for the first window - 1, where a value is NaN, and where the returns do not vary.

    Source: Sharpe (1994).
    Peer: quantstats.stats.rolling_sharpe.
    """
    returns = np.asarray(returns, np.float64)
    values = np.full(len(returns), np.nan)
    if not 2 <= window <= len(returns):
        return values
    every = np.lib.stride_tricks.sliding_window_view(returns, window)
    ratios = values[window - 1 :]
    for begin in range(0, len(every), _FRAMES):
        frames = every[begin : begin + _FRAMES]
        with np.errstate(all="ignore"):
            found = frames.mean(axis=1) / frames.std(axis=1, ddof=1) * np.sqrt(periods)
            spread = frames.max(axis=1) - frames.min(axis=1)
        known = (spread > ROUNDING) & np.isfinite(found)
        ratios[begin : begin + _FRAMES] = np.where(known, found, np.nan)
    return values
