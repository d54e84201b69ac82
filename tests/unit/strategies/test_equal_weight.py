"""Equal weights by hand."""

from __future__ import annotations

import datetime as dt

import numpy as np

from libs.common.kernel.clock import to_ns
from libs.common.quant.simulation.records import BAR
from libs.common.strategy import CrossRunner
from strategies.equal_weight import EqualWeight


def days(first: str, count: int) -> np.ndarray:
    """Return one bar a day from `first` on."""
    begin = to_ns(dt.datetime.fromisoformat(first).replace(tzinfo=dt.UTC))
    bars = np.zeros(count, BAR)
    bars["ts"] = begin + np.arange(count) * 86_400 * 10**9
    for name in ("open", "high", "low", "close"):
        bars[name] = 100.0
    return bars


def told(signals: np.ndarray) -> list[tuple[int, float, float]]:
    return [(int(r["index"]), float(r["target"]), float(r["rebalance"])) for r in signals]


def test_each_month_begins_with_a_rebalancing() -> None:
    bars = days("2024-01-15", 50)  # 31 January has index 16, 1 March index 46
    signals = CrossRunner(EqualWeight.definition, {}, ("A", "B")).decide({"A": bars, "B": bars})
    assert told(signals["A"]) == [(0, 0.5, 1.0), (17, 0.5, 1.0), (46, 0.5, 1.0)]
    assert told(signals["B"]) == told(signals["A"])


def test_every_second_month() -> None:
    bars = days("2024-01-15", 50)
    signals = CrossRunner(EqualWeight.definition, {"months": 2}, ("A",)).decide({"A": bars})
    assert told(signals["A"]) == [(0, 1.0, 1.0), (46, 1.0, 1.0)]


def test_symbol_that_begins_to_trade_gets_its_share_at_once() -> None:
    history = {"A": days("2024-01-15", 10), "B": days("2024-01-18", 7)}
    signals = CrossRunner(EqualWeight.definition, {}, ("A", "B")).decide(history)
    assert told(signals["A"]) == [(0, 1.0, 1.0), (3, 0.5, 1.0)]
    assert told(signals["B"]) == [(0, 0.5, 1.0)]
