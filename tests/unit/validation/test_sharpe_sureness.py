"""Probabilistic and deflated Sharpe ratio: the papers' numbers, ffn and skfolio on real prices."""

from __future__ import annotations

import math

import ffn
import numpy as np
import pytest
from skfolio.datasets import load_sp500_dataset
from skfolio.measures import deflated_sharpe_ratio as skfolio_deflated
from skfolio.measures import probabilistic_sharpe_ratio as skfolio_probabilistic

from libs.common.quant.metrics.ratios import sharpe
from libs.common.quant.validation import (
    deflated_sharpe,
    expected_best_sharpe,
    probabilistic_sharpe,
    track_record_length,
)
from libs.common.quant.validation.sharpe import shape_of


def test_numbers_of_the_sharpe_ratio_efficient_frontier() -> None:
    # Bailey & López de Prado (2012): 24 months at 0.458, first as if normal, then as it was.
    assert probabilistic_sharpe(0.458, 24) == pytest.approx(0.982, abs=5e-4)
    skewed = probabilistic_sharpe(0.458, 24, skew=-2.448, kurtosis=10.164)
    assert skewed == pytest.approx(0.913, abs=5e-4)


@pytest.mark.parametrize(("periods", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_track_record_lengths_of_the_paper(periods: int, years: float) -> None:
    # Sharpe 2 a year to be told from 1 with 95 %.
    root = math.sqrt(periods)
    n = track_record_length(2 / root, threshold=1 / root)
    assert n / periods == pytest.approx(years, abs=5e-3)


def test_track_record_length_of_the_paper_with_skew_and_fat_tails() -> None:
    root = math.sqrt(12)
    n = track_record_length(2 / root, threshold=1 / root, skew=-0.72, kurtosis=5.78)
    assert n / 12 == pytest.approx(4.99, abs=5e-3)


def test_numbers_of_the_deflated_sharpe_ratio() -> None:
    # Bailey & López de Prado (2014): 2.5 a year over 1 250 days (250 a year), 100 trials whose
    # yearly ratios have variance 1/2, skew -3, kurtosis 10.
    deviation = math.sqrt(0.5 / 250)
    ratio = 2.5 / math.sqrt(250)
    hurdle = expected_best_sharpe(100, deviation)
    assert hurdle == pytest.approx(0.1132, abs=5e-5)
    chance = probabilistic_sharpe(ratio, 1250, skew=-3, kurtosis=10, threshold=hurdle)
    assert chance == pytest.approx(0.9004, abs=5e-5)
    # 46 trials would have left 95 %; with normal returns 88.
    hurdle = expected_best_sharpe(46, deviation)
    chance = probabilistic_sharpe(ratio, 1250, skew=-3, kurtosis=10, threshold=hurdle)
    assert chance == pytest.approx(0.9505, abs=5e-5)
    hurdle = expected_best_sharpe(88, deviation)
    assert probabilistic_sharpe(ratio, 1250, threshold=hurdle) == pytest.approx(0.9505, abs=5e-5)


def test_real_prices_beside_ffn_and_skfolio() -> None:
    returns = load_sp500_dataset().pct_change().dropna()
    ratios = np.array([sharpe(returns[s].to_numpy(), periods=1.0) for s in returns])
    best = returns.iloc[:, int(np.argmax(ratios))]
    ours = deflated_sharpe(best.to_numpy(), ratios)
    theirs = ffn.core.calc_deflated_sharpe_ratio(
        best, ratios, nperiods=252, annualized_trials=False
    )
    assert ours == pytest.approx(theirs, rel=1e-9)
    # skfolio takes moments without the correction for small samples: 8 312 days agree to 1e-4.
    assert ours == pytest.approx(skfolio_deflated(best.to_numpy(), ratios), abs=1e-4)
    ratio, skew, kurtosis = shape_of(best.to_numpy())
    chance = probabilistic_sharpe(ratio, len(best), skew=skew, kurtosis=kurtosis, threshold=0.02)
    assert chance == pytest.approx(skfolio_probabilistic(best.to_numpy(), 0.02), abs=1e-4)


def test_the_expected_best_of_chance_is_what_chance_gives() -> None:
    generator = np.random.default_rng(7)
    best = generator.standard_normal((20_000, 50)).max(axis=1).mean()
    assert expected_best_sharpe(50, 1.0) == pytest.approx(best, rel=0.02)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_what_is_undefined_is_nan() -> None:
    assert math.isnan(probabilistic_sharpe(0.1, 1))
    assert math.isnan(probabilistic_sharpe(math.nan, 100))
    assert math.isnan(probabilistic_sharpe(3.0, 100, skew=5.0))
    assert math.isnan(track_record_length(0.1, threshold=0.1))
    assert math.isnan(expected_best_sharpe(0, 1.0))
    assert math.isnan(deflated_sharpe(np.full(30, 0.01), np.array([0.1, 0.2])))
    assert math.isnan(deflated_sharpe(np.array([0.01, -0.02, 0.03]), np.array([0.1, 0.2])))
    assert expected_best_sharpe(1, 1.0) == 0.0
