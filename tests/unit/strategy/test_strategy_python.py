"""Strategies in ordinary Python: the same contract as the compiled ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ta
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.quant.simulation.loop import judge as compiled_judge
from libs.common.quant.simulation.records import BAR, DECISION
from libs.common.strategy import PythonRunner, PythonStrategy, Runner, integer, runner_of
from libs.common.strategy.definition import Params
from libs.common.strategy.errors import (
    DefinitionError,
    InvalidDecisionError,
    LayoutError,
    StepError,
    StepRaisedError,
)
from libs.common.strategy.judgement import judge, record_of
from libs.common.strategy.loader import load_file
from libs.common.strategy.plain import pack, unpack
from libs.common.strategy.python import Bar, Decision
from strategies.sma_cross import SmaCross
from tests.support.bar_feed import daily_bars


class PandasCross(PythonStrategy):
    """`sma_cross` again, with pandas."""

    history = 40

    class Params:
        fast = integer(10, low=2, high=40)
        slow = integer(30, low=2, high=40)

    def step(self, bar: Bar, out: Decision) -> None:
        closes = self.frame["close"]
        if len(closes) >= self.params.slow:
            fast = closes.iloc[-self.params.fast :].mean()
            out.target = float(fast > closes.iloc[-self.params.slow :].mean())


class Counter(PythonStrategy):
    """Long on every `every`-th rise, flat after two falls; remembers in plain values."""

    history = 3

    class Params:
        every = integer(2, low=1, high=9)

    class State:
        rises = 0
        falls: list[int] = []  # noqa: RUF012 - what a strategy file would write
        closes = np.zeros(2)

    def step(self, bar: Bar, out: Decision) -> None:
        state = self.state
        rose = len(self.bars) > 1 and bar.close > self.bars["close"][-2]
        state.closes = self.bars["close"][-2:]
        if rose:
            state.rises += 1
            state.falls.clear()
        else:
            state.falls.append(bar.ts)
        if state.rises % self.params.every == 0:
            out.target = 1.0
        elif len(state.falls) >= 2:
            out.target, out.stop = 0.0, None
        out.rebalance = float(len(state.falls) == 4)


def nothing(self: Any, bar: Bar, out: Decision) -> None:
    """Have no opinion."""


def echo(deed: Any) -> PythonRunner:
    """Return a strategy whose step does what the test says."""

    class Doing(PythonStrategy):
        class State:
            kept: Any = None

        def step(self, bar: Bar, out: Decision) -> None:
            deed(self, bar, out)

    return PythonRunner(Doing.definition, {})


def rows(signals: np.ndarray) -> list[tuple[Any, ...]]:
    return [tuple(None if v != v else v for v in row) for row in signals.tolist()]


def test_same_signals_as_the_compiled_one() -> None:
    bars = {"KO": daily_bars("KO", 400)}
    ours = runner_of(PandasCross.definition, {}, ("KO",)).decide(bars)["KO"]
    compiled = runner_of(SmaCross.definition, {}, ("KO",)).decide(bars)["KO"]
    assert len(ours) > 5
    assert rows(ours) == rows(compiled)


def test_ta_package_on_the_window() -> None:
    class TaRsi(PythonStrategy):
        """RSI of the package `ta` on the last bars."""

        history = 60

        def step(self, bar: Bar, out: Decision) -> None:
            index = ta.momentum.rsi(self.frame["close"], window=14).iloc[-1]
            if index == index:
                out.target = 1.0 if index < 30 else 0.0

    bars = daily_bars("AAPL", 120)
    signals = runner_of(TaRsi.definition, {}, ("A",)).decide({"A": bars})["A"]

    expected = [
        ta.momentum.rsi(pd.Series(bars["close"][max(0, i - 59) : i + 1])) for i in range(120)
    ]
    targets = [float(s.iloc[-1] < 30) if s.iloc[-1] == s.iloc[-1] else None for s in expected]
    changes = [i for i in range(120) if targets[i] is not None and targets[i] != targets[i - 1]]
    assert signals["index"].tolist() == changes


@settings(max_examples=60, deadline=None)
@given(
    closes=st.lists(st.integers(1, 5), min_size=1, max_size=60),
    cut=st.integers(0, 60),
    every=st.integers(1, 4),
)
def test_one_by_one_equals_bulk_through_saved_bytes(
    closes: list[int], cut: int, every: int
) -> None:
    bars = np.zeros(len(closes), BAR)
    bars["ts"], bars["close"] = range(1, len(closes) + 1), closes
    whole = PythonRunner(Counter.definition, {"every": every})
    expected = rows(whole.decide({"": bars})[""])
    single, found = PythonRunner(Counter.definition, {"every": every}), []
    for i, bar in enumerate(bars):
        if i == cut:
            saved = single.save()
            single = PythonRunner(Counter.definition, {"every": every})
            single.restore(saved)
        for stated in single.take({"": bar}):
            found.append((i, *(None if v != v else v for v in stated.decision.tolist())))
    assert found == expected
    assert single.save() == whole.save()
    assert single.bars == len(bars)
    assert single.ts == len(bars)


def test_more_bars_than_a_chunk_and_window_that_stays() -> None:
    shown: list[np.ndarray] = []

    class Keeper(PythonStrategy):
        """Keeps what it saw."""

        history = 5

        def step(self, bar: Bar, out: Decision) -> None:
            shown.append(self.bars)
            assert self.bars[-1]["ts"] == bar.ts

    bars = np.zeros(9000, BAR)
    bars["ts"] = np.arange(1, 9001)
    PythonRunner(Keeper.definition, {}).decide({"": bars})
    assert [len(window) for window in shown[:6]] == [1, 2, 3, 4, 5, 5]
    for i in (0, 4, 8190, 8191, 8192, 8193, 8999):
        assert shown[i]["ts"].tolist() == list(range(max(1, i - 3), i + 2))


def test_warm_up_says_nothing_and_the_next_opinion_is_a_signal() -> None:
    def long(self: Any, bar: Bar, out: Decision) -> None:
        out.target = 1.0

    runner, bars = echo(long), daily_bars("KO", 3)
    runner.warm({"": bars[:1]})
    assert len(runner.take({"": bars[1]})) == 1
    assert runner.take({"": bars[2]}) == ()


FIELD = st.sampled_from([math.nan, -1.5, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 1e12, math.inf])
VALUES = st.tuples(FIELD, FIELD, FIELD, FIELD, FIELD, FIELD)
SOUND = st.tuples(*[st.sampled_from([math.nan, 0.5, 1.0])] * 4, st.just(1.0), st.just(0.0))


@settings(max_examples=400)
@given(stated=VALUES | SOUND, decision=VALUES | SOUND)
def test_the_judgement_is_that_of_the_compiled_loop(stated: Any, decision: Any) -> None:
    one, other = record_of(stated), record_of(decision)
    assert judge(stated, decision) == compiled_judge(one, other)


def test_rebalancing_states_again() -> None:
    def steady(self: Any, bar: Bar, out: Decision) -> None:
        out.target = 0.5
        out.rebalance = float(bar.ts % 3 == 0)

    bars = np.zeros(7, BAR)
    bars["ts"] = range(1, 8)
    assert echo(steady).decide({"": bars})[""]["index"].tolist() == [0, 2, 5]


def field(name: str, value: object) -> Any:
    def write(self: Any, bar: Bar, out: Decision) -> None:
        out.target = 0.5
        setattr(out, name, value)

    return write


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("target", 1.5, "decision out of range"),
        ("target", float("nan"), "out.target is nan; write a number"),
        ("target", "long", "out.target is 'long'"),
        ("target", 10**400, "out.target is 1000"),
        ("stop", float("nan"), "out.stop is nan"),
        ("stop", -1.0, "decision out of range"),
        ("confidence", 2.0, "decision out of range"),
        ("rebalance", 0.5, "decision out of range"),
        ("targt", 1.0, "out has no field 'targt'; did you mean target"),
    ],
)
def test_bad_decision_names_file_line_and_bar(name: str, value: object, reason: str) -> None:
    runner = echo(field(name, value))
    with pytest.raises(InvalidDecisionError, match=reason) as caught:
        runner.decide({"": daily_bars("KO", 1)})
    path, line = runner.definition.place
    assert str(caught.value).startswith(f"{path}:{line}: doing: ")
    assert "2022-12-28" in str(caught.value)


def test_step_that_raises_names_file_line_and_bar() -> None:
    def trip(self: Any, bar: Bar, out: Decision) -> None:
        if bar.ts > 2:
            raise KeyError("lost")

    bars = np.zeros(4, BAR)
    bars["ts"] = range(1, 5)
    runner = echo(trip)
    with pytest.raises(
        StepRaisedError, match=r"_python\.py:\d+: doing: bar 1970.*: KeyError: 'lost'"
    ):
        runner.decide({"": bars})
    assert (runner.bars, runner.ts) == (3, 3)


def test_what_would_be_lost_at_a_restart_is_refused() -> None:
    def attribute(self: Any, bar: Bar, out: Decision) -> None:
        self.count = 1

    def undeclared(self: Any, bar: Bar, out: Decision) -> None:
        self.state.count = 1

    bars = {"": daily_bars("KO", 1)}
    with pytest.raises(StepRaisedError, match=r"write self\.state\.count"):
        echo(attribute).decide(bars)
    with pytest.raises(StepRaisedError, match="has no attribute 'count'"):
        echo(undeclared).decide(bars)


@pytest.mark.parametrize("value", [{1, 2}, (1, 2), object(), 1 << 70])
def test_state_that_cannot_be_kept_is_refused(value: object) -> None:
    def keep(self: Any, bar: Bar, out: Decision) -> None:
        self.state.kept = value

    runner = echo(keep)
    runner.decide({"": daily_bars("KO", 1)})
    with pytest.raises(StepError, match="cannot be kept"):
        runner.save()


kept_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(0, 9), inner),
    max_leaves=12,
)


@given(value=kept_values)
def test_plain_values_come_back_as_they_were(value: object) -> None:
    assert repr(unpack(pack(value))) == repr(value)


def test_numpy_values_come_back_as_they_were() -> None:
    value = {"a": np.arange(6.0).reshape(2, 3), "b": np.float32(1.5), "c": np.array([True])}
    back = unpack(pack(value))
    assert back["a"].tobytes() == value["a"].tobytes()
    assert back["a"].shape == (2, 3)
    assert (type(back["b"]), back["b"]) == (np.float32, 1.5)
    assert back["c"].dtype == np.bool_
    back["a"][0, 0] = 9.0  # and can be written to


@settings(max_examples=200)
@given(data=st.binary(max_size=200))
def test_any_other_bytes_are_refused_as_state(data: bytes) -> None:
    with pytest.raises(LayoutError):
        PythonRunner(Counter.definition, {}).restore(data)


def test_layout_tells_parameters_and_names_apart() -> None:
    layouts = {
        PythonRunner(Counter.definition, {}).layout,
        PythonRunner(Counter.definition, {"every": 3}).layout,
        PythonRunner(PandasCross.definition, {}).layout,
    }
    assert len(layouts) == 3
    assert PythonRunner(Counter.definition, {"every": 2}).layout in layouts


def test_instances_share_no_list() -> None:
    one, other = (PythonRunner(Counter.definition, {}) for _ in range(2))
    one.decide({"": daily_bars("KO", 30)[::-1].copy()})
    assert other.shown()["state"] == {"rises": 0, "falls": [], "closes": [0.0, 0.0]}
    assert one.shown()["bars"] == 30


def test_prepare_runs_once_before_the_steps_and_after_a_restart() -> None:
    class Modelled(PythonStrategy):
        """Weighs with what it prepared."""

        def prepare(self) -> None:
            self.weights = np.array([0.25, 0.5])

        def step(self, bar: Bar, out: Decision) -> None:
            out.target = float(self.weights.sum())

    first, second = (PythonRunner(Modelled.definition, {}) for _ in range(2))
    second.restore(first.save())
    (stated,) = second.take({"": daily_bars("KO", 1)[0]})
    assert stated.decision["target"] == 0.75
    assert stated.decision.dtype == DECISION


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({}, "needs a method `def step"),
        ({"step": lambda self, bar: None}, "arguments must be"),
        ({"history": 0, "step": nothing}, "history: must be a whole number"),
        ({"State": type("State", (), {"x": float}), "step": nothing}, "not the type"),
        ({"State": type("State", (), {"x": {1}}), "step": nothing}, "a set cannot be kept"),
    ],
)
def test_broken_definition_is_refused(names: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        type("Bad", (PythonStrategy,), names)


def test_file_with_one_of_each_kind_loads(tmp_path: Path) -> None:
    path = tmp_path / "three.py"
    path.write_text(
        "from libs.common.strategy import CrossStrategy, PythonStrategy, Strategy\n"
        "class One(Strategy):\n    @staticmethod\n"
        "    def step(state, bar, params, out):\n        out.target = 1.0\n"
        "class Two(CrossStrategy):\n    @staticmethod\n"
        "    def step(state, bars, params, out):\n        out[0].target = 1.0\n"
        "class Three(PythonStrategy):\n    def step(self, bar, out):\n        out.target = 1.0\n"
    )
    kinds = {item.definition.name: item.definition.kind.value for item in load_file(path)}
    assert kinds == {"one": "single", "two": "cross", "three": "python"}


def test_warmup_and_constraint_belong_to_all_kinds() -> None:
    class Careful(PythonStrategy):
        """Wants history."""

        class Params:
            window = integer(5, low=1, high=9)

        @staticmethod
        def warmup(params: Params) -> int:
            return 2 * int(params["window"])

        def step(self, bar: Bar, out: Decision) -> None:
            pass

    assert PythonRunner(Careful.definition, {"window": 4}).warmup == 8
    assert Runner(SmaCross.definition, {}).warmup == 30
