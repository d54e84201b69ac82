"""Five indicators a bar: incrementally, and as their peers recompute them on 200 bars.

RSI(14), MACD(12, 26, 9), Bollinger(20, 2), ATR(14), Stochastic(14, 3, 3) on a geometric random
walk, NumPy seed 7. Ours: one compiled loop that steps all five over a million bars and keeps the
last of their ten values, which are compared with TA-Lib's first. Peers
in the same run: what a strategy pays on each new bar if TA-Lib or `ta` computes the five anew from
the last 200 bars; and TA-Lib over the whole array at once, divided by its bars, which only a
backtest that knows the future could do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
import pandas as pd
import ta
import talib

from benchmarks.results import Measurement
from libs.common.quant.indicators import (
    atr,
    atr_state,
    bollinger,
    bollinger_state,
    macd,
    macd_state,
    rsi,
    rsi_state,
    stochastic,
    stochastic_state,
)

BARS: Final = 1_000_000
WINDOW: Final = 200
ROUNDS: Final = 5
FIVE: Final = np.dtype(
    [
        ("rsi", rsi_state()),
        ("macd", macd_state()),
        ("bollinger", bollinger_state(20)),
        ("atr", atr_state()),
        ("stochastic", stochastic_state(14, 3)),
    ],
    align=True,
)


def run() -> list[Measurement]:
    """Return ns a bar against each peer."""
    high, low, close = walk()
    check(high, low, close)
    last = tuple(column[-WINDOW:].copy() for column in (high, low, close))
    frames = [pd.Series(column) for column in last]
    ours = best(lambda: _five(new_state(), high, low, close), BARS)
    by_talib = best(lambda: talib_five(*last), 1, calls=2000)
    by_ta = best(lambda: ta_five(*frames), 1, calls=20)
    whole = best(lambda: talib_five(high, low, close), BARS)
    peers = {
        "TA-Lib on the last 200 bars": by_talib,
        "ta on the last 200 bars": by_ta,
        "TA-Lib over the whole array at once": whole,
    }
    return [
        Measurement(
            "five indicators, incrementally", ours, "ns/bar", theirs, peer,
            target_value=100.0, higher_is_better=False,
            note=f"the peer takes {theirs / ours:,.1f} times as long",
        )
        for peer, theirs in peers.items()
    ]  # fmt: skip


def walk() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (high, low, close): prices around 100, 1 % a bar."""
    rng = np.random.default_rng(7)
    moves = rng.normal(0.0, 0.01, BARS)
    close = 100.0 * np.exp(np.cumsum(moves - moves.mean()))
    high = close * (1.0 + np.abs(rng.normal(0.0, 0.004, BARS)))
    return high, close * (1.0 - np.abs(rng.normal(0.0, 0.004, BARS))), close


def new_state() -> np.void:
    """Return the five states, zeros."""
    state: np.void = np.zeros(1, FIVE)[0]
    return state


@numba.njit(error_model="numpy")
def _five(state: Any, high: Any, low: Any, close: Any) -> Any:
    values = np.empty(10)
    for i in range(close.shape[0]):
        values[0] = rsi(state.rsi, close[i], 14)
        values[1], values[2], values[3] = macd(state.macd, close[i], 12, 26, 9)
        values[4], values[5], values[6] = bollinger(state.bollinger, close[i], 20, 2.0)
        values[7] = atr(state.atr, high[i], low[i], close[i], 14)
        values[8], values[9] = stochastic(state.stochastic, high[i], low[i], close[i], 14, 3, 3)
    return values


def talib_five(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> list[float]:
    """Return the last of the ten values as TA-Lib computes them."""
    found = (
        talib.RSI(close, 14),
        *talib.MACD(close, 12, 26, 9),
        *talib.BBANDS(close, 20, 2.0, 2.0),
        talib.ATR(high, low, close, 14),
        *talib.STOCH(high, low, close, 14, 3, 0, 3, 0),
    )
    return [column[-1] for column in found]


def ta_five(high: Any, low: Any, close: Any) -> list[float]:
    """Return the last of the ten values as `ta` computes them."""
    lines = ta.trend.MACD(close, 26, 12, 9)
    band = ta.volatility.BollingerBands(close, 20, 2)
    place = ta.momentum.StochasticOscillator(high, low, close, 14, 3)
    found = (
        ta.momentum.rsi(close, 14),
        lines.macd(),
        lines.macd_signal(),
        lines.macd_diff(),
        band.bollinger_hband(),
        band.bollinger_mavg(),
        band.bollinger_lband(),
        ta.volatility.average_true_range(high, low, close, 14),
        place.stoch(),
        place.stoch_signal(),
    )
    return [column.iloc[-1] for column in found]


def check(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> None:
    """Hold our last values against TA-Lib's: no speed is told of wrong numbers."""
    ours, theirs = _five(new_state(), high, low, close), talib_five(high, low, close)
    if not np.allclose(ours, theirs, rtol=1e-9, atol=1e-9):
        raise AssertionError(f"not the same values: {ours} and {theirs}")


def best(work: Callable[[], object], bars: int, calls: int = 1) -> float:
    """Return the ns a bar of the best of some rounds; the first, which compiles, is left out."""
    work()
    spans = []
    for _ in range(ROUNDS):
        started = time.perf_counter_ns()
        for _ in range(calls):
            work()
        spans.append((time.perf_counter_ns() - started) / calls)
    return min(spans) / bars
