"""Stepping: one by one equals all at once, memory survives as bytes, decisions are judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.datasets import load_sp500_dataset

from libs.common.quant.simulation.records import BAR
from libs.common.strategy import Runner, Strategy, number
from libs.common.strategy.errors import InvalidDecisionError, LayoutError
from libs.common.strategy.memory import layout_hash, to_plain
from strategies.rsi_reversion import RsiReversion
from strategies.sma_cross import SmaCross

BUILT_IN = (SmaCross.definition, RsiReversion.definition)


def real_bars(symbol: str) -> np.ndarray:
    frame = load_sp500_dataset()[symbol]
    bars = np.zeros(len(frame), BAR)
    bars["ts"] = frame.index.to_numpy().astype("datetime64[ns]").astype("i8")
    for name in ("open", "high", "low", "close"):
        bars[name] = frame.to_numpy()
    return bars


class Echo(Strategy):
    """Wants whatever the bar's fields say; for tests of the judging."""

    class Params:
        bias = number(0.0, low=-1.0, high=1.0)

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        out.target = bar.open
        out.stop = bar.high
        out.limit = bar.low
        out.confidence = bar.close


def echo(*rows: tuple[float, float, float, float]) -> np.ndarray:
    bars = np.zeros(len(rows), BAR)
    for i, row in enumerate(rows):
        bars[i] = (i + 1, *row, 0.0)
    return bars


NAN = float("nan")


@pytest.mark.parametrize("definition", BUILT_IN, ids=lambda d: d.name)
def test_one_by_one_equals_all_at_once_on_real_prices(definition: Any) -> None:
    bars = real_bars("AAPL")
    single, looped = Runner(definition, {}), Runner(definition, {})
    changed = [single.step(bar) for bar in bars]
    steps = looped.run(bars)
    assert changed == steps.changed.tolist()
    assert single.save() == looped.save()
    assert steps.changed.sum() > 50


@pytest.mark.parametrize("definition", BUILT_IN, ids=lambda d: d.name)
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 600), max_size=6), symbol=st.sampled_from(["BAC", "RRC"]))
def test_chunks_with_saved_bytes_between_equal_one_run(
    definition: Any, cuts: list[int], symbol: str
) -> None:
    bars = real_bars(symbol)[:600]
    whole = Runner(definition, {})
    expected = whole.run(bars)
    decisions, changed, saved = [], [], Runner(definition, {}).save()
    for part in np.split(bars, sorted(cuts)):
        runner = Runner(definition, {})
        runner.restore(saved)
        steps = runner.run(part)
        decisions.append(steps.decisions.tobytes())
        changed.extend(steps.changed.tolist())
        saved = runner.save()
    assert b"".join(decisions) == expected.decisions.tobytes()
    assert changed == expected.changed.tolist()
    assert saved == whole.save()


@given(data=st.binary(min_size=120, max_size=120))
def test_any_bytes_of_the_right_size_come_back_as_they_were(data: bytes) -> None:
    runner = Runner(RsiReversion.definition, {})
    assert runner.definition.memory.itemsize == len(data)
    runner.restore(data)
    assert runner.save() == data


def test_bytes_of_another_size_are_refused() -> None:
    with pytest.raises(LayoutError, match="has 3 bytes"):
        Runner(SmaCross.definition, {}).restore(b"abc")


def test_layout_hash_tells_records_and_parameters_apart() -> None:
    memory = SmaCross.definition.memory
    hashes = {
        layout_hash(memory, {"fast": 10}),
        layout_hash(memory, {"fast": 11}),
        layout_hash(RsiReversion.definition.memory, {"fast": 10}),
    }
    assert len(hashes) == 3
    assert layout_hash(memory, {"fast": 10}) in hashes


def test_signal_on_change_only_and_none_without_opinion() -> None:
    bars = echo((0.5, NAN, NAN, 1), (0.5, NAN, NAN, 1), (NAN, NAN, NAN, 1), (0.5, NAN, NAN, 1))
    assert Runner(Echo.definition, {}).run(bars).changed.tolist() == [True, False, False, False]


def test_new_stop_or_limit_is_a_new_signal_but_new_confidence_is_not() -> None:
    bars = echo((0.5, NAN, NAN, 1), (0.5, 9.0, NAN, 1), (0.5, 9.0, 8.0, 1), (0.5, 9.0, 8.0, 0))
    assert Runner(Echo.definition, {}).run(bars).changed.tolist() == [True, True, True, False]


class Steady(Strategy):
    """Half invested; asks for rebalancing with what the volume says."""

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        out.target = bar.open
        out.rebalance = bar.volume


def test_rebalancing_states_an_equal_decision_again() -> None:
    bars = np.zeros(5, BAR)
    bars["ts"] = range(1, 6)
    bars["open"] = [0.5, 0.5, 0.5, NAN, 0.5]
    bars["volume"] = [0.0, 0.0, 1.0, 1.0, 0.0]
    single, looped = Runner(Steady.definition, {}), Runner(Steady.definition, {})
    assert looped.run(bars).changed.tolist() == [True, False, True, False, False]
    assert [single.step(bar) for bar in bars] == [True, False, True, False, False]
    assert single.save() == looped.save()


@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, NAN])
def test_rebalance_is_yes_or_no(value: float) -> None:
    bars = np.zeros(1, BAR)
    bars["open"], bars["volume"] = 0.5, value
    with pytest.raises(InvalidDecisionError, match="rebalance 0 or 1"):
        Runner(Steady.definition, {}).step(bars[0])


def test_warm_up_says_nothing_and_the_next_opinion_is_a_signal() -> None:
    runner = Runner(Echo.definition, {})
    runner.warm(echo((0.5, NAN, NAN, 1)))
    assert runner.step(echo((0.5, NAN, NAN, 1))[0])
    assert not runner.step(echo((0.5, NAN, NAN, 1))[0])


@pytest.mark.parametrize(
    "row",
    [
        (1.5, NAN, NAN, 1.0),
        (float("inf"), NAN, NAN, 1.0),
        (1.0, -1.0, NAN, 1.0),
        (1.0, NAN, float("inf"), 1.0),
        (1.0, NAN, NAN, NAN),
        (1.0, NAN, NAN, 2.0),
    ],
)
def test_decision_out_of_range_is_refused_alike_in_step_and_loop(
    row: tuple[float, float, float, float],
) -> None:
    bars = echo(row)
    with pytest.raises(InvalidDecisionError, match="echo: decision out of range on bar 1"):
        Runner(Echo.definition, {}).step(bars[0])
    with pytest.raises(InvalidDecisionError, match="echo: decision out of range on bar 1"):
        Runner(Echo.definition, {}).run(bars)


def test_memory_shows_as_plain_data() -> None:
    runner = Runner(RsiReversion.definition, {})
    runner.run(real_bars("KO")[:3])
    plain = to_plain(runner.memory)
    assert plain["bars"] == 3
    assert plain["state"]["rsi"]["count"] == 1
    assert plain["stated"]["stop"] is None


def test_sma_cross_by_hand() -> None:
    bars = echo(*((0.0, 0.0, 0.0, close) for close in (1, 1, 1, 1, 1, 2, 2, 1, 1, 0.5)))
    runner = Runner(SmaCross.definition, {"fast": 2, "slow": 5})
    targets = runner.run(bars).decisions["target"]
    assert np.array_equal(targets[:4], [NAN] * 4, equal_nan=True)
    # fast:  1, 1.5, 2, 1.5, 1, 0.75; slow: 1, 1.2, 1.4, 1.4, 1.4, 1.3
    assert targets[4:].tolist() == [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]
