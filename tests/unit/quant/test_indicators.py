"""Indicators against TA-Lib and `ta`, on real prices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ta
import talib
from skfolio.datasets import load_sp500_dataset

from libs.common.quant.indicators import (
    atr,
    atr_state,
    ema,
    ema_state,
    realised_volatility,
    rsi,
    rsi_state,
    sma,
    sma_state,
    volatility_state,
    wilder,
    wilder_state,
)

SYMBOLS = ("AAPL", "GE", "RRC", "XOM")


def closes(symbol: str) -> np.ndarray:
    return load_sp500_dataset()[symbol].to_numpy(dtype=float)


def hlc(symbol: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """High, low, close; the range of a day taken from its close and the one before."""
    close = closes(symbol)
    before = np.concatenate([close[:1], close[:-1]])
    return np.maximum(close, before) * 1.001, np.minimum(close, before) * 0.999, close


def over(update: Callable[..., float], dtype: Any, *columns: np.ndarray, **_: Any) -> np.ndarray:
    state = np.zeros(1, dtype)[0]
    return np.array([update(state, *row) for row in zip(*columns, strict=True)])


def same(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1e-9) -> None:
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    defined = ~np.isnan(ours)
    assert defined.any()
    assert np.max(np.abs(ours[defined] - theirs[defined])) <= tolerance


def constant(value: float, like: np.ndarray) -> np.ndarray:
    return np.full(len(like), value, dtype=type(value))


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("window", [2, 10, 200])
def test_sma_equals_talib_and_ta(symbol: str, window: int) -> None:
    x = closes(symbol)
    ours = over(sma, sma_state(200), x, constant(window, x))
    same(ours, talib.SMA(x, window))
    same(ours, ta.trend.sma_indicator(pd.Series(x), window).to_numpy())


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("window", [2, 12, 26])
def test_ema_equals_talib_and_ta_after_the_seed(symbol: str, window: int) -> None:
    x = closes(symbol)
    ours = over(ema, ema_state(), x, constant(window, x))
    same(ours, talib.EMA(x, window))
    theirs = ta.trend.ema_indicator(pd.Series(x), window).to_numpy()
    late = slice(40 * window, None)
    same(ours[late], theirs[late])


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("window", [2, 14])
def test_rsi_equals_talib_and_ta_after_the_seed(symbol: str, window: int) -> None:
    x = closes(symbol)
    ours = over(rsi, rsi_state(), x, constant(window, x))
    reference = talib.RSI(x, window)
    unmoved = np.isnan(ours) & ~np.isnan(reference)
    assert (reference[unmoved] == 0.0).all()
    reference[unmoved] = np.nan
    same(ours, reference)
    theirs = ta.momentum.rsi(pd.Series(x), window).to_numpy()
    late = slice(60 * window, None)
    same(ours[late], theirs[late])


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("window", [2, 14])
def test_atr_equals_talib_and_ta_after_the_seed(symbol: str, window: int) -> None:
    high, low, close = hlc(symbol)
    ours = over(atr, atr_state(), high, low, close, constant(window, close))
    same(ours, talib.ATR(high, low, close, window))
    frame = pd.DataFrame({"high": high, "low": low, "close": close})
    theirs = ta.volatility.average_true_range(frame.high, frame.low, frame.close, window)
    late = slice(60 * window, None)
    same(ours[late], theirs.to_numpy()[late])


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("window", [2, 20, 252])
def test_realised_volatility_equals_pandas_and_talib(symbol: str, window: int) -> None:
    x = closes(symbol)
    ours = over(
        realised_volatility, volatility_state(252), x, constant(window, x), constant(252.0, x)
    )
    returns = np.log(x[1:] / x[:-1])
    deviation = pd.Series(returns).rolling(window).std(ddof=1).to_numpy()
    same(ours[1:], deviation * np.sqrt(252.0), 1e-7)
    # TA-Lib divides by n, and calls a variance below 1e-14 nothing.
    population = talib.STDDEV(returns, window) * np.sqrt(252.0 * window / (window - 1.0))
    moved = population > 1e-3
    assert np.max(np.abs(ours[1:][moved] - population[moved])) <= 1e-7


@pytest.mark.parametrize("symbol", ["SPY", "IBM"])
def test_indicators_equal_talib_on_real_minutes(shared_data: Path, symbol: str) -> None:
    frame = pd.read_parquet(shared_data / "minute_trades.parquet")
    frame = frame[frame["symbol"] == symbol]
    high, low, close = (frame[c].to_numpy(dtype=float) for c in ("high", "low", "close"))
    window = constant(14, close)
    same(over(sma, sma_state(14), close, window), talib.SMA(close, 14))
    same(over(ema, ema_state(), close, window), talib.EMA(close, 14))
    same(over(rsi, rsi_state(), close, window), talib.RSI(close, 14))
    same(over(atr, atr_state(), high, low, close, window), talib.ATR(high, low, close, 14))


def test_sma_by_hand() -> None:
    values = over(sma, sma_state(4), np.array([1.0, 2.0, 6.0]), np.array([2, 2, 2]))
    assert np.array_equal(values, [np.nan, 1.5, 4.0], equal_nan=True)


def test_ema_by_hand() -> None:
    values = over(ema, ema_state(), np.array([1.0, 2.0, 6.0]), np.array([2, 2, 2]))
    assert np.allclose(values, [np.nan, 1.5, 4.5], equal_nan=True)


def test_wilder_by_hand() -> None:
    values = over(wilder, wilder_state(), np.array([1.0, 3.0, 5.0]), np.array([2, 2, 2]))
    assert np.array_equal(values, [np.nan, 2.0, 3.5], equal_nan=True)


def test_rsi_of_a_price_that_never_moved_is_undefined() -> None:
    assert np.isnan(over(rsi, rsi_state(), np.full(10, 5.0), np.full(10, 2))).all()


def test_atr_by_hand() -> None:
    high, low, close = (np.array(v, dtype=float) for v in ([11, 12, 11], [9, 10, 8], [10, 11, 9]))
    values = over(atr, atr_state(), high, low, close, np.full(3, 2))
    assert np.array_equal(values, [np.nan, np.nan, 2.5], equal_nan=True)


def test_volatility_by_hand() -> None:
    x = np.array([100.0, 110.0, 99.0])
    values = over(realised_volatility, volatility_state(2), x, np.full(3, 2), np.full(3, 1.0))
    assert values[-1] == pytest.approx(0.14190, abs=5e-6)


def test_sma_does_not_drift_over_a_million_values() -> None:
    rng = np.random.default_rng(7)
    x = 100.0 + 1e-3 * rng.standard_normal(1_000_000)
    x[: len(x) // 2] *= 1e6
    state = np.zeros(1, sma_state(30))[0]
    last = 0.0
    for value in x[len(x) // 2 - 1000 : len(x) // 2 + 1000]:
        last = sma(state, value, 30)
    at = len(x) // 2 + 1000
    assert abs(last - x[at - 30 : at].mean()) < 1e-12 * 100
