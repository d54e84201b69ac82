"""Alpaca's historical data client against the history market: bars, quotes, trades, snapshots."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from tests.support.simulator import Simulator, start_simulator
from tests.support.stream_ears import Ears, running

OPEN = datetime(2019, 3, 4, 14, 30, tzinfo=UTC)
FRIDAY = datetime(2019, 3, 1, 14, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with start_simulator(
        simulator_market="history",
        simulator_symbols=("AAPL", "KO"),
        simulator_start="2019-03-04",
        simulator_hours="regular",
    ) as started:
        started.step_to("2019-03-04T15:00:30Z")
        yield started


def bars(simulator: Simulator, frame: TimeFrame, start: datetime, **how: object) -> list[object]:
    request = StockBarsRequest(symbol_or_symbols="AAPL", timeframe=frame, start=start, **how)
    return list(simulator.history_client().get_stock_bars(request).data.get("AAPL", []))


def test_minutes_of_days_before_the_session_are_there_for_warm_up(simulator: Simulator) -> None:
    found = bars(simulator, TimeFrame.Minute, FRIDAY, end=OPEN - timedelta(hours=1))
    assert len(found) == 390
    assert found[0].timestamp == FRIDAY


def test_running_day_shows_finished_minutes_only(simulator: Simulator) -> None:
    found = bars(simulator, TimeFrame.Minute, OPEN)
    assert [bar.timestamp for bar in found] == [OPEN + timedelta(minutes=i) for i in range(30)]


def test_longer_bars_are_made_of_the_minutes(simulator: Simulator) -> None:
    minutes = bars(simulator, TimeFrame.Minute, FRIDAY, end=OPEN - timedelta(hours=1))
    five = bars(
        simulator, TimeFrame(5, TimeFrameUnit.Minute), FRIDAY, end=OPEN - timedelta(hours=1)
    )
    hours = bars(simulator, TimeFrame.Hour, FRIDAY, end=OPEN - timedelta(hours=1))
    assert (len(five), len(hours)) == (78, 6)  # 14:30 lies in the hour that began before the start
    assert five[0].open == minutes[0].open
    assert five[0].high == max(bar.high for bar in minutes[:5])
    assert five[0].volume == sum(bar.volume for bar in minutes[:5])
    day = bars(simulator, TimeFrame.Day, FRIDAY.replace(hour=0), end=FRIDAY)[0]
    assert (day.open, day.close) == (minutes[0].open, minutes[-1].close)
    assert day.high == max(bar.high for bar in minutes)
    assert day.volume == sum(bar.volume for bar in minutes)


def test_daily_bars_reach_back_for_years_and_page(simulator: Simulator) -> None:
    request = StockBarsRequest(
        symbol_or_symbols=["AAPL", "KO"],
        timeframe=TimeFrame.Day,
        start=datetime(2010, 1, 1, tzinfo=UTC),
    )
    found = simulator.history_client().get_stock_bars(request).data
    assert set(found) == {"AAPL", "KO"}
    assert len(found["AAPL"]) == len(found["KO"]) > 2300
    stamps = [bar.timestamp for bar in found["KO"]]
    assert stamps == sorted(set(stamps))
    assert stamps[-1].date() == OPEN.date()  # the running day, as far as it has come


def test_paging_by_hand_gives_every_bar_once(simulator: Simulator) -> None:
    seen: list[tuple[str, str]] = []
    token = None
    while True:
        query = {"symbols": "KO,AAPL", "timeframe": "5Min", "start": "2019-03-01", "limit": 100}
        page = simulator.get("/v2/stocks/bars", **query, **({"page_token": token} if token else {}))
        seen += [(symbol, bar["t"]) for symbol, rows in page["bars"].items() for bar in rows]
        token = page["next_page_token"]
        if token is None:
            break
    assert len(seen) == len(set(seen)) == 2 * (78 + 6)


def test_quotes_and_trades_end_with_now(simulator: Simulator) -> None:
    client = simulator.history_client()
    start = OPEN + timedelta(minutes=29)
    quotes = client.get_stock_quotes(
        StockQuotesRequest(symbol_or_symbols="AAPL", start=start)
    ).data["AAPL"]
    trades = client.get_stock_trades(
        StockTradesRequest(symbol_or_symbols="AAPL", start=start)
    ).data["AAPL"]
    now = OPEN + timedelta(minutes=30, seconds=30)
    assert start <= quotes[0].timestamp <= quotes[-1].timestamp < now
    assert start <= trades[0].timestamp <= trades[-1].timestamp < now
    latest_quote = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))
    latest_trade = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))
    assert latest_quote["AAPL"] == quotes[-1]
    assert latest_trade["AAPL"] == trades[-1]


def test_snapshot_brings_it_all(simulator: Simulator) -> None:
    client = simulator.history_client()
    snapshot = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["AAPL"]))["AAPL"]
    latest = client.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAPL"))["AAPL"]
    assert snapshot.minute_bar == latest
    assert snapshot.minute_bar.timestamp == OPEN + timedelta(minutes=29)
    assert snapshot.daily_bar.timestamp.date() == OPEN.date()
    assert snapshot.previous_daily_bar.timestamp.date() == FRIDAY.date()
    assert snapshot.latest_quote.bid_price < snapshot.latest_quote.ask_price


def test_single_symbol_paths(simulator: Simulator) -> None:
    answer = simulator.get("/v2/stocks/KO/bars", timeframe="1Day", start="2019-03-01")
    assert answer["symbol"] == "KO"
    assert len(answer["bars"]) == 2
    assert simulator.get("/v2/stocks/KO/quotes/latest")["quote"]["bp"] > 0
    assert simulator.get("/v2/stocks/KO/snapshot")["symbol"] == "KO"


def test_unknown_symbol_and_timeframe_are_refused(simulator: Simulator) -> None:
    with pytest.raises(APIError, match="invalid symbol: NOPE"):
        simulator.history_client().get_stock_latest_quote(
            StockLatestQuoteRequest(symbol_or_symbols="NOPE")
        )
    answer = simulator.request("GET", "/v2/stocks/bars?symbols=KO&timeframe=7Parsec")
    assert answer.status_code == 422


def test_live_bars_equal_the_bars_of_history(simulator: Simulator) -> None:
    ears, stream = Ears(), simulator.data_stream()
    stream.subscribe_bars(ears.hear, "*")
    with running(stream):
        simulator.step_to("2019-03-04T15:10:00Z")
        live = [b for b in ears.wait(lambda heard: len(heard) >= 20) if b.symbol == "AAPL"]
    start = OPEN + timedelta(minutes=30)
    assert live == bars(simulator, TimeFrame.Minute, start)
