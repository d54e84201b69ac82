"""Regimes against hmmlearn and plain Python."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hmmlearn.hmm import GaussianHMM

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.regime_fit import TwoStates, fit_two_states
from tests.support.indicator_cases import CASES, assert_close, over, sp500, sp500_symbols


def market() -> np.ndarray:
    """Return daily log returns of the sample's twenty stocks held in equal parts."""
    closes = np.stack([sp500(symbol)["close"] for symbol in sp500_symbols()])
    return np.diff(np.log(closes), axis=1).mean(axis=0)


def peer(states: TwoStates, **options: object) -> GaussianHMM:
    """Return hmmlearn's model with our parameters, its priors off."""
    model = GaussianHMM(2, covariance_type="diag", covars_prior=0.0, min_covar=0.0, **options)
    leave = np.array([1 - states.wild_stay, 1 - states.calm_stay])
    model.startprob_ = leave / leave.sum()
    model.transmat_ = np.array(
        [
            [states.calm_stay, 1 - states.calm_stay],
            [1 - states.wild_stay, states.wild_stay],
        ]
    )
    model.means_ = np.array([[states.calm_mean], [states.wild_mean]])
    model.covars_ = np.array([[states.calm_deviation**2], [states.wild_deviation**2]])
    return model


PARAMS = CASES["markov_regime"].params


def test_filter_equals_hmmlearn_on_each_prefix() -> None:
    returns = market()[4500:4900]  # through the autumn of 2008
    model = peer(TwoStates(*PARAMS.values(), log_likelihood=0.0, rounds=0))
    theirs = [model.predict_proba(returns[: n + 1, np.newaxis])[-1, 1] for n in range(len(returns))]
    ours = over(CASES["markov_regime"], {"change": returns})[:, 0]
    assert_close(ours, np.array(theirs))
    assert ours.min() < 0.1 < 0.9 < ours.max()


def test_filter_survives_values_beyond_all_densities() -> None:
    values = np.array([0.0, 1e6, 0.0, -1e6, 0.0])
    ours = over(CASES["markov_regime"], {"change": values})[:, 0]
    assert np.isfinite(ours).all()
    assert ours[1] == ours[3] == 1.0


def test_fit_equals_hmmlearn_round_by_round() -> None:
    returns = market()[:2500]
    ours = fit_two_states(returns, rounds_max=20, tolerance=-np.inf)
    spread = returns.std()
    begin = TwoStates(
        *(returns.mean(), spread / 2, returns.mean(), spread * 2, 0.95, 0.95),
        log_likelihood=0.0,
        rounds=0,
    )
    model = peer(begin, n_iter=20, tol=-np.inf, init_params="")
    model.fit(returns[:, np.newaxis])
    assert ours.rounds == 20
    assert model.monitor_.history[-1] == pytest.approx(ours.log_likelihood, rel=1e-12)
    assert model.means_[:, 0] == pytest.approx([ours.calm_mean, ours.wild_mean], abs=1e-12)
    deviations = np.sqrt(model.covars_[:, 0, 0])
    assert deviations == pytest.approx([ours.calm_deviation, ours.wild_deviation], rel=1e-9)
    assert np.diag(model.transmat_) == pytest.approx([ours.calm_stay, ours.wild_stay], rel=1e-9)


def test_fit_finds_calm_and_wild_years() -> None:
    found = fit_two_states(market())
    assert found.rounds < 1000
    assert found.wild_deviation > 2 * found.calm_deviation
    assert min(found.calm_stay, found.wild_stay) > 0.9


@pytest.mark.parametrize(
    "returns", [np.zeros(100), np.ones(10), np.array([np.nan] * 60), np.zeros((60, 2))]
)
def test_fit_refuses_what_cannot_be_fitted(returns: np.ndarray) -> None:
    with pytest.raises(InvalidInputError):
        fit_two_states(returns)


def test_volatility_regime_equals_plain_python() -> None:
    close = sp500("GE")["close"]
    returns = pd.Series(np.log(close)).diff()
    ratio = (returns.rolling(10).std() / returns.rolling(60).std()).to_numpy()
    ours = over(CASES["volatility_regime"], {"close": close})
    assert_close(ours[:, 1], ratio, 1e-7)
    turbulent, wanted = 0.0, []
    for value in ratio[60:]:
        turbulent = 1.0 if value > 1.5 else 0.0 if value < 1.1 else turbulent
        wanted.append(turbulent)
    assert ours[60:, 0].tolist() == wanted
    assert 0.05 < ours[60:, 0].mean() < 0.5
