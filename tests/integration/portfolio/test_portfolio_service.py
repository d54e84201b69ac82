"""The portfolio on real servers: values, day P&L across restarts, statements."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from libs.common.contracts.channels import MARKET_DATA, PORTFOLIO_UPDATES, TRADES_EXECUTED
from libs.common.contracts.envelope import Reader, encode, seal
from libs.common.contracts.messages import MarketData, Payload, PortfolioUpdate, Quote, Trade
from libs.common.domain.vocabulary import SessionState, Side
from libs.common.kernel.clock import ManualClock
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.bus import Bus, LogMessage
from services.portfolio.handlers import Keeper
from services.portfolio.main import build
from services.portfolio.settings import PortfolioSettings
from services.portfolio.store import BookStore, JournalStore
from tests.support.books import MadeUpBooks
from tests.support.runtimes import eventually, ready, runtime_for, serving

pytestmark = pytest.mark.slow

WALL = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
MONDAY = dt.datetime(2022, 1, 3, 15, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@dataclass
class StandingMarket:
    """Market time that is set by the test."""

    time: dt.datetime = MONDAY
    part: SessionState = SessionState.REGULAR

    def now(self) -> dt.datetime:
        return self.time

    def session(self) -> SessionState:
        return self.part


@pytest.fixture
def books(database_url: str) -> MadeUpBooks:
    made = MadeUpBooks(database_url)
    made.deposit("1000.0000")
    return made


def settings(database_url: str, redis_url: str, **changes: Any) -> PortfolioSettings:
    return PortfolioSettings.model_validate(
        {
            "database_url": database_url,
            "redis_url": redis_url,
            "outbox_sweep_s": 0.1,
            "portfolio_update_s": 0.05,
            "portfolio_publish_s": 0.1,
            **changes,
        }
    )


class Desk:
    """A keeper on the real tables with its own clock and market."""

    def __init__(self, database_url: str, redis_url: str, market: StandingMarket) -> None:
        self.market = market
        self.clock = ManualClock(WALL)
        self.runtime = runtime_for("portfolio", database_url, redis_url, port=0)
        self.journal = JournalStore(
            self.runtime.database, self.runtime.outbox, self.runtime.ids, "main"
        )
        self.keeper = Keeper(
            settings(database_url, redis_url),
            BookStore(self.runtime.database, "main"),
            self.journal,
            market,
            self.clock,
        )

    def quote(self, symbol: str, price: float) -> None:
        self.keeper.take_market(market_data(symbol, price))

    async def at(self, time: dt.datetime, part: SessionState) -> None:
        self.market.time, self.market.part = time, part
        await self.keeper.refresh()

    @property
    def day_pnl(self) -> Decimal:
        assert self.keeper.present is not None
        return self.keeper.present.day_pnl


def market_data(symbol: str, price: float) -> MarketData:
    quote = Quote(ts_event=1_641_222_000_000_000_000, bid=price - 0.01, ask=price + 0.01)
    return MarketData(symbol=symbol, provider="test", ts_init=0, quotes=(quote,))


def sealed(payload: Payload) -> Any:
    return seal(
        payload, message_id=uuid.uuid4(), ts_ns=1, source="test", correlation_id=uuid.uuid4()
    )


def trade(symbol: str = "AAPL") -> Trade:
    return Trade(
        trade_id=uuid.uuid4(), order_id=uuid.uuid4(), account_id="main", broker="alpaca",
        execution_id="x", symbol=symbol, side=Side.BUY, quantity=Decimal(1), price=Decimal(1),
        commission=Decimal(0), fees=Decimal(0), executed_at=WALL, realized_pnl=Decimal(0),
        position_quantity=Decimal(1), position_avg_cost=Decimal(1),
    )  # fmt: skip


async def test_account_follows_prices_and_executions(
    database_url: str, redis_url: str, books: MadeUpBooks
) -> None:
    bus = Bus(redis_url, timeout_s=5, name="test")
    message = encode(sealed(trade()))
    told = LogMessage(uuid.uuid4(), TRADES_EXECUTED.name(), TRADES_EXECUTED.stream, message)
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        assert (await account(client))["equity"] == "1000.0000"
        books.execute(Side.BUY, "10", "AAPL", "50.00", fee="1.5")
        books.hold("100")
        await bus.append([told, told])
        await eventually(lambda: has(client, "cash", "498.5000"), what="the execution")
        await eventually(lambda: quoted(bus, client, 52.0), what="the price")
        shown = await account(client)
        position = (await client.get("/api/v1/portfolio/positions")).json()["items"][0]
        metrics = (await client.get("/metrics")).text
        await eventually(lambda: published(bus, "1018.5000"), what="an update")
    await bus.close()
    assert (shown["cash_held"], shown["cash_available"]) == ("100.0000", "398.5000")
    assert (shown["unrealized_pnl"], shown["fees"]) == ("20.0000", "1.5000")
    assert (shown["day_pnl"], shown["total_pnl"]) == ("18.5000", "18.5000")
    assert (shown["gross_exposure"], shown["positions"], shown["stale"]) == ("520.0000", 1, [])
    assert (position["mark"], position["market_value"]) == ("52.00000000", "520.0000")
    assert (position["stale"], position["mark_source"]) == (False, "quote")
    assert "portfolio_equity 1018.5" in metrics


def service(database_url: str, redis_url: str) -> FastAPI:
    return build(settings(database_url, redis_url))


async def account(client: httpx.AsyncClient) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.get("/api/v1/portfolio/account")).json()
    return answer


async def has(client: httpx.AsyncClient, name: str, value: str) -> bool:
    return bool((await account(client))[name] == value)


async def quoted(bus: Bus, client: httpx.AsyncClient, price: float) -> bool:
    await bus.broadcast(MARKET_DATA, sealed(market_data("AAPL", price)), key="AAPL")
    return await has(client, "equity", "1018.5000")


async def published(bus: Bus, equity: str) -> bool:
    reader = Reader(PortfolioUpdate)
    entries: Any = await bus.client.xrange(PORTFOLIO_UPDATES.stream)
    updates = [reader.read(fields[b"message"]).payload for _, fields in entries]
    return any(str(update.equity) == equity for update in updates)


async def test_unopened_account_keeps_the_service_unready(
    database_url: str, redis_url: str
) -> None:
    async with serving(service(database_url, redis_url)) as client:
        await eventually(lambda: says(client, "not in the ledger yet"), what="the reason")
        refused = await client.get("/api/v1/portfolio/account")
        assert refused.status_code == 503
        MadeUpBooks(database_url).deposit("5")
        await ready(client)
        assert (await account(client))["equity"] == "5.0000"


async def says(client: httpx.AsyncClient, words: str) -> bool:
    return words in (await client.get("/ready")).text


async def test_position_without_price_is_shown_stale_at_cost_or_last_bar(
    database_url: str, redis_url: str, books: MadeUpBooks
) -> None:
    books.execute(Side.BUY, "2", "AAPL", "50.00")
    books.execute(Side.BUY, "3", "XOM", "60.00")
    books.bar("XOM", "61.5")
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        items = (await client.get("/api/v1/portfolio/positions")).json()["items"]
        shown = await account(client)
    marks = [(item["symbol"], item["mark_source"], item["market_value"]) for item in items]
    assert marks == [("AAPL", "cost", "100.0000"), ("XOM", "stored", "184.5000")]
    assert shown["stale"] == ["AAPL", "XOM"]
    assert shown["equity"] == "1004.5000"


async def test_day_pnl_goes_on_after_a_restart_in_the_day(
    database_url: str, redis_url: str, books: MadeUpBooks
) -> None:
    books.execute(Side.BUY, "10", "AAPL", "50.00")
    first = Desk(database_url, redis_url, StandingMarket())
    first.quote("AAPL", 50.0)
    await first.keeper.start()
    first.quote("AAPL", 53.0)
    await first.keeper.refresh()
    assert first.day_pnl == Decimal("30")
    again = Desk(database_url, redis_url, StandingMarket())
    again.quote("AAPL", 54.0)
    await again.keeper.start()
    assert again.day_pnl == Decimal("40")


async def test_close_makes_the_final_snapshot_and_the_next_day_counts_from_it(
    database_url: str, redis_url: str, books: MadeUpBooks
) -> None:
    books.execute(Side.BUY, "10", "AAPL", "50.00")
    desk = Desk(database_url, redis_url, StandingMarket())
    desk.quote("AAPL", 50.0)
    await desk.keeper.start()
    desk.quote("AAPL", 55.0)
    await desk.at(MONDAY.replace(hour=21), SessionState.POST)
    desk.quote("AAPL", 57.0)
    desk.clock.advance(dt.timedelta(minutes=5))
    await desk.at(MONDAY.replace(hour=22), SessionState.POST)
    monday = (await desk.journal.snapshots(None, 9))[0]
    assert (monday.final, monday.total_value, monday.day_pnl) == (True, 1050, 50)
    assert desk.day_pnl == Decimal("70")
    await desk.at(MONDAY + DAY - dt.timedelta(hours=9), SessionState.CLOSED)
    assert desk.day_pnl == Decimal("70")
    await desk.at(MONDAY + DAY, SessionState.REGULAR)
    assert desk.day_pnl == Decimal("20")
    days = await desk.journal.snapshots(None, 9)
    assert [(day.date.day, day.final) for day in days] == [(4, False), (3, True)]
    assert days[0].opening.equity == Decimal("1050")
    assert [day.date.day for day in await desk.journal.snapshots(days[0].date, 9)] == [3]


async def test_skipped_close_still_ends_the_day_with_what_was_seen_last(
    database_url: str, redis_url: str, books: MadeUpBooks
) -> None:
    books.execute(Side.BUY, "10", "AAPL", "50.00")
    desk = Desk(database_url, redis_url, StandingMarket())
    desk.quote("AAPL", 50.0)
    await desk.keeper.start()
    desk.quote("AAPL", 52.0)
    await desk.keeper.refresh()
    desk.quote("AAPL", 60.0)
    await desk.at(MONDAY + DAY, SessionState.REGULAR)
    monday = (await desk.journal.snapshots(None, 9))[1]
    assert (monday.final, monday.total_value) == (True, Decimal("1020"))
    assert desk.day_pnl == Decimal("80")


async def test_update_is_published_only_on_change(
    database_url: str, redis_url: str, books: MadeUpBooks
) -> None:
    books.execute(Side.BUY, "10", "AAPL", "50.00")
    desk = Desk(database_url, redis_url, StandingMarket())
    desk.quote("AAPL", 50.0)
    await desk.keeper.start()
    for _ in range(3):
        await desk.keeper.refresh()
    assert updates(database_url) == 1
    desk.quote("AAPL", 51.0)
    await desk.keeper.refresh()
    assert updates(database_url) == 1  # prices alone wait for their turn
    desk.clock.advance(dt.timedelta(seconds=0.1))
    await desk.keeper.refresh()
    assert updates(database_url) == 2
    books.execute(Side.BUY, "1", "AAPL", "51.00")
    desk.keeper.book_changed()
    await desk.keeper.refresh()
    assert updates(database_url) == 3


def updates(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM outbox").fetchone()
    assert row is not None
    return int(row[0])


async def test_price_goes_stale_in_regular_hours(
    database_url: str, redis_url: str, books: MadeUpBooks
) -> None:
    books.execute(Side.BUY, "10", "AAPL", "50.00")
    desk = Desk(database_url, redis_url, StandingMarket())
    desk.quote("AAPL", 50.0)
    await desk.keeper.start()
    desk.clock.advance(dt.timedelta(seconds=31))
    present = await desk.keeper.refresh()
    assert present.values.stale == ("AAPL",)
    await desk.at(MONDAY.replace(hour=22), SessionState.POST)
    assert desk.keeper.present is not None
    assert desk.keeper.present.values.stale == ()


async def test_book_of_an_unknown_account_is_unavailable(
    database_url: str, redis_url: str, books: MadeUpBooks
) -> None:
    runtime = runtime_for("portfolio", database_url, redis_url, port=0)
    with pytest.raises(UnavailableError, match="other"):
        await BookStore(runtime.database, "other").book()


async def test_statement_is_paged_and_balances_sum_to_zero(
    database_url: str, redis_url: str, books: MadeUpBooks
) -> None:
    books.execute(Side.BUY, "10", "AAPL", "50.00", fee="1.5")
    books.execute(Side.SELL, "4", "AAPL", "51.00")
    books.hold("100")
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        pages: list[dict[str, Any]] = []
        after = ""
        while True:
            page = (await client.get(f"/api/v1/portfolio/ledger?limit=3{after}")).json()
            pages.append(page)
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        usd = (await client.get("/api/v1/portfolio/ledger?ledger=USD")).json()["items"]
        balances = (await client.get("/api/v1/portfolio/ledger/balances")).json()
        shown = await account(client)
        trade = next(line["trade_id"] for line in usd if line["trade_id"])
        of_trade = (await client.get(f"/api/v1/portfolio/ledger?trade_id={trade}")).json()["items"]
        later = {"start": usd[0]["ts"], "ledger": "USD"}
        newest = (await client.get("/api/v1/portfolio/ledger", params=later)).json()["items"]
        before = {"end": usd[0]["ts"], "ledger": "USD"}
        older = (await client.get("/api/v1/portfolio/ledger", params=before)).json()["items"]
    lines = [line for page in pages for line in page["items"]]
    assert of_trade == [line for line in lines if line["trade_id"] == trade]
    assert (newest, older) == (usd[:1], usd[1:])
    assert [len(page["items"]) for page in pages] == [3, 3, 1]
    assert len({line["seq"] for line in lines}) == 7
    assert sum(Decimal(line["change"]) for line in usd) == Decimal(shown["cash"])
    hold = next(line for line in usd if line["kind"] == "pending")
    assert (hold["amount"], Decimal(hold["change"])) == ("100.0000", 0)
    assert all(Decimal(total) == 0 for total in balances["sums"].values())
    cash = next(b for b in balances["items"] if b["owner"] == "main" and b["code"] == "cash")
    assert Decimal(cash["posted"]) - Decimal(cash["available"]) == 100


async def test_strategies_profits_sum_to_the_accounts(
    database_url: str, redis_url: str, books: MadeUpBooks
) -> None:
    books.execute(Side.BUY, "10", "AAPL", "50", strategy_id="one")
    books.execute(Side.SELL, "4", "AAPL", "53", fee="1", strategy_id="one")
    books.execute(Side.SELL, "6", "AAPL", "51", strategy_id="two")
    books.execute(Side.BUY, "1", "KO", "20.00005")
    books.execute(Side.BUY, "1.5", "XOM", "10", strategy_id="one")
    books.execute(Side.SELL, "1.5", "XOM", "12", strategy_id="one")
    books.bar("AAPL", "52")
    books.bar("KO", "21")
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        items = (await client.get("/api/v1/portfolio/strategies")).json()["items"]
        only = (await client.get("/api/v1/portfolio/strategies?strategy_id=two")).json()["items"]
        none = (await client.get("/api/v1/portfolio/strategies?strategy_id=nobody")).json()["items"]
        shown = await account(client)
    found = {
        (i["strategy_id"], i["symbol"]): tuple(Decimal(i[n]) for n in ("quantity", "cash", "pnl"))
        for i in items
    }
    # The account is flat in AAPL, its strategies are not.
    assert found.pop(("one", "XOM")) == (0, 3, 3)
    assert set(found) == {("one", "AAPL"), ("two", "AAPL"), (None, "KO")}
    assert found["one", "AAPL"] == (6, Decimal("-289"), 23)
    assert found["two", "AAPL"] == (-6, 306, -6)
    assert found[None, "KO"] == (1, Decimal("-20"), 1)
    assert sum(profit for _, _, profit in found.values()) + 3 == Decimal(shown["total_pnl"])
    assert {i["quantity"] for i in items} == {"6", "-6", "1", "0"}
    assert (len(only), none) == (1, [])


async def test_equity_series_is_served_in_order(
    database_url: str, redis_url: str, books: MadeUpBooks
) -> None:
    desk = Desk(database_url, redis_url, StandingMarket())
    await desk.keeper.start()
    for hour in (16, 17):
        books.deposit("1")
        desk.keeper.book_changed()
        desk.clock.advance(dt.timedelta(seconds=11))
        await desk.at(MONDAY.replace(hour=hour), SessionState.REGULAR)
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        points = (
            await client.get("/api/v1/portfolio/equity?end=2022-01-04T00:00:00Z&limit=2")
        ).json()["items"]
        days = (await client.get("/api/v1/portfolio/snapshots?limit=5")).json()
    assert [point["equity"] for point in points] == ["1001.0000", "1002.0000"]
    assert "2022-01-03" in json.dumps(days)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("account?colour=blue", "colour"),
        ("positions?limit=1", "limit"),
        ("snapshots?limit=0", "limit"),
        ("snapshots?after=soon", "after"),
        ("equity?start=2022-01-03", "start"),
        ("equity?start=2022-01-04T00:00:00Z&end=2022-01-03T00:00:00Z", "before end"),
        ("ledger?after=0", "after"),
        ("ledger?after=nan", "after"),
        ("ledger?order_id=7", "order_id"),
        ("ledger?start=2022-01-02T00:00:00Z&end=2022-01-01T00:00:00Z", "start"),
        ("ledger?ledger=us%20d", "ledger"),
        ("ledger?limit=1001", "limit"),
        ("strategies?strategy_id=a%20b", "strategy_id"),
        ("strategies?strategy=a", "strategy"),
    ],
)
async def test_bad_requests_name_what_is_wrong(
    database_url: str, redis_url: str, books: MadeUpBooks, path: str, word: str
) -> None:
    async with serving(service(database_url, redis_url)) as client:
        response = await client.get(f"/api/v1/portfolio/{path}")
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert word in response.text
