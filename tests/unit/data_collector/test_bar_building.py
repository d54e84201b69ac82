"""Bars against pandas' resample, on random tapes and on the real ticks where they are present."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.messages import Bar, TradeTick
from libs.common.domain.timeframes import Timeframe
from services.data_collector.bars import DERIVED, BarBuilder, BarFolder, fold_all

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
START = 1_381_152_600 * SECOND
REAL_TICKS = Path(__file__).parents[4] / "shared/data/ticks_trades_20131007.parquet"
RULE = {"1s": "1s", "1m": "1min", "5m": "5min", "15m": "15min", "1h": "1h"}
FRAME = pd.DataFrame


def resampled(trades: FRAME, timeframe: Timeframe) -> FRAME:
    """The oracle: open, high, low, close, volume by pandas, empty spans left out."""
    grouped = trades.set_index("ts").resample(RULE[timeframe], label="left", closed="left")
    bars = grouped["price"].ohlc()
    bars["volume"] = grouped["size"].sum()
    bars["trades"] = grouped["price"].count()
    return bars[bars["trades"] > 0]


def built(trades: FRAME, timeframe: Timeframe) -> list[Bar]:
    builder = BarBuilder(timeframe)
    bars = []
    for ts, price, size in zip(trades["ts"], trades["price"], trades["size"], strict=True):
        bars += builder.close_until(ts.value)
        builder.add(TradeTick(ts_event=ts.value, price=float(price), size=float(size)))
    return bars + builder.close_until(trades["ts"].iloc[-1].value + timeframe.ns)


def assert_same(bars: list[Bar], oracle: FRAME) -> None:
    rows = [(b.ts_event, b.open, b.high, b.low, b.close, b.volume, b.trades) for b in bars]
    index = oracle.index.as_unit("ns").asi8
    columns = ["open", "high", "low", "close", "volume", "trades"]
    expected = [
        (int(ts), *row)
        for ts, row in zip(index, oracle[columns].itertuples(index=False), strict=True)
    ]
    assert rows == expected


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 400 * SECOND), st.integers(1, 10_000), st.integers(1, 1_000_000)),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([Timeframe.SECOND, Timeframe.MINUTE, Timeframe.FIVE_MINUTES]),
)
def test_bars_of_any_tape_equal_pandas(
    tape: list[tuple[int, int, int]], timeframe: Timeframe
) -> None:
    tape.sort(key=lambda row: row[0])
    trades = pd.DataFrame(
        {
            "ts": pd.to_datetime([START + row[0] for row in tape], utc=True, unit="ns"),
            "price": [row[1] / 100 for row in tape],
            "size": [float(row[2]) for row in tape],
        }
    )
    assert_same(built(trades, timeframe), resampled(trades, timeframe))


@pytest.mark.skipif(not REAL_TICKS.exists(), reason=f"real ticks are not at {REAL_TICKS}")
@pytest.mark.parametrize("timeframe", [Timeframe.MINUTE, Timeframe.FIVE_MINUTES, Timeframe.HOUR])
def test_bars_of_a_real_day_equal_pandas(timeframe: Timeframe) -> None:
    ticks = pd.read_parquet(REAL_TICKS, columns=["symbol", "ts", "price", "size"])
    trades = ticks[ticks["symbol"] == "IBM"].sort_values("ts", kind="stable")
    assert_same(built(trades, timeframe), resampled(trades, timeframe))


@pytest.mark.skipif(not REAL_TICKS.exists(), reason=f"real ticks are not at {REAL_TICKS}")
@pytest.mark.parametrize("timeframe", DERIVED)
def test_longer_bars_folded_from_minutes_equal_those_from_trades(timeframe: Timeframe) -> None:
    ticks = pd.read_parquet(REAL_TICKS, columns=["symbol", "ts", "price", "size"])
    trades = ticks[ticks["symbol"] == "BAC"].sort_values("ts", kind="stable")
    minutes = built(trades, Timeframe.MINUTE)
    folded = fold_all(minutes, timeframe, minutes[-1].ts_event + timeframe.ns)
    assert_same(folded, resampled(trades, timeframe))


def _trade(offset_ns: int, price: float = 10.0, size: float = 1.0) -> TradeTick:
    return TradeTick(ts_event=START + offset_ns, price=price, size=size)


def test_bar_closes_once_and_only_after_the_grace_time() -> None:
    builder = BarBuilder(Timeframe.MINUTE, grace_ns=2 * SECOND)
    builder.add(_trade(0))
    assert builder.close_until(START + MINUTE + SECOND) == []
    assert len(builder.close_until(START + MINUTE + 2 * SECOND)) == 1
    assert builder.close_until(START + 5 * MINUTE) == []


def test_trade_within_the_grace_time_still_counts() -> None:
    builder = BarBuilder(Timeframe.MINUTE, grace_ns=2 * SECOND)
    builder.add(_trade(0, price=10.0, size=1.0))
    builder.add(_trade(MINUTE, price=11.0))
    builder.add(_trade(MINUTE - 1, price=9.0, size=3.0))
    (bar,) = builder.close_until(START + MINUTE + 2 * SECOND)
    assert (bar.open, bar.low, bar.close, bar.volume, bar.vwap) == (10.0, 9.0, 9.0, 4.0, 9.25)


def test_trade_after_its_bar_was_given_out_is_counted_and_changes_nothing() -> None:
    builder = BarBuilder(Timeframe.MINUTE)
    builder.add(_trade(0))
    builder.close_until(START + MINUTE)
    builder.add(_trade(1))
    assert builder.late == 1
    assert builder.close_until(START + 5 * MINUTE) == []


def _minute(index: int, close: float) -> Bar:
    return Bar(
        timeframe="1m", ts_event=START + index * MINUTE, open=close, high=close, low=close,
        close=close, volume=10.0, vwap=close, trades=2,
    )  # fmt: skip


def test_longer_bar_comes_with_the_minute_that_ends_it() -> None:
    folder = BarFolder(Timeframe.FIVE_MINUTES)
    given_out = [folder.add(_minute(i, 10.0 + i)) for i in range(5)]
    assert given_out[:4] == [[], [], [], []]
    (bar,) = given_out[4]
    assert (bar.ts_event, bar.open, bar.close, bar.volume, bar.trades) == (
        START, 10.0, 14.0, 50.0, 10,
    )  # fmt: skip
    assert bar.vwap == 12.0


def test_longer_bar_without_its_last_minute_comes_with_the_next_minute() -> None:
    folder = BarFolder(Timeframe.FIVE_MINUTES)
    folder.add(_minute(0, 10.0))
    (bar,) = folder.add(_minute(7, 12.0))
    assert (bar.ts_event, bar.close) == (START, 10.0)


def test_restart_in_mid_bucket_gives_the_same_bar() -> None:
    minutes = [_minute(i, 10.0 + i) for i in range(5)]
    through = BarFolder(Timeframe.FIVE_MINUTES)
    whole = [bar for minute in minutes for bar in through.add(minute)]
    again = BarFolder(Timeframe.FIVE_MINUTES)
    again.seed(minutes[:3])
    assert [bar for minute in minutes[3:] for bar in again.add(minute)] == whole
