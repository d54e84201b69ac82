"""Does choosing the best of many carry over? Combinatorially symmetric cross-validation."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics.measure import Floats

COMBINATIONS_MAX = 200_000
_AT_ONCE = 4_000_000


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


def overfitting(trials: Floats, blocks: int = 16, *, idle: float = math.nan) -> Overfitting:
    """Return the probability of backtest overfitting of a search, by CSCV.

    `trials` (n, k): returns of *every* configuration tried, a column each, in order of time. The
    bars are cut into `blocks` (even) of equal length, what is over at the end is dropped; each
    half of the blocks in turn is in sample. The measure is the Sharpe ratio. Ties out of sample
    share their mean rank. `idle` is the ratio of a trial whose returns are all 0 in a half: it did
    not trade. Probability, slope and loss are NaN if a ratio is undefined somewhere.

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
    moments = _Moments(sums, squares, length * blocks // 2, middle, idle)
    # Some combinations at a time: all of them times all trials could fill the memory.
    parts = -(-len(chosen) * trials.shape[1] // _AT_ONCE)
    halves = [moments.compared(part) for part in np.array_split(chosen, max(parts, 1))]
    logits, inside, outside, means = (np.concatenate(each) for each in zip(*halves, strict=True))
    return _verdict(logits, inside, outside, means)


def _check(trials: Floats, blocks: int) -> None:
    if trials.ndim != 2 or trials.shape[1] < 2:
        raise InvalidInputError(f"trials: need (n, k) with k of at least 2, got {trials.shape}")
    if blocks < 2 or blocks % 2 or len(trials) // blocks < 2:
        raise InvalidInputError(
            f"blocks: must be even and leave two of the {len(trials)} bars to each, got {blocks}"
        )
    if math.comb(blocks, blocks // 2) > COMBINATIONS_MAX:
        raise InvalidInputError(f"blocks: {blocks} give more than {COMBINATIONS_MAX} combinations")


@dataclass(frozen=True, slots=True)
class _Moments:
    """Per block and trial (b, k) the sums and sums of squares about `middle` (k,); `n` bars make a
    half."""

    sums: Floats
    squares: Floats
    n: int
    middle: Floats
    idle: float

    def compared(self, chosen: np.ndarray) -> tuple[Floats, Floats, Floats, Floats]:
        """Return of each half (c, b/2) the logit of the best inside (NaN: undefined), its ratio
        inside, its ratio and its mean outside."""
        inside = np.zeros((len(chosen), len(self.sums)))
        np.put_along_axis(inside, chosen, 1.0, axis=1)
        _, ratios_in = self._ratios(inside)
        means_out, ratios_out = self._ratios(1.0 - inside)
        rows = np.arange(len(chosen))
        defined = np.isfinite(ratios_in).all(axis=1) & np.isfinite(ratios_out).all(axis=1)
        best = np.argmax(np.where(np.isfinite(ratios_in), ratios_in, -np.inf), axis=1)
        of_best = ratios_out[rows, best]
        with np.errstate(all="ignore"):
            below = (ratios_out < of_best[:, None]).sum(axis=1)
            equal = (ratios_out == of_best[:, None]).sum(axis=1)
            rank = (below + (equal + 1) / 2.0) / (ratios_out.shape[1] + 1.0)
            logits = np.where(defined, np.log(rank / (1.0 - rank)), np.nan)
        return logits, ratios_in[rows, best], of_best, means_out[rows, best]

    def _ratios(self, halves: Floats) -> tuple[Floats, Floats]:
        sums, squares = halves @ self.sums, halves @ self.squares
        with np.errstate(all="ignore"):
            variance = (squares - sums**2 / self.n) / (self.n - 1)
            means = sums / self.n + self.middle
            level = np.sqrt(squares / self.n + self.middle**2)
            still = variance <= 1e-14 * level**2
            ratios = np.where(still, np.nan, means / np.sqrt(variance))
        return means, np.where(still & (np.abs(means) <= 1e-12 * level), self.idle, ratios)


def _verdict(logits: Floats, inside: Floats, outside: Floats, means: Floats) -> Overfitting:
    if np.isnan(logits).any():
        return Overfitting(math.nan, logits, inside, outside, math.nan, math.nan)
    spread = float(np.var(inside))
    slope = float(np.cov(inside, outside, ddof=0)[0, 1]) / spread if spread > 0 else math.nan
    return Overfitting(
        probability=float(np.mean(logits <= 0.0)),
        logits=logits,
        in_sample=inside,
        out_sample=outside,
        slope=slope,
        loss=float(np.mean(means < 0.0)),
    )
