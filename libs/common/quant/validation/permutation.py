"""Could the entry rule have been this good by chance? Permutation tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics.measure import Floats
from libs.common.quant.simulation.records import BAR


@dataclass(frozen=True, slots=True)
class Significance:
    """`score` of the rule, `permuted` (m,) of chance, and the share `p_value` of chance that did
    as well, the rule itself counted in: (1 + as good) / (1 + m)."""

    score: float
    permuted: Floats
    p_value: float


def _significance(score: float, permuted: Floats, rounding: float = 0.0) -> Significance:
    as_good = int(np.count_nonzero(permuted >= score - rounding))
    return Significance(score, permuted, (1 + as_good) / (1 + len(permuted)))


def timing_significance(
    positions: Floats, returns: Floats, permutations: int, generator: np.random.Generator
) -> Significance:
    """Return how significant it is that these positions met these returns.

    `positions` (n,) held over the bars whose `returns` (n,) are given, both known to be aligned.
    The returns are detrended, so that a rule which is long in a rising market earns nothing by
    that, and rotated against the positions by a random number of bars: both keep their serial
    dependence, their pairing goes. The score is the mean product. A rule without timing has a
    uniform p-value. Raises InvalidInputError unless both have the same length of at least 3 and
    no NaN.

    Source: D. R. Aronson, Evidence-Based Technical Analysis (2007), ch. 5-6 (Monte Carlo
    permutation after T. Masters, detrending); rotation instead of shuffling, because positions
    of successive bars are not independent.
    """
    held, moved = np.asarray(positions, np.float64), np.asarray(returns, np.float64)
    if len(held) != len(moved) or len(held) < 3:
        raise InvalidInputError(f"positions: {len(held)} for {len(moved)} returns, at least 3")
    if not (np.isfinite(held).all() and np.isfinite(moved).all()) or permutations < 1:
        raise InvalidInputError("positions and returns must be finite, permutations at least 1")
    moved = moved - moved.mean()
    # All rotations at once: a circular cross-correlation.
    spectrum = np.fft.rfft(moved) * np.conj(np.fft.rfft(held))
    scores = np.fft.irfft(spectrum, len(held)) / len(held)
    drawn = generator.integers(1, len(held), permutations)
    rounding = 1e-12 * float(np.abs(held).max() * np.abs(moved).max())
    return _significance(float(np.mean(held * moved)), scores[drawn], rounding)


def permuted_bars(bars: np.ndarray, generator: np.random.Generator, keep: int = 0) -> np.ndarray:
    """Return bars (shape (n,), BAR) of a market that has the same moves in another order.

    Each bar's high, low and close relative to its open travel together with its volume; the gaps
    from a close to the next open are shuffled apart from them. First and last close stay, and with
    them trend and volatility; what a rule could have seen coming is gone. The first `keep + 1` bars
    stay as they are, times stay all. Raises InvalidInputError for a price not above 0.

    Source: T. Masters, Testing and Tuning Market Trading Systems (2018), ch. 7, "permuting price
    bars".
    """
    bars = np.ascontiguousarray(bars, BAR)
    if any(not (bars[name] > 0.0).all() for name in ("open", "high", "low", "close")):
        raise InvalidInputError("permuted bars: every price must be above 0")
    first = max(keep, 0) + 1
    if first + 1 >= len(bars):
        return bars.copy()
    logs = {name: np.log(bars[name]) for name in ("open", "high", "low", "close")}
    gaps = (logs["open"][first:] - logs["close"][first - 1 : -1])[
        generator.permutation(len(bars) - first)
    ]
    order = generator.permutation(len(bars) - first)
    inner = {
        name: (logs[name][first:] - logs["open"][first:])[order]
        for name in ("high", "low", "close")
    }
    moves = gaps + inner["close"]
    closes = logs["close"][first - 1] + np.cumsum(moves)
    opens = closes - inner["close"]
    changed = bars.copy()
    changed["open"][first:] = np.exp(opens)
    for name, offset in inner.items():
        changed[name][first:] = np.exp(opens + offset)
    changed["volume"][first:] = bars["volume"][first:][order]
    return changed


def rule_significance(
    bars: np.ndarray,
    score: Callable[[np.ndarray], float],
    permutations: int,
    generator: np.random.Generator,
    keep: int = 0,
) -> Significance:
    """Return how significant `score(bars)` is among the scores of permuted markets.

    `score` runs the whole rule, and its optimisation where there was one, on the bars it is given.
    Slow where it is: it runs `permutations` + 1 times. `keep` bars of warm-up are not permuted.

    Source: Masters (2018), ch. 7.
    """
    if permutations < 1:
        raise InvalidInputError(f"permutations: must be at least 1, got {permutations}")
    own = score(bars)
    scores = [score(permuted_bars(bars, generator, keep)) for _ in range(permutations)]
    return _significance(own, np.array(scores, np.float64))
