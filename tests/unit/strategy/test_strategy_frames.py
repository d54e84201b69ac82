"""Longer timeframes: what a step sees is what the data collector folds, and never unfinished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.messages import Bar
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.simulation.records import BAR
from libs.common.strategy import Runner, Strategy, runner_of
from libs.common.strategy.errors import DefinitionError, StrategyFileError
from libs.common.strategy.loader import load_file
from services.data_collector.bars import BarFolder

MINUTE = Timeframe.MINUTE.ns
START = 1_700_000_000 * 10**9 // (60 * MINUTE) * (60 * MINUTE)


class Watcher(Strategy):
    """Writes down what it sees: closes of the 5m and 15m bars as stop and limit, news as target."""

    timeframes = ("5m", "15m")

    @staticmethod
    def step(state: Any, bar: Any, frames: Any, params: Any, out: Any) -> None:
        out.target = 0.5 * frames[0].fresh + 0.25 * frames[1].fresh
        out.stop = frames[0].close
        out.limit = frames[1].close


def runner() -> Runner:
    return Runner(Watcher.definition, {}, timeframe=Timeframe.MINUTE)


def minutes(*at: int) -> np.ndarray:
    """Return minute bars at these minutes after the full hour, prices made of the minute."""
    bars = np.zeros(len(at), BAR)
    bars["ts"] = START + np.array(at, np.int64) * MINUTE
    close = 100.0 + (np.array(at) * 37 % 101) / 10
    bars["open"], bars["close"] = close - 0.3, close
    bars["high"], bars["low"], bars["volume"] = close + 1.0, close - 1.0, 7.0 + close / 3
    return bars


def seen(bars: np.ndarray, place: int) -> list[tuple[float, ...]]:
    """Step one by one; the longer bars that were fresh, as plain tuples."""
    stepper = runner()
    found = []
    for bar in bars:
        stepper.step(bar)
        frame = stepper.memory["frames"][place]
        if frame["fresh"]:
            found.append(tuple(frame.tolist()[:6]))
    return found


def folded(bars: np.ndarray, timeframe: Timeframe) -> list[tuple[float, ...]]:
    """What the data collector gives for the same minutes."""
    folder = BarFolder(timeframe)
    longer = [bar for minute in bars for bar in folder.add(as_message(minute))]
    return [(b.ts_event, b.open, b.high, b.low, b.close, b.volume) for b in longer]


def as_message(bar: np.void) -> Bar:
    ts, o, h, low, c, volume = bar.tolist()
    return Bar(
        timeframe="1m", ts_event=ts, open=o, high=h, low=low, close=c, volume=volume, vwap=c,
        trades=1,
    )  # fmt: skip


some_minutes = st.sets(st.integers(0, 200), min_size=1, max_size=120).map(sorted)


@settings(max_examples=150, deadline=None)
@given(at=some_minutes)
def test_longer_bars_are_those_of_the_data_collector(at: list[int]) -> None:
    bars = minutes(*at)
    for place, timeframe in enumerate(Watcher.definition.timeframes):
        ours, theirs = seen(bars, place), folded(bars, timeframe)
        # One that a gap held back is given with the next bar, which may lie beyond the end.
        assert ours == theirs[: len(ours)]
        assert len(theirs) - len(ours) <= 1


@settings(max_examples=60, deadline=None)
@given(at=some_minutes, cut=st.integers(0, 120))
def test_what_comes_later_changes_nothing_of_what_was_seen(at: list[int], cut: int) -> None:
    bars = minutes(*at)
    changed = bars.copy()
    changed["close"][cut:] += 5.0
    changed["high"][cut:] += 50.0
    whole, other = runner().run(bars).decisions[:cut], runner().run(changed).decisions[:cut]
    assert whole.tobytes() == other.tobytes()


@settings(max_examples=60, deadline=None)
@given(at=some_minutes, cut=st.integers(0, 120))
def test_one_by_one_equals_the_loop_through_saved_bytes(at: list[int], cut: int) -> None:
    bars = minutes(*at)
    whole = runner()
    steps = whole.run(bars)
    single, changed = runner(), []
    for i, bar in enumerate(bars):
        if i == cut:
            saved = single.save()
            single = runner()
            single.restore(saved)
        changed.append(single.step(bar))
    assert changed == steps.changed.tolist()
    assert single.save() == whole.save()


def test_by_hand() -> None:
    bars = minutes(3, 4, 5, 7, 11, 14, 15)
    steps = runner().run(bars)
    # 4 ends 0…5; 7 leaves 5…10 open, 11 comes after it; 14 ends both 10…15 and 0…15.
    assert steps.decisions["target"].tolist() == [0.0, 0.5, 0.0, 0.0, 0.5, 0.75, 0.0]
    closes = bars["close"]
    expected = [np.nan, closes[1], closes[1], closes[1], closes[3], closes[5], closes[5]]
    assert np.array_equal(steps.decisions["stop"], expected, equal_nan=True)


def test_second_of_two_that_close_at_once_comes_with_the_next_bar() -> None:
    bars = minutes(1, 9, 12)
    assert [row[0] for row in seen(bars, 0)] == [START, START + 5 * MINUTE]
    assert runner().run(bars).decisions["target"].tolist() == [0.0, 0.5, 0.5]


def test_bars_must_be_shorter_than_what_is_made_of_them() -> None:
    with pytest.raises(InvalidInputError, match="say the timeframe of its bars"):
        Runner(Watcher.definition, {})
    with pytest.raises(InvalidInputError, match="must be shorter, not 5m"):
        runner_of(Watcher.definition, {}, ("A",), Timeframe.FIVE_MINUTES)
    layouts = {Runner(Watcher.definition, {}, timeframe=t).layout for t in list(Timeframe)[:2]}
    assert len(layouts) == 2


@pytest.mark.parametrize(
    ("timeframes", "reason"),
    [(("2m",), "'2m' is no timeframe"), (("5m", "5m"), "named twice"), ("5m", "with a comma")],
)
def test_names_of_timeframes_are_checked(timeframes: Any, reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        type("Bad", (Strategy,), {"timeframes": timeframes, "step": Watcher.step})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "out.target = frames[0].closed",
            r"frames\[0\] has no field 'closed'; did",
        ),
        ("frames[0].close = 1.0", r"frames\[0\].close: frames is only to be read"),
        ("bar.close = 1.0", "bar.close: bar is only to be read"),
    ],
)
def test_misuse_names_its_line(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        "from libs.common.strategy import Strategy\n\n\nclass Bad(Strategy):\n"
        "    timeframes = ('1h',)\n\n    @staticmethod\n"
        f"    def step(state, bar, frames, params, out):\n        {line}\n"
    )
    with pytest.raises(StrategyFileError, match=reason) as caught:
        load_file(path)
    assert caught.value.line == 9
