"""Every indicator once, with parameters and the columns it reads; real prices to run it over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from skfolio.datasets import load_sp500_dataset

from libs.common.quant import indicators as q

Bars = Mapping[str, np.ndarray]
OHLC = ("open", "high", "low", "close")
HLC = ("high", "low", "close")
# One capacity for all: each other one would be another record, compiled anew.
CAPACITY = 64


@dataclass(frozen=True)
class Case:
    """An indicator with the columns that its update takes, and its parameters in their order."""

    update: Callable[..., Any]
    state: np.dtype[np.void]
    columns: tuple[str, ...]
    params: Mapping[str, float]

    @property
    def name(self) -> str:
        return self.update.__name__


CASES = {
    case.name: case
    for case in (
        Case(q.sma, q.sma_state(CAPACITY), ("close",), {"window": 20}),
        Case(q.ema, q.ema_state(), ("close",), {"window": 12}),
        Case(q.wilder, q.wilder_state(), ("close",), {"window": 14}),
        Case(q.wma, q.wma_state(CAPACITY), ("close",), {"window": 20}),
        Case(q.dema, q.dema_state(), ("close",), {"window": 12}),
        Case(q.tema, q.tema_state(), ("close",), {"window": 12}),
        Case(q.rolling_max, q.extreme_state(CAPACITY), ("high",), {"window": 20}),
        Case(q.rolling_min, q.extreme_state(CAPACITY), ("low",), {"window": 20}),
        Case(q.rsi, q.rsi_state(), ("close",), {"window": 14}),
        Case(q.macd, q.macd_state(), ("close",), {"fast": 12, "slow": 26, "signal": 9}),
        Case(q.bollinger, q.bollinger_state(CAPACITY), ("close",), {"window": 20, "width": 2.0}),
        Case(q.zscore, q.zscore_state(CAPACITY), ("close",), {"window": 20}),
        Case(
            q.stochastic,
            q.stochastic_state(CAPACITY),
            HLC,
            {"window": 14, "smooth": 3, "signal": 3},
        ),
        Case(q.williams_r, q.williams_r_state(CAPACITY), HLC, {"window": 14}),
        Case(q.atr, q.atr_state(), HLC, {"window": 14}),
        Case(q.adx, q.adx_state(), HLC, {"window": 14}),
        Case(q.aroon, q.aroon_state(CAPACITY), ("high", "low"), {"window": 25}),
        Case(q.cci, q.cci_state(CAPACITY), HLC, {"window": 20}),
        Case(q.roc, q.roc_state(CAPACITY), ("close",), {"window": 10}),
        Case(q.obv, q.obv_state(), ("close", "volume"), {}),
        Case(q.mfi, q.mfi_state(CAPACITY), (*HLC, "volume"), {"window": 14}),
        Case(q.vwap, q.vwap_state(), (*HLC, "volume", "session"), {}),
        Case(q.rolling_vwap, q.rolling_vwap_state(CAPACITY), (*HLC, "volume"), {"window": 20}),
        Case(q.donchian, q.donchian_state(CAPACITY), ("high", "low"), {"window": 20}),
        Case(
            q.keltner,
            q.keltner_state(),
            HLC,
            {"window": 20, "range_window": 10, "width": 2.0},
        ),
        Case(
            q.realised_volatility,
            q.realised_volatility_state(CAPACITY),
            ("close",),
            {"window": 20, "periods": 252.0},
        ),
        Case(
            q.parkinson,
            q.parkinson_state(CAPACITY),
            ("high", "low"),
            {"window": 20, "periods": 252.0},
        ),
        Case(
            q.garman_klass,
            q.garman_klass_state(CAPACITY),
            OHLC,
            {"window": 20, "periods": 252.0},
        ),
        Case(q.yang_zhang, q.yang_zhang_state(CAPACITY), OHLC, {"window": 20, "periods": 252.0}),
        Case(q.regression, q.regression_state(CAPACITY), ("close",), {"window": 14}),
        Case(q.correlation, q.correlation_state(CAPACITY), ("open", "close"), {"window": 30}),
        Case(q.kalman_level, q.kalman_level_state(), ("close",), {"ratio": 0.1}),
        Case(
            q.kalman_hedge,
            q.kalman_hedge_state(),
            ("open", "close"),
            {"drift": 1e-4, "noise": 1e-3},
        ),
        Case(q.hurst, q.hurst_state(CAPACITY), ("close",), {"window": 60}),
        Case(
            q.volatility_regime,
            q.volatility_regime_state(CAPACITY),
            ("close",),
            {"short": 10, "long": 60, "enter": 1.5, "leave": 1.1},
        ),
        Case(
            q.markov_regime,
            q.markov_regime_state(),
            ("change",),
            {
                "calm_mean": 0.001,
                "calm_deviation": 0.01,
                "wild_mean": -0.001,
                "wild_deviation": 0.03,
                "calm_stay": 0.98,
                "wild_stay": 0.95,
            },
        ),
        Case(
            q.supertrend,
            q.supertrend_state(),
            HLC,
            {"window": 10, "width": 3.0},
        ),
        Case(
            q.parabolic,
            q.parabolic_state(),
            ("high", "low"),
            {"factor": 0.02, "factor_max": 0.2},
        ),
    )
}


def new_state(dtype: np.dtype[np.void]) -> np.void:
    """Return a state of zeros."""
    state: np.void = np.zeros(1, dtype)[0]
    return state


def over(case: Case, bars: Bars, state: np.void | None = None, **params: float) -> np.ndarray:
    """Return the indicator bar by bar, shape (n, number of values); `params` replace the case's."""
    state = new_state(case.state) if state is None else state
    columns = [bars[name].tolist() for name in case.columns]
    chosen = [repeat(value) for value in {**case.params, **params}.values()]
    values = list(map(case.update, repeat(state), *columns, *chosen))
    return np.array(values, dtype=float).reshape(len(values), -1)


def bars_of(close: np.ndarray, /, **columns: np.ndarray) -> Bars:
    """Return bars around `close`; columns that are not given are the close, volume 1."""
    base = dict.fromkeys(OHLC, close)
    volume = np.ones(len(close))
    session = np.zeros(len(close), dtype=np.int64)
    change = np.diff(np.log(close), prepend=np.log(close[0]))
    return {**base, "volume": volume, "session": session, "change": change, **columns}


def sp500(symbol: str) -> Bars:
    """Return the daily closes 1990-2022 of the installed sample.

    Only they are real: the range of a day is made of its close and the one before, the volume of
    the size of the move.
    """
    close = _sp500()[symbol].to_numpy(dtype=float)
    before = np.concatenate([close[:1], close[:-1]])
    return bars_of(
        close,
        open=before,
        high=np.maximum(close, before) * 1.001,
        low=np.minimum(close, before) * 0.999,
        volume=np.round(1e6 * (1.0 + 100.0 * np.abs(close / before - 1.0))),
    )


@cache
def _sp500() -> pd.DataFrame:
    return load_sp500_dataset()


def sp500_symbols() -> tuple[str, ...]:
    """Return all symbols of the sample."""
    return tuple(_sp500().columns)


@cache
def real_bars(folder: Path, name: str) -> dict[str, Bars]:
    """Return the bars of each symbol in `daily_raw` or `minute_trades`; skips if not there.

    The session of minutes is the UTC day.
    """
    path = folder / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"{name}.parquet is not in the folder of real market data")
    frame = pd.read_parquet(path)
    if "ts" in frame:
        frame["session"] = frame["ts"].dt.strftime("%Y%m%d").astype(int)
    return _by_symbol(frame)


def _by_symbol(frame: pd.DataFrame) -> dict[str, Bars]:
    found: dict[str, Bars] = {}
    for symbol, rows in frame.groupby("symbol"):
        columns = {name: rows[name].to_numpy(dtype=float) for name in (*OHLC, "volume")}
        if "session" in rows:
            columns["session"] = rows["session"].to_numpy()
        found[str(symbol)] = bars_of(columns["close"], **columns)
    return found


def assert_close(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1e-9) -> None:
    """Assert that both are NaN in the same places and else equal to within `tolerance`.

    Relative to the value where it is above 1.
    """
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    assert not np.isnan(ours).all()
    assert np.nanmax(np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))) <= tolerance
