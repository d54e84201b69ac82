"""History, latest quotes and assets by Alpaca's library, against the simulator's faults."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from libs.common.domain.instruments import AssetClass
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import to_ns
from libs.common.kernel.errors import UnavailableError
from services.data_collector.adapters.alpaca import AlpacaRest
from tests.support.simulator import Simulator, free_port, start_simulator

START = to_ns(datetime(2019, 3, 4, 15, 0, tzinfo=UTC))
MINUTE = Timeframe.MINUTE.ns


@pytest.fixture(scope="module")
def traded() -> Iterator[Simulator]:
    """A simulator on which KO has traded in each of five minutes."""
    with start_simulator() as simulator:
        simulator.quote("KO", "50.00", "50.02", bid_size=300, ask_size=400)
        for i in range(5):
            simulator.trade("KO", f"50.1{i}", size=100 + i)
            simulator.step(60)
        yield simulator


@pytest.fixture
def simulator(traded: Simulator) -> Iterator[Simulator]:
    yield traded
    traded.clear_faults()


def rest(
    url: str, *, key: str = "test-key", timeout_s: float = 1.0, attempts: int = 3
) -> AlpacaRest:
    return AlpacaRest(
        key, "test-secret", data_url=url, trading_url=url, feed="iex", timeout_s=timeout_s,
        attempts=attempts, requests_per_minute=10_000,
    )  # fmt: skip


async def test_minute_bars_are_told_in_full(simulator: Simulator) -> None:
    found = await rest(simulator.url).bars(
        ["KO", "AAPL"], Timeframe.MINUTE, START, START + 9 * MINUTE
    )
    assert list(found) == ["KO"]
    assert [(b.ts_event, b.close, b.volume, b.trades) for b in found["KO"]] == [
        (START + i * MINUTE, float(f"50.1{i}"), 100.0 + i, 1) for i in range(5)
    ]


async def test_end_of_the_range_is_left_out(simulator: Simulator) -> None:
    found = await rest(simulator.url).bars(
        ["KO"], Timeframe.MINUTE, START + MINUTE, START + 3 * MINUTE
    )
    assert [b.ts_event for b in found["KO"]] == [START + MINUTE, START + 2 * MINUTE]


async def test_empty_questions_ask_nobody() -> None:
    nobody = rest(f"http://127.0.0.1:{free_port()}")
    assert await nobody.bars([], Timeframe.MINUTE, START, START + MINUTE) == {}
    assert await nobody.bars(["KO"], Timeframe.MINUTE, START, START) == {}


async def test_latest_quote_has_both_sides(simulator: Simulator) -> None:
    quotes = await rest(simulator.url).latest_quotes(["KO"])
    assert (quotes["KO"].bid, quotes["KO"].ask) == (50.0, 50.02)


async def test_assets_become_instruments(simulator: Simulator) -> None:
    instruments = {item.symbol: item for item in await rest(simulator.url).instruments()}
    assert set(instruments) == {"AAPL", "KO", "MSFT"}
    assert instruments["KO"].asset_class is AssetClass.US_EQUITY
    assert instruments["KO"].tradable


async def test_odd_asset_does_not_cost_the_others(simulator: Simulator) -> None:
    simulator.fault("missing_field", path="/v2/assets")
    found = await rest(simulator.url).instruments()
    assert {item.symbol for item in found} <= {"AAPL", "KO", "MSFT"}


async def test_passing_trouble_is_tried_again(simulator: Simulator) -> None:
    simulator.fault("error_before", path="/v2/stocks/*", status=503, count=1)
    assert await rest(simulator.url).bars(["KO"], Timeframe.MINUTE, START, START + MINUTE)
    simulator.fault("rate_limit", path="/v2/stocks/*", count=2)
    assert await rest(simulator.url).bars(["KO"], Timeframe.MINUTE, START, START + MINUTE)


async def test_answer_that_does_not_come_ends_in_time(simulator: Simulator) -> None:
    simulator.fault("latency", path="/v2/stocks/*", seconds=5)
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=r"alpaca bars: .*timed out"):
        await rest(simulator.url, timeout_s=0.2, attempts=2).bars(
            ["KO"], Timeframe.MINUTE, START, START + MINUTE
        )
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("fault", ["garbled_answer", "drop_request"])
async def test_answer_that_is_none_is_an_unavailable_provider(
    simulator: Simulator, fault: str
) -> None:
    simulator.fault(fault, path="/v2/stocks/*")
    with pytest.raises(UnavailableError, match="alpaca bars"):
        await rest(simulator.url, attempts=1, timeout_s=0.5).bars(
            ["KO"], Timeframe.MINUTE, START, START + MINUTE
        )


async def test_wrong_key_is_told_by_its_status(simulator: Simulator) -> None:
    with pytest.raises(UnavailableError, match=r"alpaca bars: .*40[13]"):
        await rest(simulator.url, key="somebody", attempts=1).bars(
            ["KO"], Timeframe.MINUTE, START, START + MINUTE
        )


async def test_nobody_there_is_an_unavailable_provider() -> None:
    with pytest.raises(UnavailableError, match="alpaca assets"):
        await rest(f"http://127.0.0.1:{free_port()}", attempts=1).instruments()
