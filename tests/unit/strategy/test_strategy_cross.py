"""Strategies on a universe: one time after the other equals all at once, bytes in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.simulation.records import BAR
from libs.common.strategy import CrossRunner, CrossStrategy, Runner, integer, runner_of, runners_of
from libs.common.strategy.errors import (
    DefinitionError,
    InvalidDecisionError,
    LayoutError,
    StepRaisedError,
)
from strategies.sma_cross import SmaCross

Rows = dict[str, list[tuple[Any, ...]]]


class Dearest(CrossStrategy):
    """All on the symbol whose close rose most since the last time; leaves out the unseen."""

    universe_max = 4

    class Params:
        sleep = integer(0, low=0, high=10, meaning="times without an opinion at the start")

    class State:
        before = np.dtype(("f8", (4,)))
        seen = np.int64

    @staticmethod
    def step(state: Any, bars: Any, params: Any, out: Any) -> None:
        state.seen += 1
        best, rise = -1, -np.inf
        for i in range(len(bars)):
            if state.before[i] > 0.0 and bars[i].close / state.before[i] > rise:
                best, rise = i, bars[i].close / state.before[i]
            state.before[i] = bars[i].close
        if state.seen <= params.sleep or best < 0:
            return
        for i in range(len(bars)):
            out[i].target = 1.0 if i == best else 0.0


class Copycat(CrossStrategy):
    """Decides what the bars say; for tests of the judging."""

    @staticmethod
    def step(state: Any, bars: Any, params: Any, out: Any) -> None:
        for i in range(len(bars)):
            out[i].target = bars[i].open
            out[i].stop = bars[i].high
            if bars[i].volume == 13.0:
                raise ValueError("an unlucky volume")


def bars_of(*rows: tuple[int, float]) -> np.ndarray:
    """Rows of (ts, close)."""
    bars = np.zeros(len(rows), BAR)
    for i, (ts, close) in enumerate(rows):
        bars[i] = (ts, close, close, close, close, 1.0)
    return bars


def stepped(runner: CrossRunner, history: dict[str, np.ndarray]) -> Rows:
    """Take one time after the other; the signals as (index of the last bar, target, …)."""
    signals: Rows = {symbol: [] for symbol in history}
    for ts in sorted({int(t) for bars in history.values() for t in bars["ts"]}):
        now = {s: bars[bars["ts"] == ts][0] for s, bars in history.items() if ts in bars["ts"]}
        for stated in runner.take(now):
            bars = history[stated.symbol]
            index = int(np.searchsorted(bars["ts"], ts, side="right")) - 1
            rows = signals[stated.symbol]
            if rows and rows[-1][0] == index:
                rows.pop()
            rows.append((index, *stated.decision.tolist()))
    return signals


def same(left: Rows, right: dict[str, np.ndarray]) -> bool:
    return all(
        np.array_equal(np.array(rows, float).reshape(-1, 7), plain(right[s]), equal_nan=True)
        for s, rows in left.items()
    )


def plain(signals: np.ndarray) -> np.ndarray:
    return np.array([list(row) for row in signals.tolist()], float).reshape(-1, 7)


def test_by_hand_with_a_symbol_that_comes_late_and_one_that_stays_away() -> None:
    history = {
        "A": bars_of((1, 10.0), (2, 11.0), (3, 11.0), (4, 22.0)),
        "B": bars_of((1, 10.0), (2, 10.0), (4, 10.0)),
        "C": bars_of((3, 5.0), (4, 15.0)),
    }
    signals = CrossRunner(Dearest.definition, {}, ("A", "B", "C")).decide(history)
    # Time 2: A rose 10 %. Time 3: nobody moved, the first of them is A. Time 4: C rose threefold.
    assert [(r["index"], r["target"]) for r in signals["A"]] == [(1, 1.0), (3, 0.0)]
    assert [(r["index"], r["target"]) for r in signals["B"]] == [(1, 0.0)]
    assert [(r["index"], r["target"]) for r in signals["C"]] == [(0, 0.0), (1, 1.0)]


def test_symbol_without_a_bar_yet_shows_nothing_and_is_not_decided_on() -> None:
    runner = CrossRunner(Copycat.definition, {}, ("A", "B"))
    assert np.isnan(runner.memory["last"]["close"]).all()
    (only,) = runner.take({"A": bars_of((1, 0.5))[0]})
    assert only.symbol == "A"
    assert runner.memory["last"]["ts"].tolist() == [1, 0]


def test_of_several_decisions_without_a_bar_the_last_one_counts() -> None:
    history = {"A": bars_of((1, 1.0)), "B": bars_of((1, 1.0), (2, 2.0), (3, 2.0))}
    history["C"] = bars_of((1, 1.0), (2, 1.0), (3, 3.0))
    signals = CrossRunner(Dearest.definition, {}, ("B", "A", "C")).decide(history)
    assert [(r["index"], r["target"]) for r in signals["A"]] == [(0, 0.0)]
    assert [(r["index"], r["target"]) for r in signals["C"]] == [(1, 0.0), (2, 1.0)]


universes = st.lists(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(1, 9)), max_size=30, unique_by=lambda r: r[0]
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(rows=universes, cut=st.integers(0, 41), sleep=st.integers(0, 3))
def test_one_time_after_the_other_equals_all_at_once_through_saved_bytes(
    rows: list[list[tuple[int, int]]], cut: int, sleep: int
) -> None:
    history = {f"S{i}": bars_of(*((t, float(c)) for t, c in sorted(r))) for i, r in enumerate(rows)}
    symbols, params = tuple(history), {"sleep": sleep}
    whole = CrossRunner(Dearest.definition, params, symbols)
    expected = whole.decide(history)
    single = CrossRunner(Dearest.definition, params, symbols)
    assert same(stepped(single, history), expected)
    assert single.save() == whole.save()
    first = CrossRunner(Dearest.definition, params, symbols)
    first.decide({s: bars[bars["ts"] < cut] for s, bars in history.items()})
    second = CrossRunner(Dearest.definition, params, symbols)
    second.restore(first.save())
    second.decide({s: bars[bars["ts"] >= cut] for s, bars in history.items()})
    assert second.save() == whole.save()


def test_more_signals_than_the_first_room_holds() -> None:
    count = 20_000
    bars = np.zeros(count, BAR)
    bars["ts"] = np.arange(1, count + 1)
    bars["open"] = np.arange(count) % 2
    bars["high"] = 1.0
    signals = CrossRunner(Copycat.definition, {}, ("A",)).decide({"A": bars})["A"]
    assert signals["index"].tolist() == list(range(count))
    assert signals["target"].tolist() == bars["open"].tolist()


def test_warm_up_says_nothing_and_the_next_opinion_is_a_signal() -> None:
    runner = CrossRunner(Copycat.definition, {}, ("A",))
    bars = bars_of((1, 1.0), (2, 1.0), (3, 1.0))
    runner.warm({"A": bars[:1]})
    assert len(runner.take({"A": bars[1]})) == 1
    assert runner.take({"A": bars[2]}) == ()


def test_failures_name_file_line_bar_and_symbol() -> None:
    good, bad = bars_of((10**9, 1.0))[0], bars_of((10**9, 2.0))[0]
    runner = CrossRunner(Copycat.definition, {}, ("A", "B"))
    message = (
        r"test_strategy_cross\.py:\d+: copycat: decision out of range on bar .* of B: target=2"
    )
    with pytest.raises(InvalidDecisionError, match=message):
        runner.take({"A": good, "B": bad})
    both = {"A": bars_of((1, 1.0), (2, 1.0)), "B": bars_of((1, 1.0), (2, 2.0))}
    with pytest.raises(InvalidDecisionError, match="of B: target=2"):
        CrossRunner(Copycat.definition, {}, ("A", "B")).decide(both)
    both["A"]["volume"][1] = 13.0
    line = Copycat.definition.place[1] + 6
    message = rf"test_strategy_cross\.py:{line}: copycat: bar .*: ValueError: an unlucky volume"
    with pytest.raises(StepRaisedError, match=message):
        CrossRunner(Copycat.definition, {}, ("A", "B")).decide(both)
    with pytest.raises(StepRaisedError, match=message):
        CrossRunner(Copycat.definition, {}, ("A",)).take({"A": both["A"][1]})


@pytest.mark.parametrize(
    ("symbols", "reason"),
    [
        ((), "needs at least 1 symbols, got 0"),
        (tuple("ABCDE"), "takes up to 4 symbols, got 5"),
        (("A", "B", "A"), "symbols named twice: A"),
    ],
)
def test_universe_that_does_not_fit_is_refused(symbols: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        CrossRunner(Dearest.definition, {}, symbols)


def test_bars_of_different_times_are_not_one_time() -> None:
    runner = CrossRunner(Dearest.definition, {}, ("A", "B"))
    bars = bars_of((1, 1.0), (2, 1.0))
    with pytest.raises(InvalidInputError, match="bars of one time, got 2"):
        runner.take({"A": bars[0], "B": bars[1]})


def test_memory_belongs_to_its_universe() -> None:
    one, other = (CrossRunner(Dearest.definition, {}, s) for s in (("A", "B"), ("B", "A")))
    assert one.layout != other.layout
    with pytest.raises(LayoutError):
        CrossRunner(Dearest.definition, {}, ("A",)).restore(one.save())


def test_runners_by_kind() -> None:
    assert [r.symbols for r in runners_of(SmaCross.definition, {}, "AB")] == [("A",), ("B",)]
    assert [r.symbols for r in runners_of(Dearest.definition, {}, "AB")] == [("A", "B")]
    with pytest.raises(InvalidInputError, match="takes one symbol, got 2"):
        runner_of(SmaCross.definition, {}, ("A", "B"))
    with pytest.raises(InvalidInputError, match="dearest is a strategy of kind cross"):
        Runner(Dearest.definition, {})


@pytest.mark.parametrize("universe_max", [0, -1, 10_001, 2.5])
def test_universe_max_is_a_count(universe_max: Any) -> None:
    with pytest.raises(DefinitionError, match="universe_max: must be a whole number"):
        type("Bad", (CrossStrategy,), {"universe_max": universe_max, "step": Copycat.step})


def test_single_runner_decides_what_it_steps() -> None:
    bars = bars_of(*((i + 1, 100.0 + (i * 7919 % 31)) for i in range(200)))
    runner = runner_of(SmaCross.definition, {"fast": 2, "slow": 5}, ("A",))
    taken = [
        (i, *s.decision.tolist()) for i, bar in enumerate(bars) for s in runner.take({"A": bar})
    ]
    looped = runner_of(SmaCross.definition, {"fast": 2, "slow": 5}, ("A",))
    assert same({"A": taken}, looped.decide({"A": bars}))
    assert looped.save() == runner.save()
    assert len(taken) > 20
