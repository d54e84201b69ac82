"""Splits in time: nothing leaks, every bar is judged, skfolio and sklearn agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skfolio.model_selection import CombinatorialPurgedCV, WalkForward
from sklearn.model_selection import KFold

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.validation import (
    combinatorial_folds,
    combinatorial_paths,
    purged_folds,
    walk_forward,
)


def test_folds_without_purging_are_those_of_sklearn() -> None:
    for ours, (train, test) in zip(
        purged_folds(103, 5), KFold(5).split(np.zeros(103)), strict=True
    ):
        assert ours.train.tolist() == train.tolist()
        assert ours.test.tolist() == test.tolist()


def test_a_worked_purge_and_embargo() -> None:
    middle = list(purged_folds(20, 4, horizon=2, embargo=1))[1]
    assert middle.test.tolist() == [5, 6, 7, 8, 9]
    # 3 and 4 look into the test, the test looks into 10 and 11, 12 is embargoed.
    assert middle.train.tolist() == [0, 1, 2, 13, 14, 15, 16, 17, 18, 19]


@pytest.mark.parametrize(("groups", "chosen"), [(6, 2), (5, 3), (10, 8)])
def test_combinations_and_paths_equal_those_of_skfolio(groups: int, chosen: int) -> None:
    n = groups * 12
    theirs = CombinatorialPurgedCV(groups, chosen, purged_size=3, embargo_size=2)
    ids = theirs.get_path_ids()
    ours = list(combinatorial_folds(n, groups, chosen, horizon=3, embargo=2))
    assert combinatorial_paths(groups, chosen) == theirs.n_test_paths
    assert len(ours) == theirs.n_splits
    for i, (mine, (train, tests)) in enumerate(
        zip(ours, theirs.split(np.zeros((n, 1))), strict=True)
    ):
        assert mine.train.tolist() == train.tolist()
        assert [block.tolist() for block in mine.tests] == [t.tolist() for t in tests]
        assert list(mine.paths) == ids[i].tolist()


def test_the_books_example_has_five_paths_of_fifteen_splits() -> None:
    assert combinatorial_paths(6, 2) == 5
    assert len(list(combinatorial_folds(60, 6, 2))) == 15


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("purge", [0, 4])
def test_walk_forward_equals_skfolio(anchored: bool, purge: int) -> None:
    theirs = WalkForward(test_size=7, train_size=30, expand_train=anchored, purged_size=purge)
    ours = walk_forward(101, 30, 7, anchored=anchored, purge=purge)
    for mine, (train, test) in zip(ours, theirs.split(np.zeros((101, 1))), strict=True):
        assert mine.train.tolist() == train.tolist()
        assert mine.test.tolist() == test.tolist()


@given(
    n=st.integers(12, 80),
    groups=st.integers(2, 6),
    data=st.data(),
    horizon=st.integers(0, 4),
    embargo=st.integers(0, 4),
)
def test_every_path_covers_every_bar_once_and_no_training_bar_sees_a_test(
    n: int, groups: int, data: st.DataObject, horizon: int, embargo: int
) -> None:
    chosen = data.draw(st.integers(1, groups - 1))
    tested = np.zeros((combinatorial_paths(groups, chosen), n), int)
    for one in combinatorial_folds(n, groups, chosen, horizon, embargo):
        for block, path in zip(one.tests, one.paths, strict=True):
            tested[path, block] += 1
        for t in one.train:
            for block in one.tests:
                assert t + horizon < block[0] or t > block[-1] + horizon + embargo
    assert (tested == 1).all()


@given(
    n=st.integers(2, 120),
    train=st.integers(1, 40),
    test=st.integers(1, 20),
    gap=st.integers(0, 9),
    anchored=st.booleans(),
)
def test_walk_forward_never_learns_from_what_comes_after(
    n: int, train: int, test: int, gap: int, anchored: bool
) -> None:
    if train + gap + test > n:
        with pytest.raises(InvalidInputError, match="do not fit"):
            list(walk_forward(n, train, test, anchored=anchored, purge=gap))
        return
    last = train + gap
    for split in walk_forward(n, train, test, anchored=anchored, purge=gap):
        assert split.train[-1] == split.test[0] - gap - 1
        assert split.test[0] == last
        assert len(split.test) == test
        assert len(split.train) == train or (anchored and split.train[0] == 0)
        last = int(split.test[-1]) + 1
    assert n - last < test


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: list(purged_folds(10, 1)), "folds: must be between 2 and the 10 bars"),
        (lambda: list(purged_folds(10, 2, horizon=-1)), "horizon: must not be negative"),
        (lambda: list(combinatorial_folds(10, 4, 4)), "chosen: must be between 1 and 3"),
        (lambda: list(walk_forward(10, 5, 2, embargo=-2)), "embargo: must not be negative"),
    ],
)
def test_bad_numbers_are_named(call: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call()  # type: ignore[operator]
