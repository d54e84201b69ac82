"""Backtests beside their peers: the same data, rule and fills, then the speed.

The peers run in an environment of their own (`make peers`), each in a process of its own;
nautilus_trader and zipline are not driven. A peer's
speed is shown only where its fills and its final equity (to the cent) are ours; where they are not,
the note says by how much they differ. Bare loop: the same crossover by hand in one Numba function,
cash and position in two variables, no orders, no books, no limits.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np

from benchmarks.results import Measurement
from benchmarks.workloads import PAIRS, Result, crossover, monthly, sweep, walks
from libs.common.quant.simulation.market import Market

HERE: Final = Path(__file__).resolve().parent / "peers"
PYTHON: Final = HERE.parents[1] / ".venv-peers" / "bin" / "python"
PEERS: Final = {
    "W1": ("vectorbt",),
    "W2": ("vectorbt", "backtesting", "backtrader"),
    "W3": ("vectorbt",),
    "W4": ("vectorbt",),
}
ROUNDS: Final = 5
WINDOWS: Final = {"fast": 10, "slow": 30}
# What the rule came to when it was first written down, by an independent bare loop.
W1_KNOWN: Final = Result(38_580, 9_559_004.17)


def run() -> list[Measurement]:
    """Return bars/s (W1, W2, W4) and backtests/s (W3), ours beside bare loop and peers."""
    one, two = walks(1_000_000), walks(50_000)
    many = walks(5_000, symbols=100, sigma=0.01)
    markets = {"W1": Market.of(one), "W2": Market.of(two), "W4": Market.of(many)}
    markets["W3"] = markets["W2"]
    works: dict[str, tuple[Callable[[], Result], float, str, float]] = {
        "W1": (lambda: crossover(markets["W1"], WINDOWS), 1e6, "bars/s", 50e6),
        "W2": (lambda: crossover(markets["W2"], WINDOWS), 5e4, "bars/s", 20e6),
        "W3": (lambda: sweep(markets["W3"]), len(PAIRS), "backtests/s", 2_000.0),
        "W4": (lambda: monthly(markets["W4"]), 5e5, "bars/s", 50e6),
    }
    found = []
    for name, (work, size, unit, target) in works.items():
        ours, seconds = least(work)
        if name == "W1":
            check("bare loop's known result", ours, W1_KNOWN)
        bare = None
        if name in ("W1", "W2"):
            bare = size / bare_seconds(next(iter((one if name == "W1" else two).values())), ours)
        found.append(
            Measurement(
                name,
                size / seconds,
                unit,
                bare,
                "bare Numba loop" if bare else "",
                target_value=target,
                note=f"{ours.fills:,} fills, equity {ours.equity:,.2f}",
            )
        )
        data = many if name == "W4" else (one if name == "W1" else two)
        found += [peer(p, name, data, ours, size, size / seconds, unit) for p in PEERS[name]]
    return found


def least(work: Callable[[], Result]) -> tuple[Result, float]:
    """Return the result and the least seconds of some rounds; the first, which compiles, is left
    out."""
    result = work()
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        assert work() == result
        seconds.append(time.perf_counter() - started)
    return result, min(seconds)


def check(what: str, ours: Result, theirs: Result) -> None:
    """Stop unless both results are the same, equity to the cent."""
    assert ours.fills == theirs.fills, (what, ours, theirs)
    assert round(ours.equity, 2) == round(theirs.equity, 2), (what, ours, theirs)


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _bare(opens: Any, closes: Any, curve: Any) -> int:
    cash, held, want, fills = 1e7, 0.0, 0.0, 0
    fast = slow = 0.0
    for i in range(closes.shape[0]):
        if want != held:
            cash -= (want - held) * opens[i] + abs(want - held) * opens[i] * 0.001
            held = want
            fills += 1
        fast += closes[i]
        slow += closes[i]
        if i >= 10:
            fast -= closes[i - 10]
        if i >= 30:
            slow -= closes[i - 30]
        if i >= 29:
            want = 100.0 if fast / 10 > slow / 30 else 0.0
        curve[i] = cash + held * closes[i]
    return fills


def bare_seconds(bars: np.ndarray, ours: Result) -> float:
    """Return the least seconds of the bare loop; its result must be ours."""
    opens, closes = np.ascontiguousarray(bars["open"]), np.ascontiguousarray(bars["close"])
    curve = np.empty(len(bars))

    def work() -> Result:
        return Result(_bare(opens, closes, curve), float(curve[-1]))

    result, seconds = least(work)
    check("bare loop", ours, result)
    return seconds


def peer(
    name: str,
    work: str,
    data: dict[str, np.ndarray],
    ours: Result,
    size: float,
    rate: float,
    unit: str,
) -> Measurement:
    """Return our rate beside the peer's, or say why there is no comparison."""
    label = f"{work} beside {name}"
    if not PYTHON.exists():
        return Measurement(label, rate, unit, note="not installed here: `make peers`")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        fields = {
            field: np.column_stack([bars[field] for bars in data.values()])
            for field in ("open", "high", "low", "close", "volume")
        }
        np.savez(path, ts=next(iter(data.values()))["ts"], **fields)
        done = subprocess.run(
            [str(PYTHON), str(HERE / f"run_{name}.py"), work, str(path)],
            capture_output=True, text=True, timeout=1800,
        )  # fmt: skip
    if done.returncode:
        return Measurement(label, rate, unit, note=f"failed: {done.stderr.strip()[-120:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    same = told["fills"] == ours.fills and abs(told["equity"] - ours.equity) < 0.01
    if not same:
        apart = f"{told['fills']:,} fills, equity {told['equity']:,.2f}; no speed is compared"
        return Measurement(label, rate, unit, note=f"differs: {apart}")
    return Measurement(
        label, rate, unit, size / told["seconds"], name,
        target_ratio=5.0, note="same fills, same equity",
    )  # fmt: skip
