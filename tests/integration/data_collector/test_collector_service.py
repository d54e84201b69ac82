"""The whole service on the simulated broker, PostgreSQL and Redis, seen through its own doors."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import psycopg
import pyarrow as pa
import pytest
import redis.asyncio as redis

from libs.common.contracts.envelope import Reader
from libs.common.contracts.messages import Bar, MarketData
from services.data_collector.latest import LatestTick
from services.data_collector.main import build
from services.data_collector.settings import CollectorSettings
from tests.support.runtimes import eventually, ready, serving
from tests.support.simulator import Simulator, start_simulator

SYMBOLS = ("AAPL", "KO", "MSFT")
MARKET = "/api/v1/market"
DAY, NIGHT = "2019-03-04T05:00:00Z", "2019-03-05T05:00:00Z"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator() as running:
        for symbol, price in (("AAPL", 100), ("KO", 50), ("MSFT", 200)):
            running.quote(symbol, f"{price}.00", f"{price}.02")
        yield running


@dataclass
class Heard:
    """What a subscriber of `market_data.*` has heard."""

    messages: list[MarketData]

    def bars(self, symbol: str, timeframe: str = "1m") -> list[Bar]:
        """Bars of one symbol and timeframe, in order of arrival."""
        return [
            bar
            for message in self.messages
            if message.symbol == symbol
            for bar in message.bars
            if bar.timeframe == timeframe
        ]

    def bids(self, symbol: str) -> list[float]:
        """Bids of one symbol, in order of arrival."""
        return [
            q.bid for message in self.messages if message.symbol == symbol for q in message.quotes
        ]


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Heard]:
    """Listen to all market data."""
    heard = Heard([])
    reader = Reader(MarketData)
    client = redis.Redis.from_url(url)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await pubsub.psubscribe("market_data.*")

    async def listen() -> None:
        async for message in pubsub.listen():
            heard.messages.append(reader.read(message["data"]).payload)

    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pubsub.aclose()
        await client.aclose()


def settings_for(
    simulator: Simulator, database_url: str, redis_url: str, **more: Any
) -> CollectorSettings:
    values: dict[str, Any] = {
        "database_url": database_url, "redis_url": redis_url, "symbols": ",".join(SYMBOLS),
        "broker_url": simulator.url, "data_url": simulator.data_url,
        "data_stream_url": simulator.data_stream_url, "clock_url": simulator.url,
        "clock_poll_s": 0.05, "broker_key": simulator.key, "broker_secret": simulator.secret,
        "tick_store_s": 0.02, "cache_refresh_s": 0.05, "stream_delay_s": 0.05,
        "history_requests_per_minute": 100_000,
    }  # fmt: skip
    return CollectorSettings.model_validate({**values, **more})


@asynccontextmanager
async def collecting(settings: CollectorSettings) -> AsyncIterator[httpx.AsyncClient]:
    """Run the service until ready and subscribed."""
    async with serving(build(settings)) as client:
        await ready(client)

        async def subscribed() -> bool:
            items = (await client.get(f"{MARKET}/providers")).json()["items"]
            return bool(items[0]["stream"]["connected"])

        await eventually(subscribed, what="stream")
        yield client


async def minutes(simulator: Simulator, count: int, cents: int = 0) -> None:
    """Let `count` minutes pass with a trade in each, for every symbol."""
    for i in range(count):
        for symbol, price in (("AAPL", 100), ("KO", 50), ("MSFT", 200)):
            await asyncio.to_thread(simulator.trade, symbol, f"{price}.{(cents + i) % 90:02d}")
        await asyncio.to_thread(simulator.step, 60)
        await asyncio.sleep(0.08)  # let the collector's clock follow


async def test_tick_is_published_cached_stored_and_served(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    settings = settings_for(simulator, database_url, redis_url)
    async with listening(redis_url) as heard, collecting(settings) as client:
        await asyncio.to_thread(simulator.quote, "AAPL", "101.00", "101.03")
        await eventually(lambda: 101.0 in heard.bids("AAPL"), what="the broadcast")
        latest = (await client.get(f"{MARKET}/quotes/latest?symbols=aapl,KO")).json()["items"]
        assert [(item["symbol"], item["bid"]) for item in latest] == [("AAPL", 101.0), ("KO", 50.0)]

        async with redis.Redis.from_url(redis_url) as cache:
            await eventually(lambda: _cached(cache, "AAPL", 101.0), what="the cache")
            assert 0 < await cache.ttl("market:latest:AAPL") <= 60

        async def stored() -> bool:
            answer = await client.get(
                f"{MARKET}/quotes", params={"symbol": "AAPL", "start": DAY, "end": NIGHT}
            )
            return [row["bid"] for row in answer.json()["items"]][-1:] == ["101.00000000"]

        await eventually(stored, what="the row")


async def _cached(cache: redis.Redis, symbol: str, bid: float) -> bool:
    data = await cache.get(f"market:latest:{symbol}")
    return data is not None and msgspec.json.decode(data, type=LatestTick).bid == bid


async def test_bars_are_the_same_on_the_wire_in_the_table_and_at_the_provider(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    settings = settings_for(simulator, database_url, redis_url)
    async with listening(redis_url) as heard, collecting(settings) as client:
        await minutes(simulator, 7)
        await eventually(lambda: len(heard.bars("KO")) >= 6, what="minute bars")
        await eventually(lambda: len(heard.bars("KO", "5m")) >= 1, what="a five-minute bar")
        answer = await client.get(
            f"{MARKET}/bars", params={"symbol": "KO", "start": "2019-03-04T15:00:00Z",
                                      "end": "2019-03-04T16:00:00Z"}
        )  # fmt: skip
        table = [(row["ts"], float(row["close"]), float(row["volume"]))
                 for row in answer.json()["items"]]  # fmt: skip
        wire = [(_rfc(bar.ts_event), bar.close, bar.volume) for bar in heard.bars("KO")]
        provider = simulator.get(
            "/v2/stocks/bars", symbols="KO", timeframe="1Min", start="2019-03-04T15:00:00Z"
        )["bars"]["KO"]
        assert table[-len(wire) :] == wire
        closed = {_same(bar["t"]): (bar["c"], bar["v"]) for bar in provider}
        assert all(closed[_same(ts)] == (close, volume) for ts, close, volume in table)


async def test_restart_fills_what_was_missed_and_repeats_nothing(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    settings = settings_for(simulator, database_url, redis_url)
    async with listening(redis_url) as heard:
        async with collecting(settings):
            await minutes(simulator, 3)
            await eventually(lambda: len(heard.bars("AAPL")) >= 3, what="bars before")
        await minutes(simulator, 4, cents=10)
        async with collecting(settings):
            await minutes(simulator, 3, cents=20)
            await eventually(lambda: len(heard.bars("AAPL")) >= 5, what="bars after")
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT ts FROM market_ohlcv WHERE symbol = 'AAPL' AND timeframe = '1m' "
            "AND ts >= '2019-03-04T15:00:00Z' ORDER BY ts"
        ).fetchall()
    first = rows[0][0]
    assert len(rows) >= 10
    assert [row[0] for row in rows] == [first + timedelta(minutes=i) for i in range(len(rows))]
    published = [bar.ts_event for bar in heard.bars("AAPL")]
    assert published == sorted(set(published))


async def test_cut_stream_comes_back_and_the_gap_is_filled_before_the_next_bar(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    settings = settings_for(simulator, database_url, redis_url)
    async with listening(redis_url) as heard, collecting(settings) as client:
        await minutes(simulator, 2)
        await eventually(lambda: len(heard.bars("KO")) >= 2, what="bars before the cut")
        await asyncio.to_thread(simulator.disconnect, "data")
        for _ in range(3):
            await asyncio.to_thread(simulator.trade, "KO", "50.50")
            await asyncio.to_thread(simulator.step, 60)

        async def back() -> bool:
            stream = (await client.get(f"{MARKET}/providers")).json()["items"][0]["stream"]
            return bool(stream["connected"] and stream["reconnects"] >= 1)

        await eventually(back, what="a new session")
        await minutes(simulator, 3, cents=30)
        await eventually(lambda: len(heard.bars("KO")) >= 7, what="all bars")
        starts = [bar.ts_event // 60_000_000_000 for bar in heard.bars("KO")]
        assert starts == list(range(starts[0], starts[0] + len(starts)))


async def test_bad_tick_is_quarantined_and_told(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    settings = settings_for(simulator, database_url, redis_url, tick_future_s_max=1.0)
    async with listening(redis_url) as heard, collecting(settings) as client:
        await asyncio.to_thread(simulator.trade, "KO", "50.10")
        late = "2019-03-04T14:00:00Z"
        await asyncio.to_thread(simulator.trade, "KO", "50.20", 100, late)

        async def told() -> bool:
            answer = await client.get(f"{MARKET}/quarantine?symbol=KO")
            return [(r["code"], r["symbol"]) for r in answer.json()["items"]] == [
                ("TIME_TOO_OLD", "KO")
            ]

        await eventually(told, what="the quarantined trade")
        prices = [t.price for m in heard.messages if m.symbol == "KO" for t in m.trades]
        assert 50.2 not in prices


async def test_instruments_providers_calendar_and_formats(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    async with collecting(settings_for(simulator, database_url, redis_url)) as client:
        found = (await client.get(f"{MARKET}/instruments?search=a")).json()["items"]
        assert [(item["symbol"], item["sector"]) for item in found] == [
            ("AAPL", "Information Technology")
        ]
        one = (await client.get(f"{MARKET}/instruments/ko")).json()
        assert (one["sector"], one["tick_size"]) == ("Consumer Staples", "0.01000000")
        week = (await client.get(f"{MARKET}/calendar?start=2019-03-04&end=2019-03-10")).json()[
            "items"
        ]
        assert [day["date"] for day in week] == [f"2019-03-0{d}" for d in (4, 5, 6, 7, 8)]
        daily = {"symbol": "KO", "timeframe": "1d", "start": "2018-12-01T00:00:00Z"}
        rows = (await client.get(f"{MARKET}/bars", params=daily)).json()["items"]
        text = (await client.get(f"{MARKET}/bars", params={**daily, "format": "csv"})).text
        arrow = await client.get(f"{MARKET}/bars", params={**daily, "format": "arrow"})
        table = pa.ipc.open_stream(arrow.content).read_all()
        assert text.splitlines()[0] == "ts,open,high,low,close,volume,vwap,trades,provider"
        assert len(text.splitlines()) - 1 == table.num_rows == len(rows)
        metrics = (await client.get("/metrics")).text
        assert "market_ticks_total" in metrics


BAD_PATHS = (
    ("/quotes/latest?symbols=NOPE", 404, "NOPE"),
    ("/quotes/latest?symbols=,", 422, "at least one"),
    ("/quotes/latest", 422, "symbols"),
    ("/bars?symbol=NOPE", 404, "NOPE"),
    ("/bars?symbol=%00", 400, "NUL"),
    ("/bars?symbl=KO&symbol=KO", 422, "unknown symbl"),
    ("/bars?symbol=KO&timeframe=7m", 422, "timeframe"),
    ("/bars?symbol=KO&limit=0", 422, "limit"),
    ("/bars?symbol=KO&limit=99999", 422, "limit"),
    ("/bars?symbol=KO&start=2019-03-04", 422, "start"),
    ("/bars?symbol=KO&start=2019-03-04T00:00:00", 422, "start"),
    ("/bars?symbol=KO&start=2020-01-02T00:00:00Z&end=2020-01-01T00:00:00Z", 422, "not before"),
    ("/bars?symbol=KO&start=9999-12-31T23:59:59-14:00", 422, "years"),
    ("/quotes?symbol=KO&end=0001-01-01T00:00:00Z", 422, "years"),
    ("/quotes?symbol=KO&after=9999-12-31T23:59:59-14:00", 422, "years"),
    ("/bars?symbol=KO&format=xml", 422, "format"),
    ("/quotes?symbol=KO&after=yesterday", 422, "after"),
    ("/instruments/NOPE", 404, "NOPE"),
    ("/instruments?limit=100000", 422, "limit"),
    ("/quarantine?code=%27%3B--", 422, "code"),
    ("/calendar?start=2019-01-01&end=2029-01-01", 422, "calendar"),
    ("/calendar?start=2019-02-30", 422, "start"),
)
GOOD = {"symbols": ["KO"], "timeframe": "1m", "start": "2019-03-04T14:30:00Z"}
BAD_BACKFILLS: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"symbols": []}, 422, "symbols"),
    ({"symbols": ["NOPE"]}, 404, "NOPE"),
    ({"symbols": ["ko"]}, 422, "symbols"),
    ({"timeframe": "5m"}, 422, "1m and 1d"),
    ({"start": "2030-01-01T00:00:00Z"}, 422, "not before"),
    ({"start": "2030-01-01T00:00:00Z", "end": "2030-01-02T00:00:00Z"}, 422, "future"),
    ({"start": "soon"}, 422, "start"),
    ({"provider": "nobody"}, 404, "nobody"),
    ({"colour": "red"}, 422, "colour"),
    ({"replace": True}, 409, "never replaced"),
)


async def test_bad_requests_are_refused_naming_what(idle_client: httpx.AsyncClient) -> None:
    wrong = []
    for path, status, words in BAD_PATHS:
        answer = await idle_client.get(MARKET + path)
        if not _refuses(answer, status, words):
            wrong.append((path, answer.status_code, answer.text))
    assert wrong == []


async def test_bad_backfills_are_refused_naming_what(idle_client: httpx.AsyncClient) -> None:
    wrong = []
    for change, status, words in BAD_BACKFILLS:
        answer = await idle_client.post(f"{MARKET}/backfill", json={**GOOD, **change})
        if not _refuses(answer, status, words):
            wrong.append((change, answer.status_code, answer.text))
    assert wrong == []


def _refuses(answer: httpx.Response, status: int, words: str) -> bool:
    return (
        answer.status_code == status
        and answer.headers["content-type"] == "application/problem+json"
        and words in answer.json()["detail"]
    )


async def test_backfill_brings_bars_once(
    idle_client: httpx.AsyncClient, simulator: Simulator
) -> None:
    await minutes(simulator, 4)
    first = await idle_client.post(f"{MARKET}/backfill", json=GOOD)
    again = await idle_client.post(f"{MARKET}/backfill", json=GOOD)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["bars"] == 0


@pytest.fixture
async def idle_client(
    simulator: Simulator, database_url: str, redis_url: str
) -> AsyncIterator[httpx.AsyncClient]:
    async with collecting(settings_for(simulator, database_url, redis_url)) as client:
        yield client


def _rfc(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat().replace("+00:00", "Z")


def _same(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
