"""How sure a Sharpe ratio is: for the length and shape of the record, and for the tries behind it.

All Sharpe ratios here are of one period, not a year, as in the papers.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from libs.common.quant.metrics.measure import Floats, measure
from libs.common.quant.metrics.ratios import sharpe
from libs.common.quant.metrics.tails import excess_kurtosis, skewness

_NORMAL: Final = NormalDist()
# Digits of Euler's constant as far as a double holds them.
EULER_GAMMA: Final = 0.5772156649015329


def sharpe_spread(ratio: float, skew: float, kurtosis: float) -> float:
    """Return 1 - skew x ratio + (kurtosis - 1) / 4 x ratio^2, NaN if not positive.

    n - 1 times the variance of an estimated Sharpe ratio. `kurtosis` is 3 for a normal
    distribution.

    Source: D. H. Bailey, M. López de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk
    15 (2012), after E. Mertens.
    """
    value = 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    return value if value > 0.0 else math.nan


def probabilistic_sharpe(
    ratio: float, n: float, *, skew: float = 0.0, kurtosis: float = 3.0, threshold: float = 0.0
) -> float:
    """Return the probability that the true Sharpe ratio is above `threshold`.

    `ratio` was measured on `n` returns with this skew and kurtosis (3: normal). A monthly ratio
    of 0.458 over 24 months, skew -2.448, kurtosis 10.164 -> 0.913 (with a normal shape 0.982).

    Source: Bailey and López de Prado (2012), probabilistic Sharpe ratio; the numbers are theirs.
    Peer: skfolio's probabilistic_sharpe_ratio.
    """
    spread = sharpe_spread(ratio, skew, kurtosis)
    if not n > 1 or not math.isfinite(spread) or not math.isfinite(threshold):
        return math.nan
    return _NORMAL.cdf((ratio - threshold) * math.sqrt(n - 1.0) / math.sqrt(spread))


def track_record_length(
    ratio: float,
    *,
    skew: float = 0.0,
    kurtosis: float = 3.0,
    threshold: float = 0.0,
    confidence: float = 0.95,
) -> float:
    """Return how many returns it takes to be `confidence` sure of a ratio above `threshold`.

    NaN if `ratio` is not above it: no length does.

    Source: Bailey and López de Prado (2012), minimum track record length.
    Peer: none; the paper's numbers.
    """
    spread = sharpe_spread(ratio, skew, kurtosis)
    if not ratio > threshold or not math.isfinite(spread):
        return math.nan
    return 1.0 + spread * (_NORMAL.inv_cdf(confidence) / (ratio - threshold)) ** 2


def expected_best_sharpe(trials: float, deviation: float) -> float:
    """Return the Sharpe ratio that the best of `trials` without any skill may be expected to show.

    `deviation` is the standard deviation of the ratios over the trials. 0 for one trial.

    Source: D. H. Bailey, M. López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio
    Management 40 (2014). An approximation: about 1 % above the true mean for 50 trials.
    Peer: ffn.calc_expected_max_sharpe, skfolio's expected_max_sharpe_ratio.
    """
    if not trials >= 1.0 or not deviation >= 0.0:
        return math.nan
    if trials == 1.0 or deviation == 0.0:
        return 0.0
    near = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    far = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return deviation * ((1.0 - EULER_GAMMA) * near + EULER_GAMMA * far)


def shape_of(returns: Floats) -> tuple[float, float, float]:
    """Return Sharpe ratio (of one period), skewness and kurtosis (3: normal) of `returns`."""
    return sharpe(returns, periods=1.0), skewness(returns), excess_kurtosis(returns) + 3.0


def deflated_sharpe(returns: Floats, trial_ratios: Floats) -> float:
    """Return the probability that the chosen strategy's true Sharpe ratio is above 0, given that
    it was the best of all the trials.

    `returns` are those of the chosen one, `trial_ratios` the ratios (one period) of every trial
    that was looked at, itself included. Trials that resemble each other count as if independent:
    that errs on the safe side. NaN where undefined.

    Source: Bailey and López de Prado (2014).
    Peer: ffn.calc_deflated_sharpe_ratio.
    """
    ratios = np.asarray(trial_ratios, np.float64)
    spread = _sample_deviation(ratios) if len(ratios) != 1 else 0.0
    ratio, skew, kurtosis = shape_of(returns)
    hurdle = expected_best_sharpe(float(len(ratios)), spread)
    return probabilistic_sharpe(ratio, len(returns), skew=skew, kurtosis=kurtosis, threshold=hurdle)


@measure(2)
def _sample_deviation(values: Floats) -> Any:
    return np.std(values, ddof=1)
