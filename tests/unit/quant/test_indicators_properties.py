"""What holds for every indicator: bytes carry it, NaN before warm-up, quiet prices, no drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.docs_indicators import described, public_indicators
from libs.common.quant import indicators
from libs.common.quant.compile import compiled
from tests.support.indicator_cases import CAPACITY, CASES, Bars, bars_of, new_state, over, sp500

BARS = 200
# Undefined while nothing moves; all others have a value then.
STILL = {
    "rsi",
    "zscore",
    "stochastic",
    "williams_r",
    "cci",
    "mfi",
    "correlation",
    "hurst",
    "volatility_regime",
}


def some_bars(seed: int, count: int = BARS) -> Bars:
    """Return bars of a random walk, with bars that do not move and ties between them."""
    rng = np.random.default_rng(seed)
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0, 0.02, count))), 1)
    before = np.concatenate([close[:1], close[:-1]])
    spread = rng.integers(0, 4, count) / 10
    return bars_of(
        close,
        open=before,
        high=np.maximum(close, before) + spread,
        low=np.minimum(close, before) - spread[::-1],
        volume=rng.integers(0, 1000, count).astype(float),
        session=np.arange(count) // 50,
    )


def warmup(name: str) -> int:
    """Return the number of bars that the docstring states, with the case's parameters."""
    return int(eval(described(name).warmup, {"max": max}, dict(CASES[name].params)))


def test_there_is_a_case_for_every_public_indicator() -> None:
    assert set(CASES) == set(public_indicators())


@pytest.mark.parametrize("name", CASES)
def test_the_case_passes_parameters_in_their_order(name: str) -> None:
    arguments = described(name).signature.partition("(")[2].rstrip(")").split(", ")
    assert arguments[-len(CASES[name].params) :] == list(CASES[name].params) or not (
        CASES[name].params
    )


@pytest.mark.parametrize("name", CASES)
def test_values_come_exactly_when_the_warmup_ends(name: str) -> None:
    values = over(CASES[name], sp500("XOM"))
    assert np.isnan(values[: warmup(name) - 1]).any(axis=1).all()
    assert not np.isnan(values[warmup(name) - 1]).any()


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, BARS - 1))
def test_a_state_saved_as_bytes_goes_on_bit_for_bit(name: str, seed: int, cut: int) -> None:
    case, bars = CASES[name], some_bars(seed)
    whole = over(case, bars)
    state = new_state(case.state)
    before = over(case, {key: column[:cut] for key, column in bars.items()}, state)
    restored = np.frombuffer(bytearray(state.tobytes()), case.state)[0]
    after = over(case, {key: column[cut:] for key, column in bars.items()}, restored)
    assert np.concatenate([before, after]).tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, BARS))
def test_later_bars_change_nothing_before_them(name: str, seed: int, cut: int) -> None:
    case, bars = CASES[name], some_bars(seed)
    whole = over(case, bars)[:cut]
    assert over(case, {key: column[:cut] for key, column in bars.items()}).tobytes() == (
        whole.tobytes()
    )


@pytest.mark.parametrize("name", CASES)
def test_a_price_that_never_moves_gives_what_is_stated(name: str) -> None:
    # 0.1 has no exact binary form: sums of it are rounded.
    values = over(CASES[name], bars_of(np.full(BARS, 0.1)))[warmup(name) :]
    if name in STILL:
        assert np.isnan(values).all()
        return
    quiet = {"regression": [0.0, 0.1, np.nan], "aroon": [100.0, 100.0], "obv": [1.0]}
    quiet |= {"macd": [0.0] * 3, "adx": [0.0] * 3, "roc": [0.0], "atr": [0.0], "vwap": [0.1, 0.0]}
    quiet |= {"supertrend": [0.1, 1.0]}
    if name == "parabolic":  # a price on its stop turns it on each bar
        values = values[:, :1]
    for volatility in ("realised_volatility", "parkinson", "garman_klass", "yang_zhang"):
        quiet[volatility] = [0.0]
    if name == "markov_regime":  # no move at all is no sign of turbulence
        assert (values < 0.1).all()
        return
    if name == "kalman_hedge":
        assert np.abs(values[-1, 2]) < 0.01
        return
    wanted = quiet.get(name, [0.1] * values.shape[1])
    assert np.allclose(values, wanted, rtol=1e-12, atol=1e-15, equal_nan=True)


@pytest.mark.parametrize("name", CASES)
def test_a_price_that_moves_again_after_a_standstill_is_defined_again(name: str) -> None:
    moving = sp500("GE")["close"][3000:3200]
    close = np.concatenate([moving, np.full(120, moving[-1]), moving])
    values = over(
        CASES[name], bars_of(close, high=close * 1.01, low=close * 0.99, open=close + 0.1)
    )
    assert np.isfinite(values[-1]).all()


def test_rising_and_falling_prices_reach_the_ends_of_their_scales() -> None:
    up = 100.0 * 1.01 ** np.arange(BARS)
    for close, ends in ((up, (100.0, 0.0)), (up[::-1], (0.0, -100.0))):
        bars = bars_of(close)
        assert over(CASES["rsi"], bars)[-1, 0] == pytest.approx(ends[0])
        assert over(CASES["mfi"], bars)[-1, 0] == pytest.approx(ends[0])
        assert over(CASES["stochastic"], bars)[-1] == pytest.approx([ends[0]] * 2)
        assert over(CASES["williams_r"], bars)[-1, 0] == pytest.approx(ends[1])
        assert over(CASES["aroon"], bars)[-1, 0] == pytest.approx(ends[0])
        assert over(CASES["adx"], bars)[-1, 0] == pytest.approx(100.0)
        assert over(CASES["hurst"], bars)[-1, 0] == pytest.approx(1.0)
        assert over(CASES["correlation"], {"open": close, "close": 3 * close})[-1] == (
            pytest.approx([1.0, 3.0])
        )


@compiled
def last_values(
    closes: np.ndarray, sma: np.void, band: np.void, line: np.void, pair: np.void
) -> tuple[float, float, float, float, float]:
    """Return the last mean, upper band, slope, r2 and correlation with the value itself."""
    mean = upper = slope = r2 = likeness = 0.0
    for i in range(closes.shape[0]):
        mean = indicators.sma(sma, closes[i], 30)
        upper = indicators.bollinger(band, closes[i], 30, 2.0)[0]
        slope, _, r2 = indicators.regression(line, closes[i], 30)
        likeness = indicators.correlation(pair, closes[i], -2.0 * closes[i], 30)[0]
    return mean, upper, slope, r2, likeness


def test_nothing_drifts_over_a_million_bars() -> None:
    rng = np.random.default_rng(7)
    closes = 100.0 + 1e-3 * rng.standard_normal(1_000_000)
    closes[:500_000] *= 1e6
    names = ("sma", "bollinger", "regression", "correlation")
    states = [new_state(CASES[name].state) for name in names]
    # 17 more bars: not where the rings have just gone round.
    at = len(closes) - 1_000_000 % 30 - 13
    mean, upper, slope, r2, likeness = last_values(closes[:at], *states)
    window = closes[at - 30 : at]
    line = np.polynomial.Polynomial.fit(np.arange(30.0), window, 1).convert().coef
    assert mean == pytest.approx(window.mean(), rel=1e-14)
    assert upper == pytest.approx(window.mean() + 2 * window.std(), rel=1e-13)
    assert slope == pytest.approx(line[1], abs=1e-12)
    residuals = window - np.polyval(line[::-1], np.arange(30.0))
    assert r2 == pytest.approx(1 - residuals.var() / window.var(), abs=1e-9)
    assert likeness == pytest.approx(-1.0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.integers(-3, 3), min_size=1, max_size=150),
    window=st.integers(1, CAPACITY),
)
def test_rolling_extremes_equal_the_extremes_of_each_window(values: list[int], window: int) -> None:
    column = np.array(values, dtype=float)
    top = over(CASES["rolling_max"], {"high": column}, window=window)[:, 0]
    bottom = over(CASES["rolling_min"], {"low": column}, window=window)[:, 0]
    for i in range(window - 1, len(values)):
        assert top[i] == max(values[i + 1 - window : i + 1])
        assert bottom[i] == min(values[i + 1 - window : i + 1])
