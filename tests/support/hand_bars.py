"""Bars made by hand: closes on chosen days, and signals as plain rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np

from libs.common.kernel.clock import to_ns
from libs.common.quant.simulation.records import BAR

DAY_NS = 86_400 * 10**9


def at(day: str) -> int:
    """Return midnight UTC of an ISO day in ns."""
    return to_ns(dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC))


def daily(closes: Sequence[float], first: str = "2024-01-01", reach: float = 0.0) -> np.ndarray:
    """Return one bar a day from `first` on; highs and lows are `reach` beyond the close."""
    return _bars([at(first) + i * DAY_NS for i in range(len(closes))], closes, reach)


def monthly(closes: Sequence[float], first: str = "2024-01") -> np.ndarray:
    """Return one bar a month, on its fifteenth."""
    year, month = map(int, first.split("-"))
    months = [year * 12 + month - 1 + i for i in range(len(closes))]
    return _bars([at(f"{m // 12}-{m % 12 + 1:02}-15") for m in months], closes, 0.0)


def _bars(times: Sequence[int], closes: Sequence[float], reach: float) -> np.ndarray:
    bars = np.zeros(len(times), BAR)
    bars["ts"], bars["close"], bars["volume"] = times, closes, 1.0
    bars["open"] = np.concatenate([bars["close"][:1], bars["close"][:-1]])
    bars["high"], bars["low"] = bars["close"] + reach, bars["close"] - reach
    return bars


def told(signals: np.ndarray) -> list[tuple[int, float]]:
    """Return (index, target) of signals (SIGNAL), targets to six places."""
    return [(int(row["index"]), round(float(row["target"]), 6)) for row in signals]
