"""Strategies that know later bars, each by another way, and honest ones that look like them."""

from __future__ import annotations

import csv
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skfolio.datasets import load_sp500_dataset

from libs.common.quant.indicators import ema, ema_state
from libs.common.quant.simulation.records import BAR
from libs.common.strategy import CrossStrategy, PythonStrategy, Strategy, integer
from libs.common.strategy.definition import Params as Chosen

DAYS = 400


def sample_bars(symbol: str) -> np.ndarray:
    """The last days of a stock of the sample; each bar opens at the close before."""
    prices = load_sp500_dataset()[symbol].iloc[-DAYS:]
    bars = np.zeros(DAYS, BAR)
    bars["ts"] = prices.index.to_numpy("datetime64[ns]").astype(np.int64)
    bars["close"] = prices.to_numpy(float)
    bars["open"] = np.concatenate([bars["close"][:1], bars["close"][:-1]])
    bars["high"] = np.maximum(bars["open"], bars["close"])
    bars["low"] = np.minimum(bars["open"], bars["close"])
    bars["volume"] = 1_000.0
    return bars


AAPL = sample_bars("AAPL")
CLOSES = AAPL["close"].copy()
TABLE = pd.Series(CLOSES, index=AAPL["ts"])
BEFORE: list[float] = []


class PeekArray(Strategy):
    """Compiled, with tomorrow's close from an array of its module."""

    class State:
        seen = np.int64

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        state.seen += 1
        if state.seen < len(CLOSES):
            out.target = 1.0 if CLOSES[state.seen] > bar.close else 0.0


class PeekBase(PythonStrategy):
    """Looks past its window into the array that the window is cut from."""

    history = 5

    def step(self, bar: Any, out: Any) -> None:
        base = self.bars.base
        later = base["close"][base["ts"] > bar.ts] if base is not None else np.empty(0)
        out.target = 1.0 if len(later) and later[0] > bar.close else 0.0


class PeekFile(PythonStrategy):
    """Reads the closes from a file before its first step."""

    path = Path(tempfile.mkdtemp(prefix="tradewind-test-")) / "closes.csv"

    def prepare(self) -> None:
        with open(self.path, newline="") as file:
            self.known = {int(ts): float(close) for ts, close in csv.reader(file)}

    def step(self, bar: Any, out: Any) -> None:
        later = self.known.get(bar.ts + 86_400_000_000_000, bar.close)
        out.target = 1.0 if later > bar.close else 0.0


with open(PeekFile.path, "w", newline="") as written:
    csv.writer(written).writerows(zip(AAPL["ts"].tolist(), CLOSES.tolist(), strict=True))


class PeekTable(PythonStrategy):
    """Looks up the next close in a table of its module."""

    def step(self, bar: Any, out: Any) -> None:
        at = int(TABLE.index.searchsorted(bar.ts, side="right"))
        later = TABLE.iloc[at] if at < len(TABLE) else bar.close
        out.target = 1.0 if later > bar.close else 0.0


class PeekMemory(PythonStrategy):
    """Writes down in its first run what it needs in the second."""

    class State:
        seen = 0

    def step(self, bar: Any, out: Any) -> None:
        self.state.seen += 1
        if len(BEFORE) < self.state.seen:
            BEFORE.append(bar.close)
        later = BEFORE[self.state.seen] if self.state.seen < len(BEFORE) else bar.close
        out.target = 1.0 if later > bar.close else 0.0


class PeekUniverse(CrossStrategy):
    """On two symbols, compiled, with an array of its module."""

    universe_max = 2

    class State:
        seen = np.int64

    @staticmethod
    def step(state: Any, bars: Any, params: Any, out: Any) -> None:
        state.seen += 1
        if state.seen < len(CLOSES):
            for i in range(len(bars)):
                out[i].target = 1.0 if CLOSES[state.seen] > CLOSES[state.seen - 1] else -1.0


class TurnOfMonth(PythonStrategy):
    """Long at the end and the beginning of months: moved by dates, and honest."""

    def step(self, bar: Any, out: Any) -> None:
        day = datetime.fromtimestamp(bar.ts / 1e9, UTC).day
        out.target = 1.0 if day <= 3 or day >= 28 else 0.0


class HonestPython(PythonStrategy):
    """Long above the mean of the last closes."""

    history = 10

    def step(self, bar: Any, out: Any) -> None:
        if len(self.bars) == 10:
            out.target = 1.0 if bar.close > self.bars["close"].mean() else 0.0


class HonestPair(CrossStrategy):
    """Long the one that rose more on this bar."""

    universe_max = 2

    class State:
        seen = np.int64

    @staticmethod
    def step(state: Any, bars: Any, params: Any, out: Any) -> None:
        first = bars[0].close / bars[0].open > bars[1].close / bars[1].open
        out[0].target = 1.0 if first else 0.0
        out[1].target = 0.0 if first else 1.0


class SlowStop(Strategy):
    """Always long, with its stop at half an exponential average."""

    class Params:
        window = integer(20, low=2, high=200)
        declared = integer(20, low=0, high=2_000)

    class State:
        average = ema_state()
        seen = np.int64

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return what the parameters say."""
        return int(params["declared"])

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        value = ema(state.average, bar.close, params.window)
        state.seen += 1
        if state.seen >= params.window:
            out.target = 1.0
            out.stop = 0.5 * value


class NeverForgets(Strategy):
    """Long above the first close it ever saw."""

    class State:
        seen = np.int64  # the first close in thousandths: one layout is compiled once

    @staticmethod
    def warmup(params: Chosen) -> int:
        """Return one bar."""
        return 1

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        if state.seen == 0:
            state.seen = int(bar.close * 1_000.0)
        out.target = 1.0 if bar.close * 1_000.0 > state.seen else 0.0
