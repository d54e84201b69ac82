"""The loop with the step inlined gives the bits of the live step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.common.quant.simulation.records import BAR, DECISION, SIGNAL
from libs.common.strategy import Runner
from libs.common.strategy.definition import SingleDefinition, narrowed
from libs.common.strategy.errors import StepError
from libs.common.strategy.loader import load_file
from strategies.rsi_reversion import RsiReversion
from strategies.sma_cross import SmaCross

ROOT = Path(__file__).resolve().parents[3]


def walk(count: int, seed: int = 7) -> np.ndarray:
    bars = np.zeros(count, BAR)
    bars["ts"] = np.arange(1, count + 1) * 60 * 10**9
    moves = np.random.default_rng(seed).normal(0.0, 0.01, count)
    bars["close"] = 100.0 * np.exp(np.cumsum(moves))
    for name in ("open", "high", "low"):
        bars[name] = bars["close"]
    return bars


def live(definition: Any, bars: np.ndarray) -> tuple[np.ndarray, bytes]:
    """Return signals and memory of a strategy stepped one bar at a time."""
    runner = Runner(definition, {})
    found = []
    for i, bar in enumerate(bars):
        if runner.step(bar):
            found.append((i, *(float(runner.decision[name]) for name in DECISION.names or ())))
    return np.array(found, SIGNAL), runner.save()


@pytest.mark.parametrize("strategy", [SmaCross, RsiReversion])
def test_signals_and_memory_equal_the_live_ones_to_the_bit(strategy: Any) -> None:
    bars = walk(20_000)
    signals, memory = live(strategy.definition, bars)
    runner = Runner(strategy.definition, {}, "X")
    found = runner.decide({"X": bars})["X"]
    assert len(found) > 100
    assert found.tobytes() == signals.tobytes()
    assert runner.save() == memory


def test_a_loop_taken_up_where_it_was_left_gives_the_same() -> None:
    bars = walk(3_000)
    whole = Runner(SmaCross.definition, {}, "X")
    halves = Runner(SmaCross.definition, {}, "X")
    at_once = whole.decide({"X": bars})["X"]
    first, second = (halves.decide({"X": part})["X"] for part in (bars[:1_111], bars[1_111:]))
    assert len(first) + len(second) == len(at_once)
    assert list(second["target"]) == list(at_once["target"][len(first) :])
    assert halves.save() == whole.save()


SOURCE = '''
from typing import Any
import numpy as np
from libs.common.strategy import Strategy

class Talkative(Strategy):
    """Says all that can be said, and now and then the same again."""

    class State:
        bars = np.int64

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Walk through the combinations."""
        state.bars += 1
        k = state.bars
        if k % 5 == 0:
            return
        out.target = (k // 7 % 3 - 1) * 0.5
        if k // 11 % 2:
            out.stop = 90.0
        if k // 13 % 2:
            out.take_profit = 110.0
        if k // 17 % 2:
            out.limit = 100.0
        if k // 19 % 2:
            out.confidence = 0.5
        if k % 23 == 0:
            out.rebalance = 1.0
        if k == {bad}:
            out.target = 2.0
'''


def test_every_field_counts_as_it_does_live(tmp_path: Path) -> None:
    path = tmp_path / "talkative.py"
    path.write_text(SOURCE.replace("{bad}", "-1"))
    (loaded,) = load_file(path)
    bars = walk(2_000)
    signals, memory = live(loaded.definition, bars)
    runner = Runner(loaded.definition, {}, "X")
    assert runner.decide({"X": bars})["X"].tobytes() == signals.tobytes()
    assert runner.save() == memory


def test_a_decision_out_of_range_names_its_bar(tmp_path: Path) -> None:
    path = tmp_path / "talkative.py"
    path.write_text(SOURCE.replace("{bad}", "123"))
    (loaded,) = load_file(path)
    with pytest.raises(StepError, match=r"02:03:00.*target=2\.0"):
        Runner(loaded.definition, {}, "X").decide({"X": walk(500)})


def test_the_inlined_loop_comes_from_disk_in_the_next_process() -> None:
    code = (
        "from strategies.sma_cross import SmaCross\n"
        "loop = SmaCross.definition.inlined\n"
        "print(sum(loop.stats.cache_hits.values()), sum(loop.stats.cache_misses.values()))\n"
    )
    narrowed(SmaCross.definition, SingleDefinition).inlined  # noqa: B018
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "0"]
