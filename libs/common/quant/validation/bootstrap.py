"""Histories that might have been: stationary block bootstrap of a series."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics.measure import Floats


def stationary_indices(
    n: int, paths: int, block: float, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return indices (paths, n) into a series of n: blocks of random place and length, joined.

    A block begins anywhere with equal chance, has a geometric length of mean `block`, and runs on
    from the end of the series to its beginning. `block` 1 is the plain bootstrap. Raises
    InvalidInputError unless n >= 1, paths >= 1 and block >= 1.

    Source: D. N. Politis, J. P. Romano, The Stationary Bootstrap, Journal of the American
    Statistical Association 89 (1994), section 2.
    """
    if n < 1 or paths < 1 or not block >= 1.0:
        raise InvalidInputError(
            f"bootstrap: need n, paths and block of at least 1, got {n}, {paths}, {block}"
        )
    begins = generator.random((paths, n)) < 1.0 / block
    begins[:, 0] = True
    starts = generator.integers(0, n, (paths, n))
    at = np.arange(n)
    # The place at which the block of each point began.
    since = np.maximum.accumulate(np.where(begins, at, 0), axis=1)
    first = np.take_along_axis(starts, since, axis=1)
    return (first + at - since) % n


def default_block(n: int) -> float:
    """Return the mean block length n^(1/3), at least 1, for want of a better one.

    The order at which the bootstrap's error is least; the constant before it depends on the
    series.

    Source: Politis and Romano (1994); H. R. Künsch, The Jackknife and the Bootstrap for General
    Stationary Observations, Annals of Statistics 17 (1989).
    """
    return float(max(1, round(math.pow(n, 1.0 / 3.0))))


def bootstrap_paths(
    returns: Floats,
    paths: int,
    generator: np.random.Generator,
    block: float | None = None,
    chunk: int = 256,
) -> Iterator[Floats]:
    """Yield resampled returns in chunks of shape (at most `chunk`, n), `paths` in all.

    In chunks, so that memory does not grow with the number of paths.
    """
    returns = np.asarray(returns, np.float64)
    length = default_block(len(returns)) if block is None else block
    for begin in range(0, paths, chunk):
        count = min(chunk, paths - begin)
        yield returns[stationary_indices(len(returns), count, length, generator)]


def bootstrap_statistic(
    returns: Floats,
    statistic: Callable[[Floats], Floats],
    paths: int,
    generator: np.random.Generator,
    block: float | None = None,
) -> Floats:
    """Return `statistic` of each resampled path, shape (paths,).

    `statistic` takes (m, n) returns and gives (m,).
    """
    parts = [statistic(part) for part in bootstrap_paths(returns, paths, generator, block)]
    return np.concatenate(parts)
