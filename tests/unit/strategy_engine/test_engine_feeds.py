"""Feeds: each bar once, in order, none before the ones it follows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.messages import Bar
from libs.common.domain.timeframes import Timeframe
from libs.common.domain.vocabulary import StrategyMode
from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.simulation.records import BAR
from libs.common.strategy import Runner, Strategy
from services.strategy_engine.bars import Arrival, as_stored, live_record
from services.strategy_engine.configuration import Configuration, default_seeds
from services.strategy_engine.cursor import read_cursor, write_cursor
from services.strategy_engine.ports import Place
from services.strategy_engine.signals import signal_id_of, signal_of
from services.strategy_engine.streams import Feed, Stream, StreamStatus, Turn

MINUTE = 60 * 10**9


class Follow(Strategy):
    """Wants the sign of the bar's last move; a negative volume makes it fail."""

    class State:
        close = np.float64

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        if bar.volume < 0.0:
            raise ValueError("negative volume")
        out.target = 1.0 if bar.close > state.close else 0.0
        state.close = bar.close


CONFIGURATION = Configuration(
    "follow", "follow", "v", {}, ("X",), Timeframe.MINUTE, Decimal(1), True, StrategyMode.LIVE
)


def a_feed() -> Feed:
    stream = Stream(CONFIGURATION, "v", "X", Runner(Follow.definition, {}, "X"), warmed=True)
    return Feed("X", "1m", MINUTE, [stream])


def arrival(minute: int, volume: float = 1.0) -> Arrival:
    close = 100.0 + math.sin(minute)
    bar = np.array([(minute * MINUTE, close, close, close, close, volume)], BAR)[0]
    return Arrival(bar, uuid.UUID(int=minute), uuid.UUID(int=minute), 1)


def seen(feed: Feed) -> int:
    return feed.ts // MINUTE


def test_bars_that_follow_directly_are_stepped_at_once() -> None:
    feed, turn = a_feed(), Turn()
    for minute in (1, 2, 3):
        feed.offer("X", arrival(minute), 10)
    assert not feed.advance(turn)
    assert (seen(feed), feed.pending) == (3, {})


def test_bar_after_a_hole_waits_until_the_table_has_it() -> None:
    feed, turn = a_feed(), Turn()
    feed.offer("X", arrival(1), 10)
    feed.offer("X", arrival(4), 10)
    assert feed.advance(turn)
    assert seen(feed) == 1
    feed.fill({"X": [arrival(2)]}, turn)
    assert feed.advance(turn)
    assert seen(feed) == 2
    feed.fill({"X": [arrival(4)]}, turn)
    assert (seen(feed), feed.pending) == (4, {})


def test_old_and_repeated_bars_are_dropped() -> None:
    feed, turn = a_feed(), Turn()
    for minute in (1, 2, 2, 1, 2):
        feed.offer("X", arrival(minute), 10)
        feed.advance(turn)
    assert int(feed.streams[0].runner.memory["bars"]) == 2


def test_too_many_waiting_bars_are_left_to_the_table() -> None:
    feed, turn = a_feed(), Turn()
    feed.offer("X", arrival(1), 3)
    feed.advance(turn)
    for minute in (5, 6, 7, 8):
        feed.offer("X", arrival(minute), 3)
    assert sorted(ts // MINUTE for ts in feed.pending) == [8]
    feed.fill({"X": [arrival(m) for m in range(2, 9)]}, turn)
    assert seen(feed) == 8


def test_failing_step_leaves_memory_as_before_and_stops_the_stream() -> None:
    feed, turn = a_feed(), Turn()
    feed.offer("X", arrival(1), 10)
    feed.advance(turn)
    before = feed.streams[0].runner.save()
    feed.offer("X", arrival(2, volume=-1.0), 10)
    feed.advance(turn)
    stream = feed.streams[0]
    assert (stream.status, turn.faulted) == (StreamStatus.FAULTED, [stream])
    assert "negative volume" in stream.reason
    assert stream.runner.save() == before
    feed.offer("X", arrival(3), 10)
    assert feed.pending == {}


@given(
    order=st.permutations(range(1, 13)),
    cuts=st.sets(st.integers(1, 12), max_size=5),
    lost=st.sets(st.integers(2, 12), max_size=6),
)
def test_any_arrival_order_and_loss_ends_in_the_same_state(
    order: list[int], cuts: set[int], lost: set[int]
) -> None:
    straight, turn = a_feed(), Turn()
    straight.fill({"X": [arrival(m) for m in range(1, 13)]}, turn)
    feed, other = a_feed(), Turn()
    feed.fill({"X": [arrival(1)]}, other)
    for count, minute in enumerate(order, 1):
        if minute not in lost:
            feed.offer("X", arrival(minute), 100)
        feed.advance(other)
        if count in cuts:
            feed.fill({"X": [arrival(m) for m in range(1, max(order[:count]) + 1)]}, other)
    feed.fill({"X": [arrival(m) for m in range(1, 13)]}, other)
    assert feed.streams[0].runner.save() == straight.streams[0].runner.save()
    assert emitted(other) == emitted(turn)


def emitted(turn: Turn) -> list[tuple[int, str]]:
    return [(e.arrival.ts, repr(e.decision)) for e in turn.emissions]


def test_signals_are_committed_before_the_states_of_silent_streams() -> None:
    speaking, silent = a_feed(), a_feed()
    silent.streams[0].configuration = dataclasses.replace(CONFIGURATION, id="silent")
    turn = Turn()
    for feed in (speaking, silent):
        feed.fill({"X": [arrival(1)]}, turn)
    turn.emissions = [e for e in turn.emissions if e.configuration.id == "follow"]
    first = turn.take_urgent()
    assert (list(first.moved), len(first.emissions)) == ([("follow", "X")], 1)
    turn.put_back(first)
    assert set(turn.moved) == {("follow", "X"), ("silent", "X")}
    assert turn.take_urgent().emissions == first.emissions
    assert list(turn.take_urgent().moved) == [("silent", "X")]
    assert not turn


def test_signal_of_a_bar_has_one_id_and_the_bars_times() -> None:
    feed, turn = a_feed(), Turn()
    feed.fill({"X": [arrival(1)]}, turn)
    signal = signal_of(turn.emissions[0])
    assert signal.signal_id == signal_id_of("follow", "X", MINUTE)
    assert signal.signal_id != signal_id_of("follow", "X", 2 * MINUTE)
    assert (signal.ts_event - signal.bar_ts).total_seconds() == 60
    assert signal.stop is None
    assert signal.reference_price == Decimal(repr(100.0 + math.sin(1))).quantize(Decimal("1e-8"))


@given(st.floats(1e-6, 1e9))
def test_live_figure_equals_what_the_table_gives_back(value: float) -> None:
    rounded = Decimal(repr(value)).quantize(Decimal("0.00000001"), rounding="ROUND_HALF_UP")
    assert as_stored(value) == float(rounded)
    assert as_stored(as_stored(value)) == as_stored(value)


@pytest.mark.parametrize(
    "change", [{"close": 0.0}, {"low": -1.0}, {"high": 1e12}, {"volume": -1.0}, {"open": math.inf}]
)
def test_bar_with_impossible_figures_is_refused(change: dict[str, float]) -> None:
    good = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 0.0}
    with pytest.raises(InvalidInputError, match="figures out of range"):
        live_record(Bar(timeframe="1m", ts_event=0, **{**good, **change}))


def test_default_strategies_share_the_symbols() -> None:
    first, second = default_seeds(("A", "B", "C"))
    assert (first.class_name, first.universe) == ("sma_cross", ("A", "B"))
    assert (second.class_name, second.universe) == ("rsi_reversion", ("C",))
    assert len(default_seeds(("A",))) == 1


@given(st.datetimes(timezones=st.just(dt.UTC)), st.uuids())
def test_cursor_leads_back_to_its_place(created_at: Any, row_id: uuid.UUID) -> None:
    assert read_cursor(write_cursor(Place(created_at, row_id))) == Place(created_at, row_id)


@pytest.mark.parametrize("word", ["", "!", "AAAA", "MjAyMC0wMS0wMXxh", "\N{EURO SIGN}"])
def test_foreign_cursor_is_refused(word: str) -> None:
    with pytest.raises(InvalidInputError, match="after"):
        read_cursor(word)
