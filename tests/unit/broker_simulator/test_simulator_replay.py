"""Replay of files: every schema, and what is wrong with a file that cannot be replayed."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from libs.common.domain.sessions import SessionCalendar, load_calendar
from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.market.replay import replay_market
from services.broker_simulator.market.tape import MINUTE_NS, candles
from tests.conftest import SHARED_DATA

DAY = date(2013, 10, 7)
shared = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared market data is not here")


@pytest.fixture(scope="module")
def calendar() -> SessionCalendar:
    return load_calendar(date(1997, 1, 1), date(2022, 1, 31))


def write(path: Path, **columns: list[object]) -> Path:
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_bars_become_prints_that_make_the_same_bars(
    tmp_path: Path, calendar: SessionCalendar
) -> None:
    path = write(
        tmp_path / "bars.csv",
        symbol=["AA", "AA"],
        ts=["2013-10-07T14:00:00Z", "2013-10-07T14:01:00Z"],
        open=[10.0, 10.5],
        high=[11.0, 10.6],
        low=[9.5, 10.1],
        close=[10.5, 10.2],
        volume=[1003, 400],
    )
    market = replay_market([path], (), calendar)
    session = calendar.session_on(DAY)
    assert session is not None
    tape = market.day("AA", session)
    made = candles(tape.trades, MINUTE_NS)
    assert [(c.open, c.high, c.low, c.close, c.volume) for c in made] == [
        (100_000, 110_000, 95_000, 105_000, 1003),
        (105_000, 106_000, 101_000, 102_000, 400),
    ]
    assert (tape.quotes.bid < tape.quotes.ask).all()


def test_one_sided_quotes_keep_the_other_side(tmp_path: Path, calendar: SessionCalendar) -> None:
    path = write(
        tmp_path / "quotes.csv",
        symbol=["AA"] * 3,
        ts=["2013-10-07T14:00:00Z", "2013-10-07T14:00:01Z", "2013-10-07T14:00:02Z"],
        bid=[10.0, None, 10.01],
        ask=[None, 10.05, None],
        bid_size=[100, None, 300],
        ask_size=[None, 200, None],
    )
    session = calendar.session_on(DAY)
    assert session is not None
    quotes = replay_market([path], (), calendar).day("AA", session).quotes
    assert quotes.bid.tolist() == [100_000, 100_100]
    assert quotes.ask.tolist() == [100_500, 100_500]


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"ts": ["2013-10-07T14:00:00Z"], "price": [1.0], "size": [1]}, "column symbol"),
        ({"symbol": ["A"], "price": [1.0], "size": [1]}, "column ts"),
        ({"symbol": ["A"], "ts": ["2013-10-07T14:00:00Z"], "wat": [1.0]}, "neither bars"),
        ({"symbol": ["A"], "ts": ["yesterday"], "price": [1.0], "size": [1]}, "column ts"),
        ({"symbol": ["A"], "ts": ["2013-10-07T14:00:00Z"], "price": [-1.0], "size": [1]}, "row 0"),
        ({"symbol": ["A"], "ts": ["2013-10-07T14:00:00Z"], "price": ["x"], "size": [1]}, "row 0"),
    ],
)
def test_wrong_files_are_refused_by_name(
    tmp_path: Path, calendar: SessionCalendar, columns: dict[str, list[object]], word: str
) -> None:
    path = write(tmp_path / "odd.csv", **columns)
    with pytest.raises(InvalidInputError, match=word) as refused:
        replay_market([path], (), calendar)
    assert "odd.csv" in str(refused.value)


def test_missing_and_unreadable_files_are_refused(
    tmp_path: Path, calendar: SessionCalendar
) -> None:
    with pytest.raises(InvalidInputError, match="no such file"):
        replay_market([tmp_path / "none.parquet"], (), calendar)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"not parquet")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        replay_market([broken], (), calendar)
    with pytest.raises(InvalidInputError, match=r"expected a \.parquet or \.csv"):
        replay_market([tmp_path / "notes.txt"], (), calendar)


@shared
def test_real_minute_bars_and_quotes_replay(calendar: SessionCalendar) -> None:
    files = [SHARED_DATA / "minute_trades.parquet", SHARED_DATA / "minute_quotes.parquet"]
    market = replay_market(files, (), calendar)
    assert [asset.symbol for asset in market.assets] == ["AAPL", "AIG", "BAC", "IBM", "SPY"]
    assert (market.first, market.last) == (date(2013, 10, 4), date(2014, 6, 9))
    session = calendar.session_on(DAY)
    assert session is not None
    frame = pd.read_parquet(files[0])
    frame = frame[(frame.symbol == "IBM") & (frame.ts.dt.date == DAY)]
    tape = market.day("IBM", session)
    made = candles(tape.trades, MINUTE_NS)
    assert [c.close for c in made] == [round(x * 10_000) for x in frame.close]
    assert [c.high for c in made] == [round(x * 10_000) for x in frame.high]
    daily = market.daily("IBM", session)
    assert daily is not None
    assert daily.low <= daily.open <= daily.high


@shared
def test_real_ticks_replay(calendar: SessionCalendar) -> None:
    files = [
        SHARED_DATA / "ticks_trades_20131007.parquet",
        SHARED_DATA / "ticks_quotes_20131007.parquet",
    ]
    market = replay_market(files, ("IBM", "BAC"), calendar)
    session = calendar.session_on(DAY)
    assert session is not None
    ibm, bac = market.day("IBM", session), market.day("BAC", session)
    assert ibm.quotes.ts.size > 50_000
    assert bac.trades.ts.size > 10_000
    assert bac.quotes.ts.size == bac.trades.ts.size  # none recorded: one around each print


@shared
def test_real_daily_bars_are_expanded(calendar: SessionCalendar) -> None:
    path = SHARED_DATA / "daily_raw.parquet"
    market = replay_market([path], ("SPY",), calendar)
    session = calendar.session_on(date(2008, 10, 10))
    assert session is not None
    frame = pd.read_parquet(path)
    row = frame[(frame.symbol == "SPY") & (frame.date.astype(str) == "2008-10-10")].iloc[0]
    trades = market.day("SPY", session).trades
    assert trades.price.max() == round(row.high * 10_000)
    assert trades.price.min() == round(row.low * 10_000)
    assert (trades.price[0], trades.price[-1]) == (
        round(row.open * 10_000),
        round(row.close * 10_000),
    )
