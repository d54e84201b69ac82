"""What a trial steps over, and what it finds without a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from libs.common.domain.timeframes import Timeframe
from libs.common.strategy.errors import StepError, StrategyFileError
from libs.common.strategy.loader import load_file, strategy_files
from libs.common.strategy.trial import Tried, sample_bars, try_out

BUILT_IN = Path(__file__).parents[3] / "strategies"
FILE = (
    "import random\nfrom libs.common.strategy import PythonStrategy\nclass Mine(PythonStrategy):\n"
    "    class State:\n        kept = 0.0\n\n    def step(self, bar, out):\n        {0}\n"
)


def tried(path: Path) -> Tried:
    (loaded,) = load_file(path)
    seen: list[int] = []
    result = try_out(loaded, seen.append)
    assert len(seen) == result.bars
    return result


@pytest.mark.parametrize("name", ["sma_cross", "equal_weight"])
def test_built_in_strategies_pass_their_trial(name: str) -> None:
    result = tried(BUILT_IN / f"{name}.py")
    assert result.name == name
    assert result.bars > 550
    assert result.signals > 5


def test_strategy_of_the_day_is_tried_on_minutes() -> None:
    (loaded,) = load_file(BUILT_IN / "opening_range_breakout.py")
    assert try_out(loaded, lambda ts: None, Timeframe.MINUTE).signals > 0


@pytest.mark.parametrize(
    ("body", "line", "reason"),
    [
        ("self.state.kept = random.random()", 7, "not the same twice"),
        ("out.target = bar.close / 0", 8, "ZeroDivisionError"),
        ("out.target = float('nan')", 7, "out.target is nan"),
        ("self.state.kept = {1}", 7, "a set cannot be kept"),
    ],
)
def test_faults_name_line_and_bar(tmp_path: Path, body: str, line: int, reason: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FILE.format(body))
    with pytest.raises((StepError, StrategyFileError), match=reason) as caught:
        tried(path)
    assert caught.value.line == line


def test_sample_bars_are_sound_and_hold_what_breaks_strategies() -> None:
    bars = sample_bars(3, 600, Timeframe.HOUR)
    assert bars.tobytes() == sample_bars(3, 600, Timeframe.HOUR).tobytes()
    assert bars.tobytes() != sample_bars(4, 600, Timeframe.HOUR).tobytes()
    assert (np.diff(bars["ts"]) > 0).all()
    assert (bars["low"] > 0).all()
    assert (bars["high"] >= np.maximum(bars["open"], bars["close"])).all()
    assert (bars["low"] <= np.minimum(bars["open"], bars["close"])).all()
    assert (np.diff(bars["ts"]) > Timeframe.HOUR.ns).sum() > 5  # some are missing
    assert (bars["volume"] == 0).sum() > 5
    assert (bars["high"] == bars["low"]).sum() > 30  # nothing moves


def test_tests_beside_strategies_are_no_strategies(tmp_path: Path) -> None:
    for name in ("mine.py", "test_mine.py", "_helper.py"):
        (tmp_path / name).write_text("")
    assert [path.name for path in strategy_files(tmp_path)] == ["mine.py"]
