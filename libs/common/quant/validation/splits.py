"""Which bars may teach and which may judge: splits in time that do not leak.

A test block must not know the training bars by overlap. A label, a holding period or a look-back
that reaches `horizon` bars ahead makes the bars before a test block know it: they are purged. Bars
right after it still carry it by serial correlation: an embargo drops them too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from libs.common.kernel.errors import InvalidInputError

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of training and test bars, each increasing; they have none in common."""

    train: Indices
    test: Indices


@dataclass(frozen=True, slots=True)
class Combination:
    """One choice of test groups. `tests` are their bars, group by group; `paths` says to which
    backtest path each belongs."""

    train: Indices
    tests: tuple[Indices, ...]
    groups: tuple[int, ...]
    paths: tuple[int, ...]


def _blocks(n: int, folds: int) -> list[Indices]:
    if not 2 <= folds <= n:
        raise InvalidInputError(f"folds: must be between 2 and the {n} bars, got {folds}")
    return np.array_split(np.arange(n, dtype=np.int64), folds)


def _not_negative(**values: int) -> None:
    for name, value in values.items():
        if value < 0:
            raise InvalidInputError(f"{name}: must not be negative, got {value}")


def _train_beside(n: int, tests: tuple[Indices, ...], horizon: int, embargo: int) -> Indices:
    free = np.ones(n, np.bool_)
    for block in tests:
        first, last = int(block[0]), int(block[-1])
        free[max(first - horizon, 0) : last + 1 + horizon + embargo] = False
    return np.flatnonzero(free).astype(np.int64)


def purged_folds(n: int, folds: int, horizon: int = 0, embargo: int = 0) -> Iterator[Split]:
    """Yield `folds` splits: each block of bars in turn judges, the others teach.

    The `horizon` bars before a test block are purged, and the `horizon + embargo` after it.
    Raises InvalidInputError unless 2 <= folds <= n and nothing is negative.

    Source: M. López de Prado, Advances in Financial Machine Learning (2018), section 7.4, with one
    horizon for all labels.
    Peer: skfolio's CombinatorialPurgedCV; sklearn's KFold where nothing is purged.
    """
    _not_negative(horizon=horizon, embargo=embargo)
    for block in _blocks(n, folds):
        yield Split(_train_beside(n, (block,), horizon, embargo), block)


def combinatorial_paths(groups: int, chosen: int) -> int:
    """Return how many whole backtest paths come of testing `chosen` of `groups` at a time.

    chosen / groups x binomial(groups, chosen): 6 groups by 2 give 5 paths of 15 splits.

    Source: López de Prado (2018), section 12.4.1.
    """
    return math.comb(groups, chosen) * chosen // groups


def combinatorial_folds(
    n: int, groups: int, chosen: int, horizon: int = 0, embargo: int = 0
) -> Iterator[Combination]:
    """Yield one combination for each way to choose `chosen` test groups of `groups`.

    Each group is tested in `combinatorial_paths` combinations; put together by `paths` these are
    that many histories out of sample of all n bars. Purging and embargo as in `purged_folds`.
    Raises InvalidInputError unless 1 <= chosen < groups <= n.

    Source: López de Prado (2018), section 12.4.
    Peer: skfolio's CombinatorialPurgedCV.
    """
    _not_negative(horizon=horizon, embargo=embargo)
    if not 1 <= chosen < groups:
        raise InvalidInputError(f"chosen: must be between 1 and {groups - 1}, got {chosen}")
    blocks = _blocks(n, groups)
    seen = [0] * groups
    for picked in itertools.combinations(range(groups), chosen):
        tests = tuple(blocks[g] for g in picked)
        paths = tuple(seen[g] for g in picked)
        for g in picked:
            seen[g] += 1
        yield Combination(_train_beside(n, tests, horizon, embargo), tests, picked, paths)


def walk_forward(
    n: int, train: int, test: int, *, anchored: bool = False, purge: int = 0, embargo: int = 0
) -> Iterator[Split]:
    """Yield splits that go forward in time: `train` bars teach, the next `test` judge, and on.

    Rolling: the training window keeps its length. Anchored: it begins at bar 0 and grows. Between
    training and test lie `purge + embargo` bars that serve neither (here both do the same: nothing
    that teaches comes after a test). Tests follow each other without gap or overlap; a rest
    shorter than `test` at the end is not tested. Raises InvalidInputError where no test fits.

    Source: Pardo, The Evaluation and Optimization of Trading Strategies, 2nd ed. (2008), ch. 11.
    Peer: skfolio's WalkForward.
    """
    _not_negative(purge=purge, embargo=embargo)
    gap = purge + embargo
    if train < 1 or test < 1 or train + gap + test > n:
        raise InvalidInputError(
            f"walk-forward: {train} training bars, a gap of {gap} and {test} test bars"
            f" do not fit into {n} bars"
        )
    for first in range(train + gap, n - test + 1, test):
        begin = 0 if anchored else first - gap - train
        yield Split(
            np.arange(begin, first - gap, dtype=np.int64),
            np.arange(first, first + test, dtype=np.int64),
        )
