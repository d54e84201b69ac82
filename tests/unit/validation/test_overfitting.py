"""Probability of backtest overfitting: ffn beside it, and the two ends of the scale."""

from __future__ import annotations

import math

import ffn
import numpy as np
import pandas as pd
import pytest
from skfolio.datasets import load_sp500_dataset

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.validation import overfitting


@pytest.mark.parametrize("blocks", [2, 6, 10])
def test_real_prices_beside_ffn(blocks: int) -> None:
    trials = load_sp500_dataset().pct_change().dropna().iloc[-1503:]
    theirs = ffn.core.calc_prob_backtest_overfitting(trials, blocks, full_output=True)
    ours = overfitting(trials.to_numpy(), blocks)
    assert ours.probability == theirs["pbo"]
    np.testing.assert_allclose(ours.logits, theirs["logits"].to_numpy(), atol=1e-12)
    assert len(ours.logits) == math.comb(blocks, blocks // 2)


def test_ties_share_a_rank_as_in_ffn() -> None:
    trials = load_sp500_dataset().pct_change().dropna().iloc[-300:, [0, 1, 1, 2, 2, 2]]
    trials.columns = range(6)
    theirs = ffn.core.calc_prob_backtest_overfitting(pd.DataFrame(trials), 6, full_output=True)
    np.testing.assert_allclose(
        overfitting(trials.to_numpy(), 6).logits, theirs["logits"].to_numpy(), atol=1e-12
    )


def test_a_strategy_that_is_better_everywhere_is_not_overfitted() -> None:
    generator = np.random.default_rng(1)
    trials = generator.normal(0.0, 0.01, (1600, 20))
    trials[:, 7] += 0.01
    found = overfitting(trials)
    assert found.probability == 0.0
    assert found.loss == 0.0


def test_the_best_of_chance_is_no_better_than_the_rest() -> None:
    generator = np.random.default_rng(2)
    chance = [overfitting(generator.normal(0.0, 0.01, (320, 30)), 8).probability for _ in range(60)]
    assert np.mean(chance) == pytest.approx(0.5, abs=0.07)


def test_chance_whose_trials_must_add_up_to_the_same_degrades() -> None:
    # Demeaned over the whole sample: what is good in one half is bad in the other.
    trials = np.random.default_rng(3).normal(0.0, 0.01, (640, 20))
    found = overfitting(trials - trials.mean(axis=0), 8)
    assert found.probability > 0.9
    assert found.slope < -0.5
    assert found.loss == 1.0


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_trial_that_never_traded_makes_it_undefined() -> None:
    trials = np.random.default_rng(4).normal(0.0, 0.01, (100, 3))
    trials[:, 1] = 0.0
    assert math.isnan(overfitting(trials, 4).probability)
    trials[5, 1] = np.nan
    assert math.isnan(overfitting(trials, 4).probability)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_trial_that_never_traded_may_count_as_neither_good_nor_bad() -> None:
    trials = np.random.default_rng(4).normal(0.0, 0.01, (100, 3))
    trials[:, 1] = 0.0
    trials[:50, 2] = 0.0  # this one only in the first half
    found = overfitting(trials, 2, idle=0.0)
    ratios = trials[:50, 0].mean() / trials[:50, 0].std(ddof=1)
    assert found.in_sample[0] == pytest.approx(max(ratios, 0.0), rel=1e-9)
    assert 0.0 <= found.probability <= 1.0
    trials[:, 1] = 0.001  # what rises without a risk has no ratio
    assert math.isnan(overfitting(trials, 4, idle=0.0).probability)


def test_many_trials_are_compared_some_combinations_at_a_time() -> None:
    trials = np.random.default_rng(5).normal(0.0, 0.01, (240, 6000))
    found = overfitting(trials, 12)  # 924 combinations x 6000: more than are held at once
    best = np.argmax(_ratios(trials[:120]))
    assert found.in_sample[0] == pytest.approx(_ratios(trials[:120])[best], rel=1e-9)
    assert found.out_sample[0] == pytest.approx(_ratios(trials[120:])[best], rel=1e-9)


def _ratios(part: np.ndarray) -> np.ndarray:
    return np.asarray(part.mean(axis=0) / part.std(axis=0, ddof=1))


def test_bad_shapes_are_named() -> None:
    with pytest.raises(InvalidInputError, match="k of at least 2"):
        overfitting(np.zeros((100, 1)))
    with pytest.raises(InvalidInputError, match="must be even"):
        overfitting(np.zeros((100, 3)), 5)
    with pytest.raises(InvalidInputError, match="combinations"):
        overfitting(np.zeros((1000, 3)), 22)
