"""Several strategies with one target: parameters, trips on paper, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.common.kernel.errors import InvalidInputError
from libs.common.strategy.definition import Definition
from libs.common.strategy.errors import LayoutError, StepError
from libs.common.strategy.fusion import with_fusion
from libs.common.strategy.fusion_runner import FusionRunner
from libs.common.strategy.registry import load_directories
from tests.support.builtin import bars

# `above` holds its size while the close is above a level, else it is flat; it says so on each bar.
# `once` says something on its first bar and then no more.
SOURCE = """
import numpy as np
from libs.common.strategy import Strategy, number

class Above(Strategy):
    class Params:
        level = number(100.0, low=1.0, high=1000.0)
        size = number(1.0, low=-1.0, high=1.0)

    @staticmethod
    def step(state, bar, params, out):
        out.target = params.size if bar.close > params.level else 0.0
        out.stop = params.level / 2

class Once(Strategy):
    class Params:
        size = number(1.0, low=-1.0, high=1.0)

    class State:
        said = np.int64

    @staticmethod
    def step(state, bar, params, out):
        if state.said == 0:
            state.said = 1
            out.target = params.size
            out.confidence = 0.5
            out.take_profit = 200.0

class Failing(Strategy):
    @staticmethod
    def step(state, bar, params, out):
        out.target = 7.0
"""
PYTHON = """
from libs.common.strategy import PythonStrategy

class Slow(PythonStrategy):
    def step(self, bar, out):
        out.target = 1.0
"""
Numbers = dict[str, object]
BOTH: Numbers = {"above.weight": 1, "once.weight": 1, "half_life": 0, "band": 0.0}


@pytest.fixture(scope="module")
def fusion(tmp_path_factory: pytest.TempPathFactory) -> Definition:
    folder = tmp_path_factory.mktemp("members")
    (folder / "members.py").write_text(SOURCE)
    (folder / "slow.py").write_text(PYTHON)
    registry = with_fusion(load_directories([folder]))
    assert not registry.refused
    return registry.get("fusion").definition


def decided(runner: FusionRunner, made: np.ndarray) -> list[tuple[int, float]]:
    signals = runner.decide({"": made})[""]
    return [(int(row["index"]), round(float(row["target"]), 6)) for row in signals]


def contribution(runner: FusionRunner, label: str) -> Any:
    return runner.shown()["state"][label]


def test_each_target_is_the_mean_by_strength(fusion: Definition) -> None:
    runner = FusionRunner(fusion, {**BOTH, "once.size": -1.0})
    # `once` is half as strong, by its confidence: (1 - 0.5) / 1.5, then (0 - 0.5) / 1.5.
    assert decided(runner, bars([101, 101, 99, 99])) == [(0, 0.333333), (2, -0.333333)]


def test_an_opinion_fades_with_the_bars_since_its_signal(fusion: Definition) -> None:
    runner = FusionRunner(fusion, {**BOTH, "half_life": 2})
    runner.decide({"": bars([99, 99, 101])})
    assert contribution(runner, "once")["decay"] == 0.5
    assert contribution(runner, "above")["decay"] == 1.0


def test_stop_and_take_profit_are_those_of_who_pulls_most(fusion: Definition) -> None:
    runner = FusionRunner(fusion, BOTH)
    row = runner.decide({"": bars([101])})[""][0]
    assert (row["stop"], np.isnan(row["take_profit"])) == (50.0, True)
    runner = FusionRunner(fusion, {**BOTH, "once.weight": 9})
    row = runner.decide({"": bars([101])})[""][0]
    assert (np.isnan(row["stop"]), row["take_profit"]) == (True, 200.0)


def test_small_changes_are_held_back_by_the_band(fusion: Definition) -> None:
    # 1 / 1.5 + a third of 0.5: from flat to held is a change of 2/3.
    made = bars([99, 101, 99, 101])
    free = FusionRunner(fusion, {**BOTH, "band": 0.1})
    assert [index for index, _ in decided(free, made)] == [0, 1, 2, 3]
    # Who leads changes, and with it the stop: signals, all with the first target.
    held = FusionRunner(fusion, {**BOTH, "band": 0.7})
    assert {target for _, target in decided(held, made)} == {0.333333}


def test_quality_comes_of_trips_on_paper_from_open_to_open(fusion: Definition) -> None:
    # Bars open at their closes here. Wished at 101, entered at 110, out at 88: lost a fifth. Wished
    # at 104, entered at 120, out at 96: another fifth; then 108 to 135: gained a quarter.
    made = bars([101, 110, 99, 88, 104, 120, 99, 96, 102, 108, 99])
    made["open"][10] = 135
    runner = FusionRunner(fusion, {**BOTH, "trips_min": 2})
    runner.decide({"": made[:8]})
    assert contribution(runner, "above")["quality"] == 0.1
    runner.decide({"": made[8:]})
    after = bars([99], start=int(made["ts"][-1]) + 86_400 * 10**9)
    after["open"] = 135
    runner.decide({"": after})
    assert contribution(runner, "above")["quality"] == pytest.approx(0.25 / 0.65)
    assert contribution(runner, "once")["quality"] == 0.5


def test_memory_saved_and_restored_goes_on_to_the_bit(fusion: Definition) -> None:
    draw = np.random.default_rng(3)
    made = bars(list(100 + np.cumsum(draw.normal(0, 1, 200))))
    params = {**BOTH, "half_life": 7, "trips_min": 2, "above#deep.level": 95.0}
    whole = FusionRunner(fusion, params)
    signals = whole.decide({"": made})[""]
    first, second = FusionRunner(fusion, params), FusionRunner(fusion, params)
    found = [first.take({"": bar}) for bar in made[:90]]
    second.restore(first.save())
    found += [second.take({"": bar}) for bar in made[90:]]
    assert second.save() == whole.save()
    targets = [stated.decision["target"] for one in found for stated in one]
    assert targets == signals["target"].tolist()
    assert len(targets) > 20
    with pytest.raises(LayoutError):
        second.restore(b"short")


def test_what_is_wrong_with_the_members_is_all_told(fusion: Definition) -> None:
    for given, problem in {
        "abov.weight": "did you mean above",
        "slow.weight": "slow: a member is a compiled strategy on one symbol",
        "fusion.weight": "cannot be a member of another",
        "above.levl": "levl: unknown parameter; did you mean level",
    }.items():
        with pytest.raises(InvalidInputError, match=problem):
            fusion.parse({given: 1, "once.weight": 1})
    with pytest.raises(InvalidInputError, match="needs 2 to 6 members, got 1"):
        fusion.parse({"above.weight": 1})
    with pytest.raises(InvalidInputError, match=r"weight: must be between 0.001"):
        fusion.parse({**BOTH, "above.weight": 0})
    assert fusion.parse({**BOTH, "conflict": "agree"})["conflict"] == 1


def test_a_member_that_decides_out_of_range_is_named(fusion: Definition) -> None:
    runner = FusionRunner(fusion, {"failing.weight": 1, "once.weight": 1})
    with pytest.raises(StepError, match="failing: decision out of range on bar"):
        runner.take({"": bars([100])[0]})


def test_only_strategies_of_trusted_directories_may_be_members(tmp_path: Path) -> None:
    (tmp_path / "members.py").write_text(SOURCE)
    registry = with_fusion(load_directories([tmp_path]), [tmp_path / "other"])
    with pytest.raises(InvalidInputError, match="above: it steps in a process of its own"):
        registry.get("fusion").definition.parse(BOTH)


def test_a_member_whose_file_is_broken_is_told_of_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(PYTHON)
    (tmp_path / "above.py").write_text("import nothing_of_that_name\n")
    registry = with_fusion(load_directories([tmp_path]))
    with pytest.raises(InvalidInputError, match=r"above: its file is refused: .*above.py:1: "):
        registry.get("fusion").definition.parse(BOTH)
