"""Backtests beside their peers: the same data, rule and fills, then the speed.

The peers run in environments of their own (`make peers`), each in a process of its own, on all bars
of the workload. A peer's speed is shown only where its fills and its final equity (to the cent) are
ours; where they are not, the note says by how much they differ. Bare loop: the same crossover by
hand in one Numba function, cash and position in two variables, no orders, no books, no limits.

Not driven: zipline. It reads only bundles that were made for it on an exchange's calendar, and at
its pace W4 takes three minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np

from benchmarks import flat_memory, whole_command
from benchmarks.beside import beside
from benchmarks.interpreted import interpreted, plain_loop
from benchmarks.results import Measurement
from benchmarks.workloads import RUNS, Result, basket, crossover, monthly, pairs, sweep, walks
from libs.common.quant.simulation.market import Market

PEERS: Final = {
    "W1": ("vectorbt",),
    "W2": ("vectorbt", "backtesting", "backtrader", "nautilus_trader"),
    "W3": ("vectorbt",),
    "W4": ("vectorbt", "bt"),
}
ROUNDS: Final = 5
WINDOWS: Final = {"fast": 10, "slow": 30}
# What the rule came to when it was first written down, by an independent bare loop.
W1_KNOWN: Final = Result(38_580, 9_559_004.17)


def run() -> list[Measurement]:
    """Return bars/s (W1, W2, W4, interpreted), backtests/s (W3), seconds of whole commands, and
    memory: ours beside bare loop and peers."""
    one, two = walks(1_000_000), walks(50_000)
    many = walks(5_000, symbols=100, sigma=0.01)
    first, second, basket_market = Market.of(one), Market.of(two), basket(many)
    chosen = pairs(RUNS)
    works: dict[str, tuple[Callable[[], Result], Any, float, str, float]] = {
        "W1": (lambda: crossover(first, WINDOWS), one, 1e6, "bars/s", 50e6),
        "W2": (lambda: crossover(second, WINDOWS), two, 5e4, "bars/s", 20e6),
        "W3": (lambda: sweep(second, chosen), two, len(chosen), "backtests/s", 2_000.0),
        "W4": (lambda: monthly(basket_market), many, 5e5, "bars/s", 50e6),
    }
    found, results = [], {}
    for name, (work, data, size, unit, target) in works.items():
        ours, seconds = least(work)
        results[name] = ours
        if name == "W1":
            check("bare loop's known result", ours, W1_KNOWN)
        bare = None
        if name in ("W1", "W2"):
            bare = size / bare_seconds(next(iter(data.values())), ours)
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
        found += [beside(p, name, data, ours, size, size / seconds, unit) for p in PEERS[name]]
    found.append(flat_memory.measure())
    found += in_python(two, second, results["W2"])
    return found + whole_command.measure(two, results["W2"])


def in_python(data: dict[str, np.ndarray], market: Market, ours: Result) -> list[Measurement]:
    """Return an interpreted strategy's bars/s on W2 beside a plain loop and backtesting.py."""
    (bars,) = data.values()
    name, size = "PythonStrategy, W2", float(len(bars))
    result, seconds = least(lambda: interpreted(market))
    check(name, ours, result)
    result, plain = least(lambda: plain_loop(bars))
    check("plain loop", ours, result)
    rate = size / seconds
    return [
        Measurement(name, rate, "bars/s", size / plain, "plain Python loop", target_ratio=0.4,
                    note="the loop: no call a bar, no kept state, no check of decisions"),
        beside("backtesting", name, data, ours, size, rate, "bars/s", ratio=3.0),
    ]  # fmt: skip


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
