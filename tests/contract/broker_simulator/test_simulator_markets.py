"""Whole runs: a live day and its night, a replay of real bars, restarts in the middle of a day."""

import time
from pathlib import Path

import pytest

from tests.conftest import SHARED_DATA
from tests.support.simulator import start_simulator, start_simulator_process
from tests.support.stream_ears import Ears, running


def wait_for(condition: object, timeout_s: float = 20) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_live_market_runs_through_its_night() -> None:
    with start_simulator(
        simulator_market="history",
        simulator_start="2019-03-04T20:50:00Z",
        simulator_factor=600,
        simulator_hours="regular",
        simulator_pause_s=0.3,
    ) as simulator:
        order = simulator.submit("AAPL", "buy", "10", type="limit", limit_price=1)
        wait_for(lambda: simulator.clock()["factor"] == 0)
        assert simulator.clock()["now"].startswith("2019-03-04T21:01")
        assert simulator.clock()["state"] == "post"
        assert simulator.order(order["id"])["status"] == "expired"
        wait_for(lambda: simulator.clock()["now"] > "2019-03-05T14:31")
        bars = simulator.get("/v2/stocks/AAPL/bars", timeframe="1Min", start="2019-03-05")["bars"]
        assert bars[0]["t"] == "2019-03-05T14:30:00Z"


def test_market_order_left_overnight_fills_at_the_open() -> None:
    with start_simulator(
        simulator_market="history",
        simulator_start="2019-03-04T21:00:30Z",
        simulator_hours="regular",
    ) as simulator:
        order = simulator.submit("KO", "buy", "10")
        assert order["status"] == "accepted"
        simulator.step_to("2019-03-05T14:30:10Z")
        assert simulator.order(order["id"])["status"] == "filled"


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared market data is not here")
def test_real_minute_bars_come_out_as_they_went_in() -> None:
    import pandas as pd

    files = (SHARED_DATA / "minute_trades.parquet", SHARED_DATA / "minute_quotes.parquet")
    with start_simulator(
        simulator_market="replay",
        simulator_file=files,
        simulator_symbols=("IBM",),
        simulator_start="2013-10-07",
        simulator_hours="regular",
    ) as simulator:
        ears, stream = Ears(), simulator.data_stream()
        stream.subscribe_bars(ears.hear, "IBM")
        with running(stream):
            simulator.step_to("2013-10-07T14:00:00Z")
            ears.wait(lambda heard: len(heard) >= 30)
        frame = pd.read_parquet(files[0])
        frame = frame[(frame.symbol == "IBM") & (frame.ts >= "2013-10-07T13:30Z")].head(30)
        live = [(b.timestamp, b.open, b.high, b.low, b.close, b.volume) for b in ears.heard[-30:]]
        columns = (frame.ts, frame.open, frame.high, frame.low, frame.close, frame.volume)
        assert live == list(zip(*(column.tolist() for column in columns), strict=True))
        assert simulator.submit("IBM", "buy", "10")["status"] == "pending_new"
        (fill,) = simulator.ledger()["executions"]
        quote = simulator.get("/v2/stocks/IBM/quotes/latest")["quote"]
        assert float(fill["price"]) == quote["ap"]


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared market data is not here")
def test_days_that_a_recording_lacks_do_not_exist() -> None:
    with start_simulator(
        simulator_market="replay",
        simulator_file=(SHARED_DATA / "minute_trades.parquet",),
        simulator_start="2013-10-11T19:59:30Z",
        simulator_factor=60,
        simulator_hours="regular",
        simulator_pause_s=0.2,
    ) as simulator:
        order = simulator.submit(
            "AAPL", "buy", "10", time_in_force="gtc", type="limit", limit_price=1
        )
        wait_for(lambda: simulator.clock()["now"] > "2014-06-05T13:28", timeout_s=5)
        assert simulator.order(order["id"])["status"] == "expired"  # ninety days went by
        simulator.control("clock", {"factor": 0})
        opened = "2014-06-05T13:31:00Z"
        if simulator.clock()["now"] < opened:  # a busy machine may have looked later
            simulator.control("clock", {"to": opened})
        simulator.submit("AAPL", "buy", "10")
        assert len(simulator.ledger()["executions"]) == 1


def test_restart_in_the_middle_of_a_minute_keeps_the_bars(tmp_path: Path) -> None:
    settings = {"simulator_market": "history", "simulator_symbols": ("AAPL",)}
    with start_simulator_process(
        tmp_path / "s.sqlite", **settings, simulator_start="2019-03-04", simulator_hours="regular"
    ) as simulator:
        simulator.step_to("2019-03-04T15:00:30Z")
        simulator.restart()
        ears, stream = Ears(), simulator.data_stream()
        stream.subscribe_bars(ears.hear, "AAPL")
        stream.subscribe_daily_bars(ears.hear, "AAPL")
        with running(stream):
            simulator.step_to("2019-03-04T15:01:00Z")
            minute, day = ears.wait(lambda heard: len(heard) >= 2)
        history = simulator.get("/v2/stocks/AAPL/bars", timeframe="1Min", start="2019-03-04")
        assert minute.volume == history["bars"][-1]["v"]
        assert minute.open == history["bars"][-1]["o"]
        assert day.volume == sum(bar["v"] for bar in history["bars"])


def test_synthetic_market_trades() -> None:
    with start_simulator(
        simulator_market="synthetic", simulator_symbols=("AA", "BB"), simulator_start="2024-02-05"
    ) as simulator:
        simulator.step_to("2024-02-05T14:35:00Z")
        simulator.submit("BB", "buy", "3")
        assert len(simulator.ledger()["executions"]) == 1
