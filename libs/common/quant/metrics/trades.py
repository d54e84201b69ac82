"""What single trades earned, and how much was traded."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.quant.metrics.measure import Floats, deviation, measure


@measure(1)
def hit_rate(pnl: Floats) -> Any:
    """Winning trades / trades that won or lost; one that gave exactly 0 counts for neither.

    Source: Pardo (2008), "percentage of winning trades".
    Peer: quantstats.stats.win_rate.
    """
    return np.float64(np.count_nonzero(pnl > 0.0)) / np.count_nonzero(pnl)


@measure(1)
def profit_factor(pnl: Floats) -> Any:
    """Sum of the wins / |sum of the losses|. NaN without a loss (quantstats: infinite).

    Source: Pardo (2008).
    Peer: quantstats.stats.profit_factor.
    """
    return pnl[pnl > 0.0].sum() / -pnl[pnl < 0.0].sum()


@measure(1)
def payoff_ratio(pnl: Floats) -> Any:
    """Mean win / |mean loss|. NaN unless there are both.

    Source: Pardo (2008), "ratio of average win to average loss".
    Peer: quantstats.stats.payoff_ratio.
    """
    wins, losses = pnl[pnl > 0.0], pnl[pnl < 0.0]
    if len(wins) == 0 or len(losses) == 0:
        return np.float64(np.nan)
    return wins.mean() / -losses.mean()


@measure(1)
def expectancy(pnl: Floats) -> Any:
    """Mean profit of a trade, in the unit of `pnl`.

    Source: V. K. Tharp, Trade Your Way to Financial Freedom, 2nd ed. (2007).
    Peer: hit rate x mean win + (1 - hit rate) x mean loss, by quantstats.stats.win_rate, avg_win
    and avg_loss, where no trade gave 0.
    """
    return pnl.mean()


@measure(2)
def system_quality_number(pnl: Floats) -> Any:
    """Square root of the number of trades x mean / sample standard deviation of their profits.

    The t statistic of the mean. NaN if all trades gave the same.

    Source: V. K. Tharp, Definitive Guide to Position Sizing (2008) (there with profits in
    multiples of the initial risk, and at most 100 trades counted).
    Peer: scipy.stats.ttest_1samp(pnl, 0).statistic.
    """
    return np.sqrt(len(pnl)) * pnl.mean() / deviation(pnl)


@measure(1)
def turnover(traded: Floats, equity: Floats, years: float) -> Any:
    """Half of all that was bought and sold, in money, / mean equity / years.

    1.0: the account was exchanged once a year. `traded` holds |quantity x price| of each fill.

    Source: R. C. Grinold, R. N. Kahn, Active Portfolio Management, 2nd ed. (2000), chapter 16.
    Peer: none among the test libraries; checked by hand.
    """
    return traded.sum() / 2.0 / equity.mean() / np.float64(years)


@measure(1)
def time_in_market(exposure: Floats) -> Any:
    """Share of the points at which something was held. `exposure`: gross, in any unit.

    Source: Pardo (2008), "time in the market".
    Peer: quantstats.stats.exposure, before it rounds up to a whole per cent.
    """
    return np.float64(np.count_nonzero(exposure)) / len(exposure)


@measure(1)
def mean_exposure(exposure: Floats, equity: Floats) -> Any:
    """Mean of gross exposure / equity: 1.0 is fully invested without leverage.

    NaN if equity is not positive somewhere.

    Source: the balance sheet: positions over capital; the mean over time.
    Peer: none among the test libraries; checked by hand.
    """
    if (equity <= 0.0).any():
        return np.float64(np.nan)
    return np.mean(exposure / equity)
