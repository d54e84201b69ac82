"""Panels: a time is stepped over once, all of its bars being known, in whatever order they came."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.domain.timeframes import Timeframe
from libs.common.domain.vocabulary import StrategyMode
from libs.common.quant.simulation.records import BAR
from libs.common.strategy import CrossStrategy
from libs.common.strategy.cross_runner import CrossRunner
from services.strategy_engine.bars import Arrival
from services.strategy_engine.configuration import Configuration
from services.strategy_engine.panel import Panel
from services.strategy_engine.streams import UNIVERSE, Stream, Turn

MINUTE = 60 * 10**9
SYMBOLS = ("A", "B", "C")
CONFIGURATION = Configuration(
    "leader", "leader", "v", {}, SYMBOLS, Timeframe.MINUTE, Decimal(1), True, StrategyMode.LIVE
)


class Leader(CrossStrategy):
    """Wants the symbol with the highest close."""

    universe_max = 3

    @staticmethod
    def step(state: Any, bars: Any, params: Any, out: Any) -> None:
        best = 0
        for i in range(len(bars)):
            if bars[i].ts > 0 and not bars[i].close <= bars[best].close:
                best = i
        for i in range(len(bars)):
            out[i].target = 1.0 if i == best else 0.0


class Clock:
    """Stands still unless it is moved."""

    now = 0

    def read(self) -> int:
        return self.now


def a_panel(clock: Clock) -> Panel:
    runner = CrossRunner(Leader.definition, {}, SYMBOLS)
    stream = Stream(CONFIGURATION, "v", UNIVERSE, runner, warmed=True)
    return Panel(SYMBOLS, "1m", MINUTE, 1000, clock.read, lambda: None, [stream])


def arrival(symbol: str, minute: int) -> Arrival:
    close = 100.0 + (hash_of(symbol, minute) % 97)
    bar = np.array([(minute * MINUTE, close, close, close, close, 1.0)], BAR)[0]
    return Arrival(bar, uuid.UUID(int=minute))


def hash_of(symbol: str, minute: int) -> int:
    return (ord(symbol) * 7919 + minute * 104_729) % 1009


def all_of(present: set[tuple[str, int]]) -> dict[str, list[Arrival]]:
    return {
        symbol: [arrival(symbol, m) for s, m in sorted(present) if s == symbol]
        for symbol in SYMBOLS
    }


def looped(present: set[tuple[str, int]]) -> tuple[list[tuple[str, int, float]], bytes]:
    runner = CrossRunner(Leader.definition, {}, SYMBOLS)
    found = []
    for minute in sorted({m for _, m in present}):
        moment = {s: arrival(s, m).bar for s, m in present if m == minute}
        found += [
            (stated.symbol, minute, float(stated.decision["target"]))
            for stated in runner.take(moment)
        ]
    return sorted(found), runner.save()


def told(turn: Turn) -> list[tuple[str, int, float]]:
    return sorted((e.symbol, e.arrival.ts // MINUTE, e.decision["target"]) for e in turn.emissions)


@settings(deadline=None)
@given(
    absent=st.sets(st.tuples(st.sampled_from(SYMBOLS), st.integers(2, 9)), max_size=8),
    lost=st.sets(st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 9)), max_size=8),
    order=st.permutations([(s, m) for s in SYMBOLS for m in range(1, 11)]),
    looks=st.sets(st.integers(0, 29), max_size=4),
)
def test_any_order_loss_and_look_into_the_table_ends_as_the_loop(
    absent: set[tuple[str, int]],
    lost: set[tuple[str, int]],
    order: list[tuple[str, int]],
    looks: set[int],
) -> None:
    present = {(s, m) for s, m in order} - absent
    panel, turn = a_panel(Clock()), Turn()
    # The table has a symbol's bars in order, before any of them is told.
    for count, (symbol, minute) in enumerate(order):
        if (symbol, minute) in present - lost:
            panel.offer(symbol, arrival(symbol, minute), 100)
        panel.advance(turn)
        if count in looks:
            panel.fill(all_of(present), turn)
    panel.fill(all_of(present), turn)
    panel.advance(turn)
    (stream,) = panel.streams
    assert (told(turn), stream.runner.save()) == looped(present)
    assert panel.pending == {}
    assert panel.offered == {}


def test_time_waits_for_a_silent_symbol_and_then_goes_on_without_it() -> None:
    clock, turn = Clock(), Turn()
    panel = a_panel(clock)
    for symbol in SYMBOLS:
        panel.known[symbol] = 0
        panel.offer(symbol, arrival(symbol, 1), 10)
    assert not panel.advance(turn)
    panel.offer("A", arrival("A", 2), 10)
    panel.offer("B", arrival("B", 2), 10)
    assert panel.advance(turn)
    assert panel.gapped()
    clock.now = 999
    assert panel.advance(turn)
    assert panel.ts == MINUTE
    clock.now = 1000
    assert not panel.advance(turn)
    assert panel.ts == 2 * MINUTE
    # Too late for its time.
    panel.offer("C", arrival("C", 2), 10)
    assert panel.pending == {}


def test_bar_that_follows_a_hole_is_not_relied_on_until_the_table_was_asked() -> None:
    turn = Turn()
    panel = a_panel(Clock())
    for symbol in SYMBOLS:
        panel.offer(symbol, arrival(symbol, 1), 10)
    panel.fill(all_of({(s, 1) for s in SYMBOLS}), turn)
    panel.advance(turn)
    for symbol in SYMBOLS:
        panel.offer(symbol, arrival(symbol, 3 if symbol == "C" else 2), 10)
    # C may have had a bar at 2 that nobody told.
    assert panel.advance(turn)
    panel.fill({"C": [arrival("C", 3)]}, turn)
    panel.advance(turn)
    assert panel.ts == 2 * MINUTE
