"""Backfill and warm-up: closed bars only, whole longer bars only, nothing replaced."""

import asyncio
from datetime import UTC, date, datetime

import msgspec

from libs.common.contracts.messages import Bar
from libs.common.domain.sessions import load_calendar
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import to_ns
from services.data_collector.bar_keeper import BarKeeper
from services.data_collector.daily import DailyBars
from services.data_collector.history import Backfill, day_start_ns, last_closed, warmup_start
from services.data_collector.tick_writer import TickWriter
from tests.support.market_fakes import MemoryHistory, MemoryMarketStore, Published
from tests.support.runtimes import eventually

CALENDAR = load_calendar(date(2013, 1, 1), date(2013, 12, 31))
MINUTE = 60_000_000_000


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2013, 10, day, hour, minute, tzinfo=UTC)


OPEN = to_ns(at(7, 13, 30))


def minute_bar(i: int) -> Bar:
    return Bar(
        timeframe="1m", ts_event=OPEN + i * MINUTE, open=10.0, high=11.0, low=9.0,
        close=10.0 + i / 100, volume=5.0, vwap=10.0, trades=1,
    )  # fmt: skip


def daily_bar(day: int) -> Bar:
    return Bar(
        timeframe="1d", ts_event=to_ns(at(day, 4)), open=10.0, high=11.0, low=9.0, close=10.5,
        volume=500.0,
    )  # fmt: skip


async def fetched(
    bars: list[Bar], timeframe: Timeframe, start_ns: int, now: datetime
) -> MemoryMarketStore:
    store = MemoryMarketStore()
    work = Backfill(bars=store, ticks=store, calendar=CALENDAR)
    await work.fetch(MemoryHistory({"IBM": bars}), ["IBM"], timeframe, start_ns, to_ns(now))
    return store


def starts(store: MemoryMarketStore, timeframe: str) -> list[int]:
    return [(ts - OPEN) // MINUTE for _, name, ts in sorted(store.bars) if name == timeframe]


async def test_newest_minute_is_left_to_the_stream() -> None:
    store = await fetched([minute_bar(i) for i in range(20)], Timeframe.MINUTE, OPEN, at(7, 13, 41))
    assert starts(store, "1m") == list(range(10))


async def test_longer_bars_are_folded_from_whole_buckets_only() -> None:
    store = await fetched(
        [minute_bar(i) for i in range(30)], Timeframe.MINUTE, OPEN + 2 * MINUTE, at(7, 13, 54)
    )
    assert starts(store, "5m") == [5, 10, 15]
    assert starts(store, "15m") == []


async def test_minute_without_trades_does_not_keep_a_longer_bar_from_closing() -> None:
    bars = [minute_bar(i) for i in range(10) if i not in (4, 9)]
    store = await fetched(bars, Timeframe.MINUTE, OPEN, at(7, 13, 45))
    assert starts(store, "5m") == [0, 5]


async def test_day_that_is_still_running_is_left_out() -> None:
    start = to_ns(at(1, 0))
    bars = [daily_bar(4), daily_bar(7)]
    before = await fetched(bars, Timeframe.DAY, start, at(7, 19, 59))
    after = await fetched(bars, Timeframe.DAY, start, at(7, 20, 0))
    assert (len(before.bars), len(after.bars)) == (1, 2)


async def test_broken_bar_is_quarantined_and_its_neighbours_are_kept() -> None:
    broken = msgspec.structs.replace(minute_bar(1), high=1.0)
    store = await fetched([minute_bar(0), broken, minute_bar(2)], Timeframe.MINUTE, OPEN, at(7, 14))
    assert starts(store, "1m") == [0, 2]
    assert [tick.code for tick in store.refused] == ["BAR_INCONSISTENT"]


def test_warm_up_begins_with_whole_sessions() -> None:
    # Monday the 7th: two sessions back is Thursday the 3rd.
    assert warmup_start(CALENDAR, at(7, 15), 2, 3) == {
        Timeframe.MINUTE: to_ns(at(3, 13, 30)),
        Timeframe.DAY: to_ns(at(2, 4)),
    }
    assert warmup_start(CALENDAR, at(7, 15), 0, 0) == {}


def test_warm_up_before_the_first_session_asks_for_nothing() -> None:
    assert warmup_start(CALENDAR, datetime(2013, 1, 1, 12, tzinfo=UTC), 2, 60) == {}


def test_last_closed_session_is_todays_from_the_close_on() -> None:
    for moment, day in ((at(7, 19, 59), 4), (at(7, 20), 7), (at(6, 12), 4)):
        session = last_closed(CALENDAR, moment)
        assert session is not None
        assert session.date == date(2013, 10, day)
        assert day_start_ns(session) == to_ns(at(day, 4))


async def test_daily_bar_is_stored_and_published_once_the_provider_has_it() -> None:
    store, history = MemoryMarketStore(), MemoryHistory()
    published = Published(store)
    writer = TickWriter(store, "alpaca", rows_max=10, batch_rows=10, pause_s=1.0)
    keeper = BarKeeper(
        store=store, history=history, publish=published, refused=writer, calendar=CALENDAR,
        gap_timeout_s=1.0, pending_max=10,
    )  # fmt: skip
    history.known["IBM"] = [daily_bar(7)]
    daily = DailyBars(
        store=store, history=history, keeper=keeper, calendar=CALENDAR, symbols=("IBM",),
        now=lambda: at(7, 20, 1), wall_ns=lambda: 1,
    )  # fmt: skip
    task = asyncio.create_task(daily.run())
    await eventually(lambda: len(published.bars("IBM", "1d")) == 1, what="the daily bar")
    await asyncio.sleep(1.1)
    task.cancel()
    assert published.bars("IBM", "1d") == [daily_bar(7)]
    assert published.unstored == []
    assert len(history.asked) == 1
