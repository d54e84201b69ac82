"""Every indicator that TA-Lib has equals TA-Lib's on real prices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib

from tests.support.indicator_cases import (
    CASES,
    Bars,
    assert_close,
    over,
    real_bars,
    sp500,
    sp500_symbols,
)

Reference = Callable[..., Sequence[np.ndarray]]


def hlc(bars: Bars) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return bars["high"], bars["low"], bars["close"]


def supertrend(*arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    """TA-Lib's line and direction; its direction is 0 where it is not defined."""
    line, direction = talib.SUPERTREND(*arguments)
    return line, np.where(direction == 0, np.nan, direction)


# What TA-Lib says, in the order of our values; each with the parameters of the case.
OF_CLOSES: dict[str, Reference] = {
    "sma": lambda b, window: [talib.SMA(b["close"], window)],
    "ema": lambda b, window: [talib.EMA(b["close"], window)],
    "wilder": lambda b, window: [talib.RMA(b["close"], window)],
    "wma": lambda b, window: [talib.WMA(b["close"], window)],
    "dema": lambda b, window: [talib.DEMA(b["close"], window)],
    "tema": lambda b, window: [talib.TEMA(b["close"], window)],
    "rsi": lambda b, window: [talib.RSI(b["close"], window)],
    "macd": lambda b, fast, slow, signal: talib.MACD(b["close"], fast, slow, signal),
    "bollinger": lambda b, window, width: talib.BBANDS(b["close"], window, width, width),
    "roc": lambda b, window: [talib.ROC(b["close"], window)],
    "regression": lambda b, window: [
        talib.LINEARREG_SLOPE(b["close"], window),
        talib.LINEARREG_INTERCEPT(b["close"], window),
    ],
}
OF_BARS: dict[str, Reference] = {
    "rolling_max": lambda b, window: [talib.MAX(b["high"], window)],
    "rolling_min": lambda b, window: [talib.MIN(b["low"], window)],
    "stochastic": lambda b, window, smooth, signal: talib.STOCH(
        *hlc(b), window, smooth, 0, signal, 0
    ),
    "williams_r": lambda b, window: [talib.WILLR(*hlc(b), window)],
    "atr": lambda b, window: [talib.ATR(*hlc(b), window)],
    "adx": lambda b, window: [
        talib.ADX(*hlc(b), window),
        talib.PLUS_DI(*hlc(b), window),
        talib.MINUS_DI(*hlc(b), window),
    ],
    "aroon": lambda b, window: talib.AROON(b["high"], b["low"], window)[::-1],
    "cci": lambda b, window: [talib.CCI(*hlc(b), window)],
    "obv": lambda b: [talib.OBV(b["close"], b["volume"])],
    "mfi": lambda b, window: [talib.MFI(*hlc(b), b["volume"], window)],
    "donchian": lambda b, window: talib.DONCHIAN(b["high"], b["low"], window),
    "keltner": lambda b, window, range_window, width: talib.KC(
        *hlc(b), window, range_window, width
    ),
    "correlation": lambda b, window: [talib.CORREL(b["open"], b["close"], window)],
    "supertrend": lambda b, window, width: supertrend(*hlc(b), window, width),
    "parabolic": lambda b, factor, factor_max: [talib.SAR(b["high"], b["low"], factor, factor_max)],
}
REFERENCES = OF_CLOSES | OF_BARS
# Where a formula divides nothing by nothing we say NaN and TA-Lib 0, smoothed in the stochastic.
UNDEFINED = {"rsi", "stochastic", "williams_r", "cci", "mfi", "correlation"}
# TA-Lib gives these only once their signal line is there.
LATER = {("macd", 0), ("stochastic", 0)}


def check(name: str, bars: Bars, **params: float) -> None:
    """Compare one indicator with TA-Lib, value by value."""
    case = CASES[name]
    chosen = {**case.params, **params}
    ours = over(case, bars, **params)
    for column, found in enumerate(REFERENCES[name](bars, **chosen)):
        mine, theirs = ours[:, column].copy(), np.array(found, dtype=float)
        if (name, column) in LATER:
            mine[np.isnan(theirs)] = np.nan
        if name in UNDEFINED:
            gone = np.isnan(mine) & ~np.isnan(theirs)
            assert gone.mean() < 0.2
            assert name == "stochastic" or (theirs[gone] == 0.0).all()
            theirs[gone] = np.nan
        assert_close(mine, theirs)


@pytest.mark.parametrize("name", OF_CLOSES)
def test_equals_talib_on_all_sample_closes(name: str) -> None:
    for symbol in sp500_symbols():
        check(name, sp500(symbol))


@pytest.mark.parametrize("name", OF_BARS)
def test_equals_talib_on_bars_around_sample_closes(name: str) -> None:
    for symbol in ("AAPL", "GE", "RRC", "XOM"):
        check(name, sp500(symbol))


@pytest.mark.parametrize("source", ["daily_raw", "minute_trades"])
@pytest.mark.parametrize("name", REFERENCES)
def test_equals_talib_on_every_real_bar(shared_data: Path, source: str, name: str) -> None:
    for bars in real_bars(shared_data, source).values():
        check(name, bars)


@pytest.mark.parametrize("window", [2, 3, 63])
@pytest.mark.parametrize(
    "name", [name for name in REFERENCES if "window" in CASES[name].params and name != "keltner"]
)
def test_equals_talib_with_short_and_long_windows(name: str, window: int) -> None:
    bars = {column: values[:2000] for column, values in sp500("AAPL").items()}
    check(name, bars, window=window)


@pytest.mark.parametrize("params", [(20, 10), (10, 20), (10, 10), (11, 10)])
def test_keltner_equals_talib_whichever_average_is_longer(params: tuple[int, int]) -> None:
    check("keltner", sp500("GE"), window=params[0], range_window=params[1])


def test_fast_stochastic_equals_talib() -> None:
    bars = sp500("XOM")
    theirs = talib.STOCHF(*hlc(bars), 14, 3, 0)
    ours = over(CASES["stochastic"], bars, smooth=1)
    assert_close(ours[15:, 0], theirs[0][15:])
    assert_close(ours[:, 1], theirs[1])


def test_beta_equals_talib_given_returns() -> None:
    market, share = sp500("XOM")["close"], sp500("CVX")["close"]
    returns = {"open": market[1:] / market[:-1] - 1.0, "close": share[1:] / share[:-1] - 1.0}
    ours = over(CASES["correlation"], returns)
    assert_close(ours[:, 1], talib.BETA(market, share, 30)[1:])


def test_vwap_equals_talib_in_each_session(shared_data: Path) -> None:
    bars = real_bars(shared_data, "minute_trades")["SPY"]
    ours = over(CASES["vwap"], bars)[:, 0]
    for session in np.unique(bars["session"]):
        day = bars["session"] == session
        assert_close(
            ours[day], talib.VWAP(*(column[day] for column in hlc(bars)), bars["volume"][day])
        )
