"""Indicators that no peer library has, against pandas, statsmodels and their formulas in full."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.tsa.statespace.kalman_filter import KalmanFilter

from tests.support.indicator_cases import CASES, Bars, assert_close, over, sp500

SYMBOLS = ("AAPL", "GE", "RRC", "XOM")


def windows(values: np.ndarray, window: int) -> np.ndarray:
    """Every window of `values`, shape (n - window + 1, window)."""
    return np.lib.stride_tricks.sliding_window_view(values, window)


def log(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.log(a / b)


def realised(b: Bars) -> np.ndarray:
    returns = np.diff(np.log(b["close"]))
    return np.sqrt(windows(returns, 20).var(axis=1, ddof=1) * 252)


def parkinson(b: Bars) -> np.ndarray:
    squares = log(b["high"], b["low"]) ** 2
    return np.sqrt(windows(squares, 20).mean(axis=1) / (4 * math.log(2)) * 252)


def garman_klass(b: Bars) -> np.ndarray:
    terms = log(b["high"], b["low"]) ** 2 / 2
    terms -= (2 * math.log(2) - 1) * log(b["close"], b["open"]) ** 2
    return np.sqrt(windows(terms, 20).mean(axis=1).clip(0) * 252)


def yang_zhang(b: Bars) -> np.ndarray:
    o, h, low, c = (b[name][1:] for name in ("open", "high", "low", "close"))
    nights = windows(log(o, b["close"][:-1]), 20).var(axis=1, ddof=1)
    days = windows(log(c, o), 20).var(axis=1, ddof=1)
    ranges = windows(log(h, c) * log(h, o) + log(low, c) * log(low, o), 20).mean(axis=1)
    k = 0.34 / (1.34 + 21 / 19)
    return np.sqrt((nights + k * days + (1 - k) * ranges) * 252)


def hurst(b: Bars) -> np.ndarray:
    lags = (1, 2, 4, 8, 16)
    found = []
    for window in windows(np.log(b["close"]), 60):
        means = [np.mean((window[lag:] - window[:-lag]) ** 2) for lag in lags]
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(np.polyfit(np.log(lags), np.log(means), 1)[0] / 2)
    return np.array(found)


FORMULAS: dict[str, Callable[[Bars], np.ndarray]] = {
    "realised_volatility": realised,
    "parkinson": parkinson,
    "garman_klass": garman_klass,
    "yang_zhang": yang_zhang,
    "hurst": hurst,
}


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("name", FORMULAS)
def test_equals_its_formula_over_each_window(name: str, symbol: str) -> None:
    bars = {column: values[:3000] for column, values in sp500(symbol).items()}
    if name == "yang_zhang":
        # Bars whose nights are no copy of their days.
        bars["open"] = np.sqrt(bars["high"] * bars["low"])
    ours = over(CASES[name], bars)[:, 0]
    theirs = FORMULAS[name](bars)
    assert np.isnan(ours[: -len(theirs)]).all()
    ours = ours[-len(theirs) :]
    defined = ~np.isnan(ours)
    assert defined.mean() > 0.99
    assert_close(ours[defined], theirs[defined])


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_zscore_equals_pandas(symbol: str) -> None:
    close = pd.Series(sp500(symbol)["close"])
    rolling = close.rolling(20)
    theirs = ((close - rolling.mean()) / rolling.std(ddof=0)).to_numpy()
    ours = over(CASES["zscore"], {"close": close.to_numpy()})[:, 0]
    # pandas' running variance is worth 1e-9 only where prices move by more than 1e-4 of themselves.
    moved = (rolling.std(ddof=0) / rolling.mean()).to_numpy() > 1e-4
    assert moved.mean() > 0.95
    assert np.abs(ours - theirs)[moved].max() < 1e-7
    exact = windows(close.to_numpy(), 20)
    with np.errstate(invalid="ignore", divide="ignore"):
        direct = (exact[:, -1] - exact.mean(axis=1)) / exact.std(axis=1)
    assert np.abs(ours[19:] - direct)[moved[19:]].max() < 1e-9


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_regression_equals_statsmodels(symbol: str) -> None:
    close = sp500(symbol)["close"]
    ours = over(CASES["regression"], {"close": close})
    design = sm.add_constant(np.arange(14.0))
    for end in range(14, len(close), 211):
        fit = sm.OLS(close[end - 14 : end], design).fit()
        slope, intercept, r2 = ours[end - 1]
        assert (intercept, slope) == pytest.approx(tuple(fit.params), rel=1e-9, abs=1e-9)
        if np.ptp(close[end - 14 : end]) > 0:
            assert r2 == pytest.approx(fit.rsquared, abs=1e-9)
        else:
            assert np.isnan(r2)


def test_correlation_and_beta_equal_pandas() -> None:
    x, y = (pd.Series(np.diff(np.log(sp500(s)["close"]))) for s in ("XOM", "CVX"))
    ours = over(CASES["correlation"], {"open": x.to_numpy(), "close": y.to_numpy()})
    assert_close(ours[:, 0], x.rolling(30).corr(y).to_numpy())
    assert_close(ours[:, 1], (x.rolling(30).cov(y) / x.rolling(30).var()).to_numpy())


def test_kalman_level_equals_statsmodels() -> None:
    close = sp500("AAPL")["close"][:2000]
    model = KalmanFilter(k_endog=1, k_states=1, obs_cov=[[1.0]], state_cov=[[0.1]])
    model["design"] = model["transition"] = model["selection"] = [[1.0]]
    # After the first value: level = value, variance = 1, so before the second 1 + 0.1.
    model.initialize_known(close[:1], np.array([[1.1]]))
    model.bind(close[1:].copy())
    theirs = model.filter().filtered_state[0]
    ours = over(CASES["kalman_level"], {"close": close})[:, 0]
    assert ours[0] == close[0]
    assert_close(ours[1:], theirs)


def test_kalman_hedge_equals_statsmodels() -> None:
    x, y = (sp500(symbol)["close"][:2000] for symbol in ("XOM", "CVX"))
    shock = 1e-4 / (1 - 1e-4) * np.eye(2)
    model = KalmanFilter(k_endog=1, k_states=2, obs_cov=[[1e-3]], state_cov=shock)
    model.bind(y.copy())
    model["design"] = np.stack([x, np.ones_like(x)])[np.newaxis]
    model["transition"] = model["selection"] = np.eye(2)
    model.initialize_known(np.zeros(2), shock)
    theirs = model.filter()
    ours = over(CASES["kalman_hedge"], {"open": x, "close": y})
    assert_close(ours[:, 0], theirs.filtered_state[0])
    assert_close(ours[:, 1], theirs.filtered_state[1])
    assert_close(ours[:, 2], theirs.forecasts_error[0])
    assert_close(ours[:, 3], np.sqrt(theirs.forecasts_error_cov[0, 0]))


def test_session_vwap_equals_its_formula() -> None:
    bars = {column: values[:1000] for column, values in sp500("GE").items()}
    bars["session"] = np.arange(1000) // 78
    ours = over(CASES["vwap"], bars)
    price = (bars["high"] + bars["low"] + bars["close"]) / 3
    for at in range(0, 1000, 7):
        day = (bars["session"] == bars["session"][at]) & (np.arange(1000) <= at)
        mean = np.average(price[day], weights=bars["volume"][day])
        spread = np.average((price[day] - mean) ** 2, weights=bars["volume"][day])
        assert ours[at] == pytest.approx((mean, math.sqrt(spread)), abs=1e-9)


def test_hurst_tells_walks_from_trends_and_reversion() -> None:
    rng = np.random.default_rng(7)
    noise = rng.standard_normal(4000)
    walk = np.cumsum(noise)
    smooth = np.cumsum(np.convolve(noise, np.ones(16) / 4, "same"))
    medians = [
        np.nanmedian(over(CASES["hurst"], {"close": np.exp(0.01 * path)}))
        for path in (noise, walk, smooth)
    ]
    assert medians[0] < 0.1 < 0.4 < medians[1] < 0.6 < 0.8 < medians[2]
