"""The pump: what passes is published, remembered and stored; what fails is quarantined; and a
slow world behind it costs quotes, never bars."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from libs.common.contracts.messages import Bar, Quote, TradeTick
from libs.common.domain.instruments import Instrument
from libs.common.domain.sessions import load_calendar
from libs.common.kernel.clock import ManualClock
from libs.common.kernel.errors import UnavailableError
from services.data_collector.bar_keeper import BarKeeper
from services.data_collector.bridge import Bridge, BridgeState
from services.data_collector.collector import Collector
from services.data_collector.latest import LatestTicks
from services.data_collector.tick_writer import TickWriter
from services.data_collector.validation import Rules
from tests.support.market_fakes import MemoryHistory, MemoryMarketStore, Published

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
NOON = datetime(2013, 10, 7, 16, 0, tzinfo=UTC)


class MarketAt(ManualClock):
    """A market clock that the test moves; `jump` is where a look at the broker's clock puts it."""

    factor = 1.0
    jump: timedelta | None = None

    async def resync(self) -> None:
        """What the broker says."""
        if self.jump is not None:
            self.advance(self.jump)


class Desk:
    """A whole collector on memory stand-ins."""

    def __init__(self, capacity: int = 1000, rows_max: int = 100_000) -> None:
        self.clock = MarketAt(NOON)
        self.now = self.clock.now_ns()
        self.store = MemoryMarketStore()
        self.published = Published(self.store)
        self.writer = TickWriter(
            self.store, "alpaca", rows_max=rows_max, batch_rows=1000, pause_s=0.001
        )
        self.keeper = BarKeeper(
            store=self.store, history=MemoryHistory(), publish=self.published,
            refused=self.writer, calendar=load_calendar(date(2013, 10, 1), date(2013, 10, 31)),
            gap_timeout_s=0.2, pending_max=10_000,
        )  # fmt: skip
        self.states: list[BridgeState] = []
        self.bridge = Bridge(capacity, self.clock.now_ns, self.states.append)
        self.latest = LatestTicks("alpaca")
        self.collector = Collector(
            provider="alpaca", bridge=self.bridge,
            instruments={s: Instrument(s) for s in ("IBM", "BAC")}, rules=Rules(),
            publish=self.published, bars=self.keeper, writer=self.writer, latest=self.latest,
            clock=self.clock, market=self.clock, resync=self.clock.resync, store_ticks=True,
            pause_s=(0.0, 0.001),
        )  # fmt: skip

    def quote(self, offset_ns: int = 0, bid: float = 10.0) -> Quote:
        return Quote(ts_event=self.now + offset_ns, bid=bid, ask=bid + 0.01)

    def bar(self, minute: int) -> Bar:
        return Bar(
            timeframe="1m", ts_event=self.now + minute * MINUTE, open=10.0, high=10.0, low=10.0,
            close=10.0, volume=1.0, vwap=10.0, trades=1,
        )  # fmt: skip

    async def flush(self) -> int:
        return await self.collector.flush(self.bridge.take_now())


async def test_good_ticks_are_published_in_one_message_a_symbol() -> None:
    desk = Desk()
    trade = TradeTick(ts_event=desk.now, price=10.0, size=5.0)
    for symbol, tick in (
        ("IBM", desk.quote(1)), ("BAC", desk.quote(2)), ("IBM", desk.quote(3, 10.01)),
        ("IBM", trade),
    ):  # fmt: skip
        desk.bridge.offer(symbol, tick)
    assert await desk.flush() == 4
    ibm, bac = desk.published.messages
    assert (ibm.symbol, len(ibm.quotes), ibm.trades, ibm.provider) == ("IBM", 2, (trade,), "alpaca")
    assert (bac.symbol, len(bac.quotes)) == ("BAC", 1)
    last = desk.latest.get("IBM")
    assert last is not None
    assert (last.bid, last.last, last.ts_event) == (10.01, 10.0, desk.now + 3)


async def test_quarantined_tick_is_stored_with_its_reason_and_goes_nowhere_else() -> None:
    desk = Desk()
    crossed = msgspec.structs.replace(desk.quote(), bid=11.0)
    desk.bridge.offer("IBM", crossed)
    desk.bridge.offer("XYZ", desk.quote())
    await desk.flush()
    await desk.writer.drain()
    assert desk.published.messages == []
    assert desk.latest.get("IBM") is None
    assert desk.store.ticks == []
    assert [(t.symbol, t.code, t.reason) for t in desk.store.refused] == [
        ("IBM", "QUOTE_CROSSED", "the bid is above the ask"),
        ("XYZ", "SYMBOL_UNKNOWN", "nobody asked for this symbol"),
    ]


async def test_simulated_market_that_jumped_over_the_night_is_looked_up_again() -> None:
    desk = Desk()
    desk.clock.jump = timedelta(hours=17, minutes=30)
    desk.bridge.offer("IBM", desk.quote(17 * 3600 * SECOND + 1800 * SECOND))
    await desk.flush()
    assert len(desk.published.messages) == 1
    assert desk.writer.waiting == 1


async def test_tick_from_the_future_is_refused_when_the_clock_stands_by_its_word() -> None:
    desk = Desk()
    desk.bridge.offer("IBM", desk.quote(3600 * SECOND))
    await desk.flush()
    assert desk.published.messages == []


async def test_redis_away_does_not_stop_the_pump_or_the_store() -> None:
    desk = Desk()
    desk.published.away = True
    desk.bridge.offer("IBM", desk.quote())
    await desk.flush()
    desk.published.away = False
    desk.bridge.offer("IBM", desk.quote(1, 10.01))
    await desk.flush()
    await desk.writer.drain()
    assert [len(message.quotes) for message in desk.published.messages] == [1]
    assert sum(len(ticks.quotes) for ticks in desk.store.ticks) == 2


async def test_slow_consumer_costs_quotes_and_never_a_bar() -> None:
    desk = Desk(capacity=200)
    desk.published.delay_s = 0.01
    tasks = [asyncio.create_task(work) for work in (desk.collector.run(), desk.keeper.run())]
    offered = 0
    for minute in range(50):
        for i in range(200):
            ns = minute * MINUTE + i * 1000
            desk.bridge.offer("IBM", desk.quote(ns, 10.0 + i % 3 / 100))
            offered += 1
        desk.clock.advance(timedelta(minutes=1))
        desk.bridge.offer("IBM", desk.bar(minute))
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await desk.flush()
    await desk.keeper.flush()
    got = sum(len(message.quotes) for message in desk.published.messages)
    assert BridgeState.CRITICAL in desk.states
    assert desk.bridge.counts.quotes_conflated > 0
    assert got + desk.bridge.counts.quotes_conflated == offered
    assert [b.ts_event for b in desk.published.bars("IBM")] == [
        desk.now + minute * MINUTE for minute in range(50)
    ]


async def test_database_away_never_blocks_the_live_path_and_what_is_shed_is_counted() -> None:
    desk = Desk(rows_max=10)
    desk.store.away = True
    for i in range(25):
        desk.bridge.offer("IBM", desk.quote(i, 10.0 + i % 2 / 100))
        await desk.flush()
    assert len(desk.published.messages) == 25
    assert (desk.writer.waiting, desk.writer.shed) == (10, 15)
    with pytest.raises(UnavailableError):
        await desk.writer.store_once()
    assert desk.writer.waiting == 10
    desk.store.away = False
    await desk.writer.drain()
    assert [ticks.quotes[0].ts_event for ticks in desk.store.ticks] == [
        desk.now + i for i in range(10)
    ]
