"""Built-in strategies by name, and bars to step them over by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from libs.common.quant.simulation.records import BAR
from libs.common.strategy import Runner
from libs.common.strategy.definition import Definition
from libs.common.strategy.loader import load_file

ROOT = Path(__file__).resolve().parents[2]
DAY_NS = 86_400_000_000_000
MINUTE_NS = 60_000_000_000
# A Monday, 9:30 in New York.
OPEN_NS = int(dt.datetime(2013, 10, 7, 13, 30, tzinfo=dt.UTC).timestamp()) * 10**9


@cache
def builtin(name: str) -> Definition:
    """Return the strategy of strategies/`name`.py, loaded as the engine loads it."""
    (loaded,) = load_file(ROOT / "strategies" / f"{name}.py")
    assert loaded.definition.name == name
    return loaded.definition


def bars(
    close: Sequence[float],
    *,
    high: Sequence[float] | None = None,
    low: Sequence[float] | None = None,
    start: int = OPEN_NS,
    step: int = DAY_NS,
) -> np.ndarray:
    """Return bars with these closes; high and low are the close where not given, volume 100."""
    made = np.zeros(len(close), BAR)
    made["ts"] = start + step * np.arange(len(close))
    made["open"] = made["close"] = close
    made["high"] = close if high is None else high
    made["low"] = close if low is None else low
    made["volume"] = 100.0
    return made


def stepped(name: str, made: np.ndarray, **params: float) -> tuple[list[float], list[float]]:
    """Return targets and stops, bar by bar, NaN for none."""
    runner = Runner(builtin(name), params)
    targets, stops = [], []
    for bar in made:
        runner.step(bar)
        targets.append(float(runner.decision["target"]))
        stops.append(float(runner.decision["stop"]))
    return targets, stops
