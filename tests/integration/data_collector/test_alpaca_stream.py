"""The supervised stream against a real socket: it comes back from everything."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgpack

from libs.common.contracts.messages import Quote
from libs.common.runtime.clocks import SystemClock
from services.data_collector.adapters.alpaca_stream import AlpacaStream, StreamLimits
from services.data_collector.ports import Tick
from tests.support.market_feed import MarketFeed, market_feed, wire_quote
from tests.support.runtimes import eventually

LIMITS = StreamLimits(handshake_s_max=2.0, mute_s_max=0.5, delay_s=0.02, delay_s_max=0.1)


class Sink:
    """Keeps what it is offered."""

    def __init__(self) -> None:
        self.ticks: list[tuple[str, Tick]] = []

    def offer(self, symbol: str, tick: Tick) -> None:
        """Take one tick."""
        self.ticks.append((symbol, tick))


@asynccontextmanager
async def streaming(
    feed: MarketFeed, is_open: Callable[[], bool] = lambda: False
) -> AsyncIterator[tuple[AlpacaStream, Sink]]:
    """Run a stream against `feed`."""
    stream = AlpacaStream(
        feed.url, "key", "secret", ("IBM", "BAC"), clock=SystemClock(), limits=LIMITS,
        expects_data=is_open,
    )  # fmt: skip
    sink = Sink()
    task = asyncio.create_task(stream.stream(sink, lambda: None))
    try:
        yield stream, sink
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_subscribes_and_delivers() -> None:
    async with market_feed() as feed, streaming(feed) as (stream, sink):
        await feed.subscribed()
        assert feed.subscriptions == [
            {"quotes": ["IBM", "BAC"], "trades": ["IBM", "BAC"], "bars": ["IBM", "BAC"]}
        ]
        await feed.push(wire_quote("IBM", 5, 10.0, 10.01), wire_quote("BAC", 6, 7.0, 7.01))
        await eventually(lambda: len(sink.ticks) == 2, what="two ticks")
        assert [symbol for symbol, _ in sink.ticks] == ["IBM", "BAC"]
        assert stream.health().healthy


async def test_comes_back_and_subscribes_again_after_a_cut() -> None:
    async with market_feed() as feed, streaming(feed) as (stream, sink):
        for session in (1, 2, 3):
            await feed.subscribed(session)
            await feed.push(wire_quote("IBM", session, 10.0, 10.01))
            await eventually(lambda n=session: len(sink.ticks) == n, what="a tick")  # type: ignore[misc]
            await feed.drop()
        await feed.subscribed(4)
        await eventually(lambda: stream.health().connected, what="connection")
        assert stream.health().reconnects == 3
        assert feed.subscriptions[3] == feed.subscriptions[0]


async def test_unknown_message_and_broken_frame_do_not_end_the_session() -> None:
    async with market_feed() as feed, streaming(feed) as (stream, sink):
        await feed.subscribed()
        await feed.push({"T": "never-heard-of", "S": "IBM"}, {"T": "q", "S": 7})
        await feed.push_raw(b"\xc1 this is no msgpack")
        await feed.push(wire_quote("IBM", 1, 10.0, 10.01))
        await eventually(lambda: len(sink.ticks) == 1, what="the good tick")
        assert (stream.unknown, stream.malformed, feed.sessions) == (1, 2, 1)


async def test_open_market_that_says_nothing_is_left_and_tried_again() -> None:
    async with market_feed() as feed, streaming(feed, is_open=lambda: True) as (stream, _):
        await feed.subscribed(2)
        await feed.subscribed(3)
        assert stream.health().last_data_ns == 0


async def test_control_messages_do_not_count_as_data() -> None:
    async with market_feed() as feed, streaming(feed, is_open=lambda: True):
        await feed.subscribed()
        for _ in range(8):
            await feed.push_raw(msgpack.packb([{"T": "subscription", "quotes": []}]))
            await asyncio.sleep(0.1)
        await feed.subscribed(2)


async def test_closed_market_may_be_silent() -> None:
    async with market_feed() as feed, streaming(feed) as (stream, _):
        await feed.subscribed()
        await asyncio.sleep(1.0)
        assert feed.sessions == 1
        assert stream.health().healthy


async def test_refusal_is_told_and_tried_again() -> None:
    async with market_feed() as feed:
        feed.refuse_with = (402, "auth failed")
        async with streaming(feed) as (stream, sink):
            await eventually(lambda: feed.sessions >= 2, what="a second try")
            assert "auth failed (402)" in stream.health().reason
            assert not stream.health().healthy
            feed.refuse_with = None
            await feed.subscribed()
            await feed.push(wire_quote("IBM", 1, 10.0, 10.01))
            await eventually(lambda: len(sink.ticks) == 1, what="a tick")
            assert isinstance(sink.ticks[0][1], Quote)


async def test_absent_server_is_waited_for() -> None:
    async with market_feed() as feed:
        gone = MarketFeed()
        gone.url = feed.url.rsplit(":", 1)[0] + ":1/v2/iex"
        async with streaming(gone) as (stream, _):
            await eventually(lambda: stream.health().reason != "not connected yet", what="reason")
            assert not stream.health().connected
