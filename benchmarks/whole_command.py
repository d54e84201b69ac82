"""W2 as whole commands on one CSV file: import, load, run, metrics, and what a command keeps.

Ours also keeps the result as files, and in a second row writes the tear sheet. The peers' scripts
import, read, run and reckon their statistics, no more.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.beside import COLUMNS, HERE, HOME, apart, installed, same, timed
from benchmarks.results import Measurement
from benchmarks.workloads import Result

SECONDS: Final = 2.5
PEERS: Final = ("backtesting", "vectorbt")


def measure(data: Mapping[str, np.ndarray], ours: Result) -> list[Measurement]:
    """Return the seconds of our command and of the peers'."""
    ((symbol, bars),) = data.items()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / f"{symbol}.csv"
        write_csv(path, bars)
        seconds = {sheet: command(path, symbol, folder, ours, sheet) for sheet in (False, True)}
        found = [
            Measurement("whole command, W2", seconds[False], "s", target_value=SECONDS,
                        higher_is_better=False, note="`tradewind backtest … --no-report`"),
            Measurement("whole command with the tear sheet, W2", seconds[True], "s",
                        higher_is_better=False),
        ]  # fmt: skip
        return found + [peer(name, path, ours, seconds[False]) for name in PEERS]


def write_csv(path: Path, bars: np.ndarray) -> None:
    """Write bars as a file that all can read."""
    names = ["ts", *COLUMNS]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(bars[names].tolist())


def command(path: Path, symbol: str, folder: Path, ours: Result, sheet: bool) -> float:
    """Return the seconds of `tradewind backtest`; its result must be ours."""
    text, seconds = timed(
        [sys.executable, "-m", "cli", "backtest", "sma_cross", "--symbols", symbol,
         "--timeframe", "1m", "--data", str(path), "--cash", "1e7",
         "--set", "fast=10", "--set", "slow=30", "--model", "commission.percent=0.001",
         "--sizing", "method=fixed_quantity", "--sizing", "figure=100",
         "--out", str(folder / "result"), "--json", "--report" if sheet else "--no-report"],
        rounds=3,
    )  # fmt: skip
    told = json.loads(text)
    result = Result(told["fills"], told["equity_last"])
    assert same(ours, result), (ours, result)
    return seconds


def peer(name: str, path: Path, ours: Result, seconds: float) -> Measurement:
    """Return our seconds beside those of a peer's script, or say why there are none."""
    label = f"whole command, W2, beside {name}"
    python = HOME / "bin" / "python"
    if not python.exists() or not installed(python, name):
        return Measurement(label, seconds, "s", note="not installed here: `make peers`")
    try:
        text, theirs = timed([str(python), str(HERE / f"run_{name}.py"), "whole", str(path)], 1)
    except subprocess.TimeoutExpired as error:
        return Measurement(label, seconds, "s", note=f"not done after {error.timeout:.0f} s")
    except subprocess.CalledProcessError as error:
        return Measurement(label, seconds, "s", note=f"failed: {error.stderr.strip()[-120:]}")
    told = json.loads(text.splitlines()[-1])
    result = Result(told["fills"], told["equity"])
    if not same(ours, result):
        return Measurement(label, seconds, "s", note=apart(ours, result))
    return Measurement(
        label, seconds, "s", theirs, name, target_ratio=1.0, higher_is_better=False,
        note="same fills, same equity",
    )  # fmt: skip
