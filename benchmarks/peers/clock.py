"""What every peer's script shares: the data, the clock, the answer."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

CASH = 1e7
FEE = 0.001
SHARES = 100


def frame() -> pd.DataFrame:
    """Return the bars of the file named on the command line: of a NumPy file's first symbol, or
    those of a CSV file."""
    if sys.argv[2].endswith(".csv"):
        bars = pd.read_csv(sys.argv[2])
        bars.index = pd.DatetimeIndex(bars.pop("ts"))
        return bars.rename(columns=str.title)
    data = np.load(sys.argv[2])
    columns = {
        name.title(): data[name][:, 0] for name in ("open", "high", "low", "close", "volume")
    }
    return pd.DataFrame(columns, index=pd.DatetimeIndex(data["ts"]))


def panel(name: str) -> pd.DataFrame:
    """Return one field of all symbols."""
    data = np.load(sys.argv[2])
    return pd.DataFrame(data[name], index=pd.DatetimeIndex(data["ts"]))


def wanted(close: pd.Series, fast: int = 10, slow: int = 30) -> pd.Series:
    """Return the rule's target: 1 while SMA(fast) > SMA(slow), else 0."""
    return (close.rolling(fast).mean() > close.rolling(slow).mean()).astype(float)


def report(run: Callable[[], tuple[int, float]], rounds: int) -> None:
    """Print fills, equity and the least seconds of some rounds, after one that warms up."""
    fills, equity = run() if rounds > 1 else (0, 0.0)
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        fills, equity = run()
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"fills": int(fills), "equity": float(equity), "seconds": min(seconds)}))
