"""Bars go out complete, in order, stored first and once, whatever the stream and the servers do."""

import asyncio
import random
from datetime import UTC, date, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.messages import Bar, Quote
from libs.common.domain.sessions import load_calendar
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import to_ns
from libs.common.runtime.readiness import Readiness
from services.data_collector.bar_keeper import BarKeeper
from services.data_collector.bars import fold_all
from services.data_collector.gaps import gap_between
from services.data_collector.ports import Ticks
from services.data_collector.tick_writer import TickWriter
from tests.support.market_fakes import MemoryHistory, MemoryMarketStore, Published
from tests.support.runtimes import eventually

MINUTE = 60_000_000_000
CALENDAR = load_calendar(date(2013, 10, 1), date(2013, 10, 31))
OPEN = to_ns(datetime(2013, 10, 7, 13, 30, tzinfo=UTC))
RECEIVED_NS = to_ns(datetime(2026, 1, 5, tzinfo=UTC))
TUESDAY = to_ns(datetime(2013, 10, 8, 13, 30, tzinfo=UTC))


def bar(minute: int, close: float | None = None, start: int = OPEN) -> Bar:
    price = close or 10.0 + minute / 100
    return Bar(
        timeframe="1m", ts_event=start + minute * MINUTE, open=price, high=price, low=price,
        close=price, volume=7.0, vwap=price, trades=2,
    )  # fmt: skip


class Desk:
    """A keeper on memory stand-ins."""

    def __init__(self, history: MemoryHistory | None = None) -> None:
        self.store = MemoryMarketStore()
        self.history = history or MemoryHistory()
        self.published = Published(self.store)
        self.readiness = Readiness({})
        self.writer = TickWriter(
            self.store, "alpaca", rows_max=100, batch_rows=100, pause_s=0.001,
            readiness=self.readiness,
        )  # fmt: skip
        self.keeper = self.new_keeper()

    def new_keeper(self, pending_max: int = 1000) -> BarKeeper:
        return BarKeeper(
            store=self.store, history=self.history, publish=self.published, refused=self.writer,
            calendar=CALENDAR,
            gap_timeout_s=0.2, pending_max=pending_max, readiness=self.readiness,
        )  # fmt: skip

    async def take(self, *bars: Bar, symbol: str = "IBM") -> None:
        self.keeper.offer(symbol, bars, RECEIVED_NS)
        await self.keeper.flush()

    def minutes(self, symbol: str = "IBM") -> list[int]:
        return [(b.ts_event - OPEN) // MINUTE for b in self.published.bars(symbol)]


async def test_bar_is_in_the_table_when_it_is_published() -> None:
    desk = Desk()
    await desk.take(bar(0))
    assert desk.minutes() == [0]
    assert desk.published.unstored == []


async def test_repeated_bar_is_published_once() -> None:
    desk = Desk()
    await desk.take(bar(0), bar(0))
    await desk.take(bar(0))
    assert desk.minutes() == [0]
    assert desk.writer.waiting == 0


async def test_bar_that_comes_again_with_other_figures_is_quarantined() -> None:
    desk = Desk()
    await desk.take(bar(0))
    await desk.take(bar(0, close=11.0))
    await desk.writer.drain()
    assert [(t.code, t.ts_event) for t in desk.store.refused] == [("BAR_CORRECTION", OPEN)]
    assert desk.minutes() == [0]


async def test_missing_minutes_are_fetched_and_go_out_first() -> None:
    desk = Desk(MemoryHistory({"IBM": [bar(i) for i in range(10)]}))
    await desk.take(bar(0))
    await desk.take(bar(4))
    assert desk.minutes() == [0, 1, 2, 3, 4]
    assert desk.published.unstored == []
    assert desk.history.asked == [(("IBM",), Timeframe.MINUTE, OPEN + MINUTE, OPEN + 4 * MINUTE)]


async def test_a_bar_is_published_with_the_time_of_its_arrival() -> None:
    desk = Desk()
    desk.keeper.offer("IBM", [bar(0)], RECEIVED_NS)
    desk.keeper.offer("IBM", [bar(1)], RECEIVED_NS + 5)
    desk.keeper.offer("BAC", [bar(0)], RECEIVED_NS + 7)
    await desk.keeper.flush()
    desk.keeper.offer("IBM", [bar(2)], RECEIVED_NS + 9)
    await desk.keeper.flush()
    times = [(m.symbol, m.ts_init - RECEIVED_NS) for m in desk.published.messages]
    assert times == [("IBM", 0), ("BAC", 7), ("IBM", 9)]


async def test_gaps_of_several_symbols_are_asked_for_at_once() -> None:
    desk = Desk(MemoryHistory({s: [bar(i) for i in range(10)] for s in ("IBM", "BAC")}))
    for symbol in ("IBM", "BAC"):
        await desk.take(bar(0), symbol=symbol)
    desk.keeper.offer("IBM", [bar(3)], RECEIVED_NS)
    desk.keeper.offer("BAC", [bar(3)], RECEIVED_NS)
    await desk.keeper.flush()
    assert desk.minutes("IBM") == desk.minutes("BAC") == [0, 1, 2, 3]
    assert len(desk.history.asked) == 1


async def test_minute_without_trades_is_no_reason_to_wait() -> None:
    desk = Desk()
    await desk.take(bar(0))
    await desk.take(bar(2))
    await desk.take(bar(3))
    assert desk.minutes() == [0, 2, 3]
    assert len(desk.history.asked) == 1


@pytest.mark.parametrize("slow", [True, False])
async def test_history_that_does_not_answer_holds_nothing_up(slow: bool) -> None:
    desk = Desk()
    desk.history.delay_s, desk.history.away = (5.0, False) if slow else (0.0, True)
    await desk.take(bar(0))
    await desk.take(bar(4))
    assert desk.minutes() == [0, 4]


async def test_broken_bar_from_history_is_quarantined() -> None:
    broken = msgspec.structs.replace(bar(1), low=99.0)
    desk = Desk(MemoryHistory({"IBM": [broken]}))
    await desk.take(bar(0))
    await desk.take(bar(2))
    assert desk.minutes() == [0, 2]
    assert desk.writer.waiting == 1


async def test_database_away_delays_bars_and_loses_none() -> None:
    desk = Desk()
    await desk.take(bar(0))
    desk.store.away = True
    running = asyncio.create_task(desk.keeper.run())
    for i in range(1, 6):
        desk.keeper.offer("IBM", [bar(i)], RECEIVED_NS)
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    assert desk.minutes() == [0]
    assert desk.readiness.reasons == {"bars": "database: away"}
    desk.store.away = False
    await eventually(lambda: desk.minutes() == [0, 1, 2, 3, 4, 5], what="every bar")
    assert desk.readiness.ready
    running.cancel()
    assert desk.published.unstored == []


async def test_bars_beyond_the_bound_are_found_again_as_a_gap() -> None:
    desk = Desk(MemoryHistory({"IBM": [bar(i) for i in range(20)]}))
    desk.keeper = desk.new_keeper(pending_max=3)
    desk.keeper.offer("IBM", [bar(i) for i in range(9)], RECEIVED_NS)
    await desk.keeper.flush()
    assert desk.minutes() == [0, 1, 2]
    await desk.take(bar(9))
    assert desk.minutes() == list(range(10))


async def test_redis_away_leaves_the_table_complete() -> None:
    desk = Desk()
    desk.published.away = True
    await desk.take(bar(0))
    desk.published.away = False
    await desk.take(bar(1))
    assert desk.minutes() == [1]
    assert len(desk.store.bars) == 2


async def test_longer_bars_go_out_with_the_minute_that_ends_them() -> None:
    desk = Desk()
    for i in range(15):
        await desk.take(bar(i))
    assert [b.ts_event for b in desk.published.bars("IBM", "5m")] == [
        OPEN, OPEN + 5 * MINUTE, OPEN + 10 * MINUTE,
    ]  # fmt: skip
    (quarter,) = desk.published.bars("IBM", "15m")
    assert (quarter.open, quarter.close, quarter.volume, quarter.trades) == (10.0, 10.14, 105.0, 30)
    assert desk.published.unstored == []


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_restarts_cuts_and_repeats_change_no_bar(seed: int, restarts: int) -> None:
    """Whatever subset of a morning's bars the stream brings, in whatever batches, with restarts
    in between: the table and the broadcasts hold the whole morning, once and in order."""
    asyncio.run(_morning(random.Random(seed), restarts))


async def _morning(dice: random.Random, restarts: int) -> None:
    minutes = [bar(i, close=round(dice.uniform(9, 11), 2)) for i in range(90)]
    desk = Desk(MemoryHistory({"IBM": minutes}))
    stops = {dice.randrange(1, 89) for _ in range(restarts)}
    for i, minute in enumerate(minutes):
        if i in stops:
            desk.keeper = desk.new_keeper()
            await desk.keeper.resume(["IBM"])
        if i == 0 or i == 89 or dice.random() < 0.6:
            await desk.take(*([minute] * dice.choice([1, 1, 2])))
    assert desk.published.bars("IBM") == minutes
    assert desk.published.unstored == []
    for timeframe in ("5m", "15m", "1h"):
        expected = fold_all(minutes, Timeframe(timeframe), minutes[-1].ts_event + MINUTE)
        got = desk.published.bars("IBM", timeframe)
        assert [(b.ts_event, b.open, b.close, b.volume) for b in got] == [
            (b.ts_event, b.open, b.close, b.volume) for b in expected
        ]


@pytest.mark.parametrize(
    ("last", "following", "gap"),
    [
        (OPEN, OPEN + MINUTE, None),
        (OPEN, OPEN + 2 * MINUTE, (OPEN + MINUTE, OPEN + 2 * MINUTE)),
        (OPEN + 389 * MINUTE, TUESDAY, None),
        (OPEN + 388 * MINUTE, TUESDAY, (OPEN + 389 * MINUTE, TUESDAY)),
        (OPEN + 389 * MINUTE, TUESDAY + MINUTE, (OPEN + 390 * MINUTE, TUESDAY + MINUTE)),
        (OPEN - 60 * MINUTE, OPEN - 30 * MINUTE, None),
        (OPEN + 400 * MINUTE, OPEN + 420 * MINUTE, None),
        (OPEN, OPEN, None),
    ],
)
def test_only_minutes_of_regular_sessions_are_missed(
    last: int, following: int, gap: tuple[int, int] | None
) -> None:
    assert gap_between(last, following, CALENDAR) == gap


async def test_ticks_that_cannot_be_stored_are_told_and_kept() -> None:
    desk = Desk()
    desk.store.away = True
    desk.writer.add(Ticks("IBM", [Quote(ts_event=OPEN, bid=10.0, ask=10.1)], []))
    running = asyncio.create_task(desk.writer.run())
    await eventually(lambda: "ticks" in desk.readiness.reasons, what="the reason")
    assert (desk.readiness.reasons["ticks"], desk.writer.waiting) == ("database: away", 1)
    desk.store.away = False
    await eventually(lambda: desk.readiness.ready, what="its end")
    assert len(desk.store.ticks) == 1
    running.cancel()
