"""The market tables on a real PostgreSQL: COPY, partitions, upsert, pages."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import psycopg
import pytest

from libs.common.contracts.messages import Bar, Quote, TradeTick
from libs.common.domain.instruments import Instrument
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import to_ns
from libs.common.runtime.database import Database
from services.data_collector.bar_keeper import normal
from services.data_collector.ports import Ticks
from services.data_collector.store import MarketStore
from services.data_collector.validation import Code, quarantined

OPEN = datetime(2013, 10, 7, 13, 30, tzinfo=UTC)
START = to_ns(OPEN)
MINUTE = 60_000_000_000


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[MarketStore]:
    database = Database(database_url, pool_size=2, timeout_s=5, name="test")
    yield MarketStore(database)
    await database.close()


def bar(minute: int, close: float = 10.0, **changes: float) -> Bar:
    made = Bar(
        timeframe="1m", ts_event=START + minute * MINUTE, open=close, high=close, low=close,
        close=close, volume=5.0, vwap=close, trades=1,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


async def test_ticks_come_back_as_they_went_in(store: MarketStore) -> None:
    quote = Quote(ts_event=START + 1500, bid=183.61, ask=183.63, bid_size=3, ask_size=0.5)
    trade = TradeTick(ts_event=START + 2500, price=183.615, size=100)
    assert await store.append_ticks("alpaca", [Ticks("IBM", [quote], [trade])]) == 2
    first, second = await store.quotes("IBM", OPEN, OPEN + timedelta(seconds=1), 10)
    assert first.ts == OPEN + timedelta(microseconds=1)
    assert (first.bid, first.ask, first.bid_size, first.ask_size) == (
        Decimal("183.61"), Decimal("183.63"), Decimal(3), Decimal("0.5"),
    )  # fmt: skip
    assert (first.last_price, first.provider) == (None, "alpaca")
    assert (second.last_price, second.volume, second.bid) == (
        Decimal("183.615"),
        Decimal(100),
        None,
    )


async def test_partitions_are_made_for_whatever_month_is_simulated(
    store: MarketStore, database_url: str
) -> None:
    months = [datetime(1990, 1, 31, 23, tzinfo=UTC), datetime(2022, 12, 28, tzinfo=UTC)]
    ticks = [TradeTick(ts_event=to_ns(ts), price=1.0, size=1.0) for ts in months]
    await store.append_ticks("alpaca", [Ticks("IBM", [], [tick]) for tick in ticks])
    with psycopg.connect(database_url) as connection:
        names = connection.execute(
            "SELECT DISTINCT tableoid::regclass::text FROM market_quotes ORDER BY 1"
        ).fetchall()
    assert names == [("market_quotes_p_1990_01",), ("market_quotes_p_2022_12",)]


async def test_bar_that_is_there_stays_unless_replacing_is_asked(store: MarketStore) -> None:
    assert await store.add_bars("alpaca", {"IBM": [bar(0), bar(1)]}) == 2
    assert await store.add_bars("alpaca", {"IBM": [bar(0, 99.0), bar(2)]}) == 1
    page = await store.bars("IBM", Timeframe.MINUTE, OPEN, OPEN + timedelta(hours=1), 10)
    assert [row.close for row in page] == [10, 10, 10]
    assert await store.add_bars("yahoo", {"IBM": [bar(0, 99.0)]}, replace=True) == 1
    page = await store.bars("IBM", Timeframe.MINUTE, OPEN, OPEN + timedelta(hours=1), 1)
    assert [(row.close, row.provider) for row in page] == [(99, "yahoo")]


async def test_same_bar_twice_in_one_batch_is_one_row(store: MarketStore) -> None:
    assert await store.add_bars("alpaca", {"IBM": [bar(0), bar(0)]}) == 1


async def test_stored_bar_has_the_bits_of_the_published_one(store: MarketStore) -> None:
    awkward = normal(bar(0, 187.41234567891, volume=0.1 + 0.2, vwap=1 / 3))
    await store.add_bars("alpaca", {"IBM": [awkward]})
    assert await store.minutes_since(["IBM"], START) == {"IBM": [awkward]}


async def test_last_bars_are_told_by_symbol_and_timeframe(store: MarketStore) -> None:
    await store.add_bars("alpaca", {"IBM": [bar(0), bar(7)], "BAC": [bar(3)]})
    assert await store.last_bar_ns(["IBM", "BAC", "SPY"], Timeframe.MINUTE) == {
        "IBM": START + 7 * MINUTE,
        "BAC": START + 3 * MINUTE,
    }
    assert await store.last_bar_ns(["IBM"], Timeframe.DAY) == {}


async def test_quarantined_ticks_are_paged_newest_first(store: MarketStore) -> None:
    wild = Quote(ts_event=START, bid=float("nan"), ask=2.0)
    late = TradeTick(ts_event=-5, price=1.0, size=1.0, conditions=("\x00",))
    await store.quarantine(
        "alpaca",
        [
            quarantined("IBM", Code.PRICE_NOT_FINITE, wild),
            quarantined("BAC", Code.TIME_TOO_OLD, late),
        ],
    )
    newest, oldest = await store.quarantined(None, None, None, 10)
    assert (newest.symbol, newest.code, newest.ts) == ("BAC", "TIME_TOO_OLD", None)
    assert (oldest.symbol, oldest.ts, oldest.tick["bid"]) == ("IBM", OPEN, None)
    assert [row.id for row in await store.quarantined(None, None, newest.id, 10)] == [oldest.id]
    assert [r.symbol for r in await store.quarantined("BAC", None, None, 10)] == ["BAC"]
    assert await store.quarantined("BAC", "PRICE_NOT_FINITE", None, 10) == []


async def test_instrument_changes_are_taken_but_a_sector_is_not_lost(store: MarketStore) -> None:
    await store.put_instruments([Instrument("IBM", exchange="NYSE", sector="Technology")])
    changed = Instrument("IBM", exchange="NASDAQ", tradable=False)
    await store.put_instruments([changed, Instrument("BAC", exchange="NYSE")])
    assert await store.instruments() == [
        Instrument("BAC", exchange="NYSE"),
        replace(changed, sector="Technology"),
    ]


async def test_role_of_the_service_may_do_all_this(database_url: str) -> None:
    password = "collector-only"
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"ALTER ROLE data_collector LOGIN PASSWORD '{password}'")
    address = database_url.split("@", 1)[1]
    database = Database(
        f"postgresql://data_collector:{password}@{address}", pool_size=1, timeout_s=5, name="test"
    )
    store = MarketStore(database)
    try:
        await store.put_instruments([Instrument("IBM", exchange="NYSE")])
        await store.append_ticks(
            "alpaca", [Ticks("IBM", [Quote(ts_event=START, bid=1.0, ask=1.0)], [])]
        )
        assert await store.add_bars("alpaca", {"IBM": [bar(0)]}) == 1
        assert await store.add_bars("alpaca", {"IBM": [bar(0)]}, replace=True) == 1
        await store.quarantine("alpaca", [quarantined("IBM", Code.PRICE_OUTLIER, bar(1))])
        assert len(await store.quotes("IBM", OPEN, OPEN + timedelta(seconds=1), 10)) == 1
        assert len(await store.minutes_since(["IBM"], START)) == 1
    finally:
        await database.close()
