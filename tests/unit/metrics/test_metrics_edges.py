"""Where a metric is not defined it is NaN: no warning, no error."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics import (
    Metrics,
    compute_metrics,
    daily,
    drawdowns,
    growth,
    ratios,
    simple_returns,
    tails,
    trades,
)
from libs.common.quant.metrics import benchmark as beside
from libs.common.quant.metrics.drawdowns import DAY_NS

# NumPy's; not what the collector of garbage finds of other tests.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

OF_RETURNS: tuple[Callable[..., float], ...] = (
    growth.total_return, growth.geometric_return, growth.annual_volatility, growth.best_return,
    growth.worst_return, growth.positive_share, ratios.sharpe, ratios.sortino, ratios.omega,
    ratios.gain_to_pain, tails.var_historical, tails.var_normal, tails.cvar_historical,
    tails.cvar_normal, tails.tail_ratio, tails.skewness, tails.excess_kurtosis, trades.hit_rate,
    trades.profit_factor, trades.payoff_ratio, trades.expectancy, trades.system_quality_number,
    trades.time_in_market, drawdowns.max_drawdown, drawdowns.ulcer_index,
)  # fmt: skip
OF_TWO = (
    beside.beta,
    beside.alpha,
    beside.correlation,
    beside.tracking_error,
    beside.information_ratio,
)
DAYS = np.arange(10, dtype=np.int64) * DAY_NS


@pytest.mark.parametrize("function", OF_RETURNS)
@pytest.mark.parametrize("bad", [[], [0.1, math.nan, 0.2, 0.3], [0.1, math.inf, 0.2, 0.3]])
def test_nothing_and_nan_give_nan(function: Callable[..., float], bad: list[float]) -> None:
    assert math.isnan(function(np.array(bad)))


def test_a_benchmark_that_does_not_vary_explains_nothing() -> None:
    flat, x = np.full(4, 0.01), np.array([0.01, -0.02, 0.03, 0.0])
    assert math.isnan(beside.beta(x, flat))
    assert math.isnan(beside.alpha(x, flat))
    assert math.isnan(beside.correlation(x, flat))
    assert beside.tracking_error(x, flat) == pytest.approx(np.std(x, ddof=1) * math.sqrt(252))
    assert math.isnan(beside.information_ratio(x, x))


@pytest.mark.parametrize("function", OF_TWO)
def test_no_returns_are_beside_no_benchmark(function: Callable[..., float]) -> None:
    assert math.isnan(function(np.array([]), np.array([])))


@pytest.mark.parametrize("function", [ratios.sharpe, ratios.sortino, ratios.omega])
def test_no_volatility_has_no_ratio(function: Callable[..., float]) -> None:
    assert math.isnan(function(np.full(20, 0.001)))
    assert math.isnan(function(np.zeros(20)))


def test_growth_by_a_constant_rate_has_no_volatility_in_spite_of_rounding() -> None:
    returns = simple_returns(100.0 * 1.01 ** np.arange(50))
    assert np.ptp(returns) > 0.0
    assert growth.annual_volatility(returns) == 0.0
    assert math.isnan(ratios.sharpe(returns))
    assert math.isnan(tails.skewness(returns))


def test_all_losses() -> None:
    x = np.array([-0.01, -0.02, -0.03])
    assert trades.hit_rate(x) == 0.0
    assert trades.profit_factor(x) == 0.0
    assert math.isnan(trades.payoff_ratio(x))
    assert ratios.omega(x) == 0.0
    assert ratios.gain_to_pain(x) == -1.0
    assert growth.positive_share(x) == 0.0


def test_all_wins_have_no_profit_factor() -> None:
    x = np.array([0.01, 0.02])
    assert trades.hit_rate(x) == 1.0
    assert math.isnan(trades.profit_factor(x))
    assert math.isnan(ratios.sortino(x))


def test_ruin() -> None:
    equity = np.array([100.0, 50.0, 0.0])
    assert growth.cagr(equity, DAYS[:3]) == -1.0
    assert drawdowns.max_drawdown(equity) == -1.0
    assert growth.total_return(simple_returns(equity)) == -1.0
    assert math.isnan(growth.cagr(np.array([100.0, -1.0]), DAYS[:2]))


def test_worked_turnover_and_exposure() -> None:
    # Bought 600 and sold 400 of an account of 1 000 in half a year: 500 / 1 000 / 0.5.
    assert trades.turnover(np.array([600.0, 400.0]), np.array([900.0, 1100.0]), 0.5) == 1.0
    assert trades.mean_exposure(np.array([0.0, 500.0]), np.array([1000.0, 1000.0])) == 0.25
    assert trades.time_in_market(np.array([0.0, 500.0, 0.0, 1.0])) == 0.5
    assert math.isnan(trades.mean_exposure(np.array([1.0]), np.array([0.0])))


def test_worked_drawdown() -> None:
    equity = np.array([100.0, 120.0, 90.0, 96.0, 120.0, 130.0, 117.0])
    falls = drawdowns.drawdowns(equity)
    assert [(f.peak, f.trough, f.end) for f in falls] == [(1, 2, 4), (5, 6, -1)]
    assert drawdowns.max_drawdown(equity) == -0.25
    assert drawdowns.longest_drawdown_days(equity, DAYS[:7]) == 3.0
    assert drawdowns.recovery_days(equity, DAYS[:7]) == 2.0
    assert drawdowns.longest_drawdown_days(np.array([1.0, 2.0]), DAYS[:2]) == 0.0


def test_one_point_gives_metrics_that_are_nan() -> None:
    metrics = compute_metrics(DAYS[:1], np.array([100.0]))
    assert metrics.days == 1
    assert metrics.max_drawdown == 0.0
    for name in ("cagr", "sharpe", "total_return", "annual_volatility", "beta", "hit_rate"):
        assert math.isnan(getattr(metrics, name)), name
    assert compute_metrics(DAYS[:0], np.empty(0)).days == 0


def test_metrics_travel_as_json() -> None:
    metrics = compute_metrics(DAYS, np.linspace(100.0, 110.0, 10), pnl=np.array([1.0, -2.0]))
    data = metrics.to_json()
    assert data["beta"] is None
    assert data["hit_rate"] == 0.5
    again = Metrics.from_json(data)
    assert repr(again) == repr(metrics)


def test_bars_become_the_last_of_each_day() -> None:
    hour = DAY_NS // 24
    ts = np.array([0, 5 * hour, 23 * hour, 30 * hour, 80 * hour], np.int64)
    curve = daily(ts, np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert curve.equity.tolist() == [3.0, 4.0, 5.0]
    assert curve.last.tolist() == [2, 3, 4]
    # A session that begins at 22:00 belongs to the day after.
    assert daily(ts, np.arange(5.0), offset_ns=-2 * hour).last.tolist() == [1, 3, 4]


def test_times_that_do_not_increase_are_named() -> None:
    with pytest.raises(InvalidInputError, match="time 2 is not after"):
        daily(np.array([0, 5, 5], np.int64), np.ones(3))
    with pytest.raises(InvalidInputError, match="3 times but 2 values"):
        compute_metrics(DAYS[:3], np.ones(2))
    with pytest.raises(InvalidInputError, match="exposure: 3 times but 2"):
        compute_metrics(DAYS[:3], np.ones(3), exposure=np.ones(2))


numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)


@settings(max_examples=150, deadline=None)
@given(
    equity=hnp.arrays(np.float64, st.integers(0, 12), elements=numbers),
    pnl=hnp.arrays(np.float64, st.integers(0, 6), elements=numbers),
    exposed=st.booleans(),
)
def test_no_curve_makes_metrics_fail_or_warn(
    equity: np.ndarray, pnl: np.ndarray, exposed: bool
) -> None:
    ts = np.arange(len(equity), dtype=np.int64) * DAY_NS
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        metrics = compute_metrics(
            ts,
            equity,
            pnl=pnl,
            traded=pnl,
            exposure=equity if exposed else np.empty(0),
            benchmark=equity[::-1],
        )
    assert not any(math.isinf(value) for value in asdict(metrics).values())
