"""Better than the benchmark, or only different? By resampling both together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics.measure import Floats
from libs.common.quant.metrics.ratios import sharpe
from libs.common.quant.validation.bootstrap import default_block, stationary_indices

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Comparison:
    """Difference of two Sharpe ratios (one period), its resampled interval, and the chance that it
    is not above 0."""

    difference: float
    low: float
    high: float
    p_value: float


def sharpe_difference(
    returns: Floats,
    benchmark: Floats,
    paths: int,
    generator: np.random.Generator,
    *,
    block: float | None = None,
    confidence: float = 0.95,
) -> Comparison:
    """Return how much better the Sharpe ratio is than the benchmark's, and how sure that is.

    Both are resampled by the same blocks, so that what moves them together cancels. The interval
    is the bootstrap's own (percentile); the p-value, one-sided, counts how often chance around a
    difference of 0 gives as much: (1 + count) / (1 + paths). NaN where a ratio is undefined. Raises
    InvalidInputError for lengths that differ or fewer than two returns.

    Source: O. Ledoit, M. Wolf, Robust Performance Hypothesis Testing with the Sharpe Ratio, Journal
    of Empirical Finance 15 (2008), section 3, with the stationary bootstrap and without
    studentising.
    """
    ours, theirs = np.asarray(returns, np.float64), np.asarray(benchmark, np.float64)
    if len(ours) != len(theirs) or len(ours) < 2:
        raise InvalidInputError(f"comparison: {len(ours)} returns beside {len(theirs)}, at least 2")
    length = default_block(len(ours)) if block is None else block
    observed = sharpe(ours, periods=1.0) - sharpe(theirs, periods=1.0)
    parts = []
    for begin in range(0, paths, _CHUNK):
        at = stationary_indices(len(ours), min(_CHUNK, paths - begin), length, generator)
        with np.errstate(all="ignore"):
            parts.append(_ratios(ours[at]) - _ratios(theirs[at]))
    drawn = np.concatenate(parts)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    as_much = int(np.count_nonzero(drawn - observed >= observed))
    p_value = (1 + as_much) / (1 + paths) if np.isfinite(observed) else float("nan")
    return Comparison(observed, float(low), float(high), p_value)


def _ratios(rows: Floats) -> Floats:
    ratios: Floats = rows.mean(axis=1) / rows.std(axis=1, ddof=1)
    return ratios
