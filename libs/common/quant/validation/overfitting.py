"""Does choosing the best of many carry over? Combinatorially symmetric cross-validation."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics.measure import Floats

COMBINATIONS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Overfitting:
    """What became of the best in sample, out of sample, over all combinations of blocks.

    `probability` of backtest overfitting: how often the best in sample was not above the median
    out of sample. `logits` (c,): of its relative rank out of sample. `in_sample`, `out_sample`
    (c,): its two Sharpe ratios (one period). `slope` of the regression of the second on the
    first: negative where the better in sample did worse. `loss`: how often its mean return out of
    sample was below 0.
    """

    probability: float
    logits: Floats
    in_sample: Floats
    out_sample: Floats
    slope: float
    loss: float


def overfitting(trials: Floats, blocks: int = 16) -> Overfitting:
    """Return the probability of backtest overfitting of a search, by CSCV.

    `trials` (n, k): returns of *every* configuration tried, a column each, in order of time. The
    bars are cut into `blocks` (even) of equal length, what is over at the end is dropped; each
    half of the blocks in turn is in sample. The measure is the Sharpe ratio. Ties out of sample
    share their mean rank. Probability, slope and loss are NaN if a ratio is undefined somewhere.

    Raises InvalidInputError for fewer than two trials, an odd number of blocks, blocks of fewer
    than two bars, or more than 200 000 combinations.

    Source: D. H. Bailey, J. M. Borwein, M. López de Prado, Q. J. Zhu, The Probability of Backtest
    Overfitting, Journal of Computational Finance 20 (2017).
    Peer: ffn.calc_prob_backtest_overfitting.
    """
    trials = np.asarray(trials, np.float64)
    _check(trials, blocks)
    length = len(trials) // blocks
    cut = trials[: length * blocks].reshape(blocks, length, -1)
    # Moments of each block once; any half is their sum. Taken about the trial's own mean, so that
    # the difference of squares below loses no digits.
    middle = cut.mean(axis=(0, 1))
    sums, squares = (cut - middle).sum(axis=1), ((cut - middle) ** 2).sum(axis=1)
    chosen = np.array(list(itertools.combinations(range(blocks), blocks // 2)))
    inside = np.zeros((len(chosen), blocks))
    np.put_along_axis(inside, chosen, 1.0, axis=1)
    n = length * blocks // 2
    _, ratios_in = _ratios(inside @ sums, inside @ squares, n, middle)
    means_out, ratios_out = _ratios((1.0 - inside) @ sums, (1.0 - inside) @ squares, n, middle)
    return _verdict(ratios_in, ratios_out, means_out)


def _check(trials: Floats, blocks: int) -> None:
    if trials.ndim != 2 or trials.shape[1] < 2:
        raise InvalidInputError(f"trials: need (n, k) with k of at least 2, got {trials.shape}")
    if blocks < 2 or blocks % 2 or len(trials) // blocks < 2:
        raise InvalidInputError(
            f"blocks: must be even and leave two of the {len(trials)} bars to each, got {blocks}"
        )
    if math.comb(blocks, blocks // 2) > COMBINATIONS_MAX:
        raise InvalidInputError(f"blocks: {blocks} give more than {COMBINATIONS_MAX} combinations")


def _ratios(sums: Floats, squares: Floats, n: int, middle: Floats) -> tuple[Floats, Floats]:
    with np.errstate(all="ignore"):
        variance = (squares - sums**2 / n) / (n - 1)
        means = sums / n + middle
        still = variance <= 1e-14 * (squares / n + middle**2)
        return means, np.where(still, np.nan, means / np.sqrt(variance))


def _verdict(inside: Floats, outside: Floats, means_outside: Floats) -> Overfitting:
    rows = np.arange(len(inside))
    defined = np.isfinite(inside).all(axis=1) & np.isfinite(outside).all(axis=1)
    best = np.argmax(np.where(np.isfinite(inside), inside, -np.inf), axis=1)
    of_best = outside[rows, best]
    with np.errstate(all="ignore"):
        below = (outside < of_best[:, None]).sum(axis=1)
        equal = (outside == of_best[:, None]).sum(axis=1)
        rank = (below + (equal + 1) / 2.0) / (outside.shape[1] + 1.0)
        logits = np.where(defined, np.log(rank / (1.0 - rank)), np.nan)
    in_best = inside[rows, best]
    if not defined.all():
        return Overfitting(math.nan, logits, in_best, of_best, math.nan, math.nan)
    spread = float(np.var(in_best))
    slope = float(np.cov(in_best, of_best, ddof=0)[0, 1]) / spread if spread > 0 else math.nan
    return Overfitting(
        probability=float(np.mean(logits <= 0.0)),
        logits=logits,
        in_sample=in_best,
        out_sample=of_best,
        slope=slope,
        loss=float(np.mean(means_outside[rows, best] < 0.0)),
    )
