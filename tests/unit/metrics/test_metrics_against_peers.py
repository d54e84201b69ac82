"""Every metric on real prices against quantstats, ffn, pandas or SciPy."""

from __future__ import annotations

import math
from functools import cache

import ffn
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from quantstats import stats as qs
from skfolio.datasets import load_sp500_dataset, load_sp500_index

from libs.common.quant.metrics import (
    benchmark,
    drawdowns,
    growth,
    ratios,
    tails,
    trades,
)
from libs.common.quant.metrics.catalogue import CATALOGUE
from libs.common.quant.metrics.days import monthly_returns, periods_per_year

SYMBOLS = ("AAPL", "GE", "JPM", "RRC")


@cache
def prices(symbol: str) -> pd.Series:
    return load_sp500_dataset()[symbol].astype(float)


def returns(symbol: str) -> pd.Series:
    return prices(symbol).pct_change().dropna()


@cache
def market() -> pd.Series:
    return load_sp500_index().iloc[:, 0].astype(float).pct_change().dropna()


def ns(series: pd.Series) -> np.ndarray:
    return series.index.to_numpy("datetime64[ns]").astype(np.int64)


def same(ours: float, theirs: float) -> None:
    assert math.isfinite(ours)
    assert ours == pytest.approx(float(theirs), rel=1e-9, abs=1e-12)


@cache
def pairs(symbol: str) -> dict[str, tuple[float, float]]:
    """Name -> (ours, the peer's)."""
    p, r, b = prices(symbol), returns(symbol), market()
    x, e, m, ts = r.to_numpy(), p.to_numpy(), b.to_numpy(), ns(p)
    assert r.index.equals(b.index)
    falls = qs.drawdown_details(qs.to_drawdown_series(r))
    deepest = falls.loc[falls["max drawdown"].idxmin()]
    greeks = qs.greeks(r, b)
    return {
        "total_return": (growth.total_return(x), qs.comp(r)),
        "cagr": (growth.cagr(e, ts), ffn.calc_cagr(p)),
        "best_return": (growth.best_return(x), qs.best(r)),
        "worst_return": (growth.worst_return(x), qs.worst(r)),
        "positive_share": (growth.positive_share(x), qs.win_rate(r)),
        "annual_volatility": (growth.annual_volatility(x), qs.volatility(r)),
        "max_drawdown": (drawdowns.max_drawdown(e), qs.max_drawdown(r)),
        "longest_drawdown_days": (drawdowns.longest_drawdown_days(e, ts), longest(p)),
        "recovery_days": (drawdowns.recovery_days(e, ts), recovered(p, deepest)),
        "ulcer_index": (drawdowns.ulcer_index(e), ffn.to_ulcer_index(p) / 100),
        "var_historical": (tails.var_historical(x), r.quantile(0.05)),
        "var_normal": (tails.var_normal(x), qs.value_at_risk(r)),
        "cvar_historical": (
            tails.cvar_historical(x),
            qs.conditional_value_at_risk(r, method="historical"),
        ),
        "cvar_normal": (tails.cvar_normal(x), qs.conditional_value_at_risk(r)),
        "tail_ratio": (tails.tail_ratio(x), qs.tail_ratio(r)),
        "skewness": (tails.skewness(x), qs.skew(r)),
        "excess_kurtosis": (tails.excess_kurtosis(x), qs.kurtosis(r)),
        "sharpe": (ratios.sharpe(x, 0.02), qs.sharpe(r, rf=0.02)),
        "sortino": (ratios.sortino(x, 0.02), qs.sortino(r, rf=0.02)),
        "calmar": (
            ratios.calmar(growth.cagr(e, ts), drawdowns.max_drawdown(e)),
            ffn.calc_calmar_ratio(p),
        ),
        "omega": (ratios.omega(x, 0.05), qs.omega(r, required_return=0.05)),
        "gain_to_pain": (ratios.gain_to_pain(x), qs.gain_to_pain_ratio(r)),
        "recovery_factor": (
            ratios.recovery_factor(growth.total_return(x), drawdowns.max_drawdown(e)),
            qs.comp(r) / abs(qs.max_drawdown(r)),
        ),
        "hit_rate": (trades.hit_rate(x), qs.win_rate(r)),
        "profit_factor": (trades.profit_factor(x), qs.profit_factor(r)),
        "payoff_ratio": (trades.payoff_ratio(x), qs.payoff_ratio(r)),
        "expectancy": expectancies(r[r != 0.0]),
        "system_quality_number": (
            trades.system_quality_number(x),
            scipy.stats.ttest_1samp(x, 0.0).statistic,
        ),
        # quantstats rounds up to a whole per cent.
        "time_in_market": (
            math.ceil(trades.time_in_market(np.where(x > 0, x, 0)) * 100) / 100,
            qs.exposure(r.clip(lower=0)),
        ),
        "beta": (benchmark.beta(x, m), greeks["beta"]),
        "alpha": (benchmark.alpha(x, m), greeks["alpha"]),
        "correlation": (benchmark.correlation(x, m), r.corr(b)),
        "tracking_error": (benchmark.tracking_error(x, m), qs.volatility(r - b)),
        "information_ratio": (
            benchmark.information_ratio(x, m),
            qs.information_ratio(r, b) * math.sqrt(252),
        ),
    }


def longest(p: pd.Series) -> float:
    """ffn's episodes begin a point after the peak."""
    falls = ffn.drawdown_details(ffn.to_drawdown_series(p))
    before = p.index[p.index.get_indexer(pd.DatetimeIndex(falls["Start"])) - 1]
    return float(max((pd.DatetimeIndex(falls["End"]) - before).days))


def recovered(p: pd.Series, fall: pd.Series) -> float:
    """quantstats' episodes end a point before the peak is reached again, if it is."""
    if pd.Timestamp(fall["end"]) == p.index[-1]:
        return math.nan
    after = p.index[p.index.get_loc(fall["end"]) + 1]
    return float((after - pd.Timestamp(fall["valley"])).days)


def expectancies(r: pd.Series) -> tuple[float, float]:
    hits = qs.win_rate(r)
    return trades.expectancy(r.to_numpy()), hits * qs.avg_win(r) + (1 - hits) * qs.avg_loss(r)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_metric_equals_its_peer(symbol: str) -> None:
    both = pairs(symbol)
    undefined = {name for name, (ours, _) in both.items() if not math.isfinite(ours)}
    assert undefined <= {"recovery_days"}
    for name, (ours, theirs) in both.items():
        assert ours == pytest.approx(float(theirs), rel=1e-9, abs=1e-12, nan_ok=True), name


def test_no_metric_of_the_catalogue_goes_unchecked() -> None:
    by_hand = {"turnover", "mean_exposure"}
    assert {entry.name for entry in CATALOGUE} == set(pairs("AAPL")) | by_hand


def test_a_fall_that_has_not_ended_has_no_recovery() -> None:
    p = prices("GE")
    assert p.iloc[-1] < p.max()
    assert math.isnan(drawdowns.recovery_days(p.to_numpy(), ns(p)))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_second_peers_agree(symbol: str) -> None:
    p, r, b = prices(symbol), returns(symbol), market()
    x, e = r.to_numpy(), p.to_numpy()
    same(ratios.sharpe(x, 0.02), ffn.calc_sharpe(r, rf=0.02, nperiods=252))
    same(ratios.sortino(x, 0.02), ffn.calc_sortino_ratio(r, rf=0.02, nperiods=252))
    same(drawdowns.max_drawdown(e), ffn.calc_max_drawdown(p))
    same(growth.geometric_return(x), qs.cagr(r))
    same(benchmark.correlation(x, b.to_numpy()) ** 2, qs.r_squared(r, b))
    same(
        benchmark.information_ratio(x, b.to_numpy(), 1.0),
        ffn.calc_information_ratio(r, b),
    )
    np.testing.assert_allclose(
        drawdowns.drawdown_series(e), ffn.to_drawdown_series(p).to_numpy(), atol=1e-12
    )


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_rolling_sharpe_equals_quantstats(symbol: str) -> None:
    r = returns(symbol)
    theirs = qs.rolling_sharpe(r, rolling_period=126).to_numpy()
    np.testing.assert_allclose(ratios.rolling_sharpe(r.to_numpy(), 126), theirs, atol=1e-7)


def test_monthly_returns_equal_those_of_pandas() -> None:
    p = prices("AAPL")
    months, ours = monthly_returns(ns(p), p.to_numpy())
    ends = p.resample("ME").last()
    theirs = ends.pct_change()
    theirs.iloc[0] = ends.iloc[0] / p.iloc[0] - 1
    assert months[0] == (1990 - 1970) * 12
    np.testing.assert_allclose(ours, theirs.to_numpy(), atol=1e-12)


def test_periods_a_year_are_told_from_the_dates() -> None:
    p = prices("AAPL")
    assert periods_per_year(ns(p)) == 252.0
    assert periods_per_year(ns(p.resample("W-FRI").last())) == 52.0
    assert periods_per_year(ns(p.resample("ME").last())) == 12.0
    assert periods_per_year(ns(p.resample("D").ffill())) == 365.0
