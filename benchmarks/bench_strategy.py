"""A strategy's step: one bar at a time as in the live engine, and a million in the loop.

Bars: geometric random walk, NumPy seed 7. Floors of the same run: for a live step the bare call of
an empty compiled function with the same four records (what Numba's dispatch costs); for the loop
the same crossover written by hand as one Numba function over an array of closes, without state
that could be saved, decisions, or a judgement of them; for a strategy in ordinary Python the same
two averages in a plain Python loop over the bars as tuples.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numba
import numpy as np

from benchmarks.results import Measurement, percentiles
from libs.common.backtest.shelf import load_named
from libs.common.domain.timeframes import Timeframe
from libs.common.domain.vocabulary import StrategyMode
from libs.common.quant.simulation.records import BAR, DECISION
from libs.common.strategy import (
    Definition,
    PythonRunner,
    PythonStrategy,
    Runner,
    SingleDefinition,
)
from libs.common.strategy.fusion_runner import FusionRunner
from libs.common.strategy.python import Bar, Decision
from services.strategy_engine.bars import Arrival
from services.strategy_engine.configuration import Configuration
from services.strategy_engine.streams import Stream
from strategies.ema_cross import EmaCross
from strategies.rsi_reversion import RsiReversion
from strategies.sma_cross import SmaCross

BARS = 1_000_000
CALLS = 100_000
ROUNDS = 5
FUSED = 20_000
STRATEGIES = Path(__file__).resolve().parents[1] / "strategies"


def run() -> list[Measurement]:
    """Return step latencies in µs and loop rates in bars/s, each beside its floor."""
    bars = walk()
    floor = measure_calls(empty_call(SmaCross.definition), bars)
    results = []
    for definition in (SmaCross.definition, RsiReversion.definition):
        results += live(definition, bars, floor)
    bare = bare_rate(bars)
    return [
        *results,
        loop_rate(SmaCross.definition, bars, bare),
        python_rate(bars),
        fusion_cost(bars[:FUSED]),
    ]


def walk() -> np.ndarray:
    """Return the bars: prices around 100, 1 % a bar."""
    bars = np.zeros(BARS, BAR)
    bars["ts"] = np.arange(1, BARS + 1) * 60 * 10**9
    moves = np.random.default_rng(7).normal(0.0, 0.01, BARS)
    bars["close"] = 100.0 * np.exp(np.cumsum(moves - moves.mean()))
    for name in ("open", "high", "low"):
        bars[name] = bars["close"]
    return bars


def empty_call(definition: SingleDefinition) -> Callable[[Any], object]:
    """Return a call of a compiled function that does nothing with the step's four records."""

    @numba.njit
    def nothing(state: Any, bar: Any, params: Any, out: Any) -> None:
        pass

    state = np.zeros(1, definition.state)[0]
    params = np.zeros(1, definition.schema.dtype)[0]
    out = np.zeros(1, DECISION)[0]
    return lambda bar: nothing(state, bar, params, out)


def measure_calls(call: Callable[[Any], object], bars: np.ndarray) -> list[float]:
    """Return the µs of `CALLS` single calls, the first ones left out."""
    records = list(bars[: CALLS + 1000])
    for record in records[:1000]:
        call(record)
    times = []
    for record in records[1000:]:
        started = time.perf_counter_ns()
        call(record)
        times.append((time.perf_counter_ns() - started) / 1000)
    return times


def live(definition: Definition, bars: np.ndarray, floor: list[float]) -> list[Measurement]:
    """Return the figures of one strategy stepped as the engine steps it."""
    step = measure_calls(Runner(definition, {}).step, bars)
    configuration = Configuration(
        definition.name,
        definition.name,
        "",
        {},
        ("X",),
        Timeframe.MINUTE,
        Decimal(1),
        True,
        StrategyMode.LIVE,
    )
    stream = Stream(configuration, "", "X", Runner(definition, {}, "X"), warmed=True)
    correlation_id = uuid.UUID(int=1)
    taken = measure_calls(lambda bar: stream.take({"X": Arrival(bar, correlation_id)}), bars)
    step_p, floor_p = percentiles(step), percentiles(floor)
    taken_p = percentiles(taken)
    name = definition.name
    return [
        Measurement(
            f"{name}: step p50", step_p["p50"], "µs", floor_p["p50"], "empty compiled call",
            target_value=100.0, higher_is_better=False,
        ),
        Measurement(
            f"{name}: step p99", step_p["p99"], "µs", floor_p["p99"], "empty compiled call",
            target_value=100.0, higher_is_better=False, note=tail(step_p),
        ),
        Measurement(
            f"{name}: engine's step (snapshot, metrics) p99", taken_p["p99"], "µs",
            floor_p["p99"], "empty compiled call",
            target_value=100.0, higher_is_better=False, note=tail(taken_p),
        ),
        Measurement(
            f"{name}: live steps", 1e6 * len(taken) / sum(taken), "steps/s",
            1e6 * len(floor) / sum(floor), "empty compiled calls",
            target_value=100_000.0,
        ),
    ]  # fmt: skip


def tail(figures: dict[str, float]) -> str:
    """Return the far end of a distribution in words."""
    return f"p99.9 {figures['p99.9']:.1f}, max {figures['max']:.0f}"


@numba.njit(error_model="numpy")
def _bare(closes: Any, fast: int, slow: int) -> int:
    total_fast = total_slow = 0.0
    changes = 0
    held = -1.0
    for i in range(closes.shape[0]):
        total_fast += closes[i]
        total_slow += closes[i]
        if i >= fast:
            total_fast -= closes[i - fast]
        if i >= slow:
            total_slow -= closes[i - slow]
        if i >= slow - 1:
            target = 1.0 if total_fast / fast > total_slow / slow else 0.0
            changes += target != held
            held = target
    return changes


def best_rate(work: Callable[[], object]) -> float:
    """Return the bars/s of the best of some rounds; the first, which compiles, is left out."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return BARS / min(seconds)


def bare_rate(bars: np.ndarray) -> float:
    """Return the bars/s of the hand-written crossover."""
    closes = np.ascontiguousarray(bars["close"])
    return best_rate(lambda: _bare(closes, 10, 30))


def loop_rate(definition: Definition, bars: np.ndarray, floor: float) -> Measurement:
    """Return the bars/s of the strategy in the loop, all decisions kept."""
    rate = best_rate(lambda: Runner(definition, {}).run(bars))
    return Measurement(
        f"{definition.name}: loop, decisions kept", rate, "bars/s", floor, "bare Numba loop",
        target_value=10_000_000.0,
    )  # fmt: skip


FAST, SLOW = 0.18, 0.065


class PlainCross(PythonStrategy):
    """Long while the fast average is above the slow one, in ordinary Python."""

    class State:
        """The two averages."""

        fast = 0.0
        slow = 0.0

    def step(self, bar: Bar, out: Decision) -> None:
        """Move both averages towards the close."""
        state, close = self.state, bar.close
        state.fast = fast = state.fast + FAST * (close - state.fast)
        state.slow = slow = state.slow + SLOW * (close - state.slow)
        out.target = 1.0 if fast > slow else 0.0


def _plain(bars: np.ndarray) -> list[tuple[int, float]]:
    fast = slow = 0.0
    held = None
    signals = []
    for i, (_, _, _, _, close, _) in enumerate(bars.tolist()):
        fast += FAST * (close - fast)
        slow += SLOW * (close - slow)
        target = 1.0 if fast > slow else 0.0
        if target != held:
            signals.append((i, target))
            held = target
    return signals


def python_rate(bars: np.ndarray) -> Measurement:
    """Return the bars/s of a strategy in ordinary Python beside those of a plain loop."""

    def ours() -> np.ndarray:
        return PythonRunner(PlainCross.definition, {}, "X").decide({"X": bars})["X"]

    signals, plain = ours(), _plain(bars)
    if [(int(row["index"]), float(row["target"])) for row in signals] != plain:
        raise AssertionError("the signals differ: nothing to compare")
    return Measurement(
        "strategy in ordinary Python", best_rate(ours), "bars/s",
        best_rate(lambda: _plain(bars)), "plain Python loop",
        target_value=250_000.0,
    )  # fmt: skip


def fusion_cost(bars: np.ndarray) -> Measurement:
    """Return the µs of processor time that a fusion of three members takes for a bar, beside those
    of its members stepped alone one bar at a time."""
    members = {"sma_cross": 1.0, "rsi_reversion": 1.0, "ema_cross": 1.0}
    params = {f"{name}.weight": weight for name, weight in members.items()}
    registry = load_named(["fusion"], [STRATEGIES])
    definition = registry.get("fusion").definition

    def fused() -> float:
        runner = FusionRunner(definition, params)
        began = time.process_time()
        runner.decide({"": bars})
        return (time.process_time() - began) / len(bars) * 1e6

    def alone() -> float:
        runners = [Runner(one.definition, {}) for one in (SmaCross, RsiReversion, EmaCross)]
        began = time.process_time()
        for bar in bars:
            for runner in runners:
                runner.step(bar)
        return (time.process_time() - began) / len(bars) * 1e6

    fused(), alone()
    return Measurement(
        "fusion of three members, one bar (processor time)",
        min(fused() for _ in range(3)),
        "µs",
        min(alone() for _ in range(3)),
        "its members alone",
        higher_is_better=False,
    )
