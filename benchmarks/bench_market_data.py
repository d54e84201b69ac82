"""Quotes from a provider's socket through collector and Redis to a strategy's step.

Four processes on the machine's cores, as in the running system: a feed that speaks Alpaca's stream
over a WebSocket, the collector (decode, check, publish, COPY into PostgreSQL), Redis, and a
subscriber that decodes every message and calls a compiled step for each quote. A rate counts when
every quote sent arrives, none conflated, and the last one is there within 0.3 s of being sent.
The floor is the same messages published and received raw, undecoded, through the same Redis.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import msgspec
import numba
import numpy as np
import psycopg
import redis
import uvloop
from msgspec.msgpack import Ext
from sqlalchemy import text
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.results import Measurement, percentiles
from infra.migrate import migrate
from libs.common.contracts.channels import MARKET_DATA
from libs.common.contracts.envelope import Envelope, encode, seal
from libs.common.contracts.messages import Bar, MarketData, Quote
from libs.common.domain.instruments import Instrument
from libs.common.runtime.clocks import Uuid7Ids
from libs.common.runtime.consumers import BroadcastListener, BroadcastReader
from libs.common.runtime.logging import configure_logging
from libs.common.runtime.readiness import Readiness
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.settings import DEFAULT_SYMBOLS, ServiceSettings
from services.data_collector.adapters.alpaca_stream import AlpacaStream, StreamLimits
from services.data_collector.bridge import Bridge
from services.data_collector.collector import Collector
from services.data_collector.latest import LatestTicks
from services.data_collector.store import MarketStore
from services.data_collector.tick_writer import TickWriter
from services.data_collector.validation import Rules
from tests.support.servers import running_postgres, running_redis

SECONDS = 3.0
FRAME_S = 0.002
SETTLE_S = 0.3
PATIENCE_S = 30.0
RATES_STORED = (50_000, 75_000, 100_000, 125_000)
RATES_BARE = (100_000, 125_000, 150_000)
LATENCY_RATE = 10_000
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Outcome:
    """What one run at one rate gave; latencies in ms from the feed's stamp to after the step."""

    rate: int
    seconds: float
    sent: int
    received: int
    stored: int
    conflated: int
    refused: int
    lag_s: float
    latency_ms: list[float]

    @property
    def whole(self) -> bool:
        """Whether the feed could send at its rate and everything arrived in time."""
        on_time = self.seconds <= 1.05 * SECONDS and self.lag_s <= SETTLE_S
        return on_time and self.sent == self.received and self.conflated == 0

    @property
    def achieved(self) -> float:
        """Quotes a second that went all the way."""
        return self.received / self.seconds


def run() -> list[Measurement]:
    """Measure sustained rates with and without storage, latency at 10 000/s, and the floor."""
    directory = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    directory.chmod(0o755)
    with running_postgres(directory) as postgres, running_redis(directory) as redis_server:
        database = postgres.url.rsplit("/", 1)[0] + "/market"
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE market")
        migrate(database)
        floor = _floor(redis_server.url)
        stored = _best(RATES_STORED, redis_server.url, database)
        bare = _best(RATES_BARE, redis_server.url, "")
        quick = _one(LATENCY_RATE, redis_server.url, database)
    latency = percentiles(quick.latency_ms)
    floor_name = "the same messages through Redis, undecoded"
    return [
        Measurement(
            "quotes/s, socket to step, stored by COPY", stored.achieved, "quotes/s",
            floor=floor, floor_name=floor_name, target_value=50_000,
            note=f"{stored.stored:,} rows stored, none lost",
        ),
        Measurement(
            "quotes/s, socket to step, not stored", bare.achieved, "quotes/s",
            floor=floor, floor_name=floor_name, target_value=100_000,
        ),
        Measurement(
            "tick sent to strategy stepped, p99 at 10,000/s, stored", latency["p99"], "ms",
            target_value=20.0, higher_is_better=False,
            note=f"p50 {latency['p50']:.2f}, p99.9 {latency['p99.9']:.2f}, "
            f"max {latency['max']:.1f} ms",
        ),
    ]  # fmt: skip


def _best(rates: Sequence[int], redis_url: str, database_url: str) -> Outcome:
    """The highest rate at which everything arrived; the first one's result if none did."""
    best: Outcome | None = None
    for rate in rates:
        outcome = _one(rate, redis_url, database_url)
        print(
            f"  {rate:>7,}/s {'stored' if database_url else 'bare':>6}: "
            f"sent {outcome.sent:,} in {outcome.seconds:.2f} s, "
            f"received {outcome.received:,}, stored {outcome.stored:,}, "
            f"conflated {outcome.conflated:,}, refused {outcome.refused:,}, "
            f"lag {outcome.lag_s:.2f} s"
        )
        if not outcome.whole:
            return best or outcome
        best = outcome
    assert best is not None
    return best


def _one(rate: int, redis_url: str, database_url: str) -> Outcome:
    """Run all four processes at one rate."""
    feed, feed_end = _started(_feed, rate)
    url = _told(feed)
    subscriber, subscriber_end = _started(_subscriber, redis_url)
    assert _told(subscriber) == "listening"
    collector, collector_end = _started(_collector, url, redis_url, database_url)
    sent, last_ns, seconds = _told(feed)
    time.sleep(2.0)
    subscriber.send("stop")
    received, done_ns, latency = _told(subscriber)
    collector.send("stop")
    stored, conflated, refused = _told(collector)
    for process in (feed_end, subscriber_end, collector_end):
        process.join(10)
        if process.is_alive():
            process.terminate()
    lag_s = max(0.0, (done_ns - last_ns) / 1e9)
    return Outcome(rate, seconds, sent, received, stored, conflated, refused, lag_s, latency)


def _started(target: Callable[..., None], *arguments: Any) -> tuple[Connection, SpawnProcess]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    return ours, process


def _told(pipe: Connection) -> Any:
    """What the process at the other end says. Raises TimeoutError if it says nothing."""
    if not pipe.poll(PATIENCE_S):
        raise TimeoutError("a process of the benchmark is stuck")
    return pipe.recv()


# The feed ------------------------------------------------------------------------------------


class _Quote(msgspec.Struct, tag_field="T", tag="q"):
    S: str
    t: Ext
    bp: float
    ap: float
    bs: int
    as_: int = msgspec.field(name="as")
    bx: str = "V"
    ax: str = "V"
    c: tuple[str, ...] = ("R",)
    z: str = "A"


def _feed(pipe: Connection, rate: int) -> None:
    uvloop.run(_serve_feed(pipe, rate))


async def _serve_feed(pipe: Connection, rate: int) -> None:
    done = asyncio.Event()

    async def handle(client: ServerConnection) -> None:
        pack = msgspec.msgpack.encode
        await client.send(pack([{"T": "success", "msg": "connected"}]))
        await client.recv()
        await client.send(pack([{"T": "success", "msg": "authenticated"}]))
        await client.recv()
        await client.send(pack([{"T": "subscription", "quotes": list(DEFAULT_SYMBOLS)}]))
        await asyncio.sleep(0.5)
        pipe.send(await _send_quotes(client, rate))
        done.set()
        await client.wait_closed()

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        pipe.send(f"ws://127.0.0.1:{port}/v2/iex")
        await done.wait()
        await asyncio.sleep(2.5)


async def _send_quotes(client: ServerConnection, rate: int) -> tuple[int, int, float]:
    """Send `rate` quotes a second, one frame each 2 ms: the count, the last stamp, the seconds."""
    dice = random.Random(7)  # nosec B311 # a benchmark's dice
    cents = dict.fromkeys(DEFAULT_SYMBOLS, 10_000)
    total, sent, ns = int(rate * SECONDS), 0, 0
    started = time.monotonic()
    while sent < total:
        due = min(total, int((time.monotonic() - started) * rate)) - sent
        quotes = []
        for i in range(due):
            symbol = DEFAULT_SYMBOLS[(sent + i) % len(DEFAULT_SYMBOLS)]
            cents[symbol] += dice.choice((-1, 0, 1))
            ns = time.time_ns()
            stamp = Ext(-1, ((ns % 10**9) << 34 | ns // 10**9).to_bytes(8, "big"))
            bid = cents[symbol] / 100
            quotes.append(
                _Quote(symbol, stamp, bid, (cents[symbol] + 1) / 100, 1 + i % 9, 1 + sent % 7)
            )
        if quotes:
            await client.send(msgspec.msgpack.encode(quotes))
            sent += len(quotes)
        await asyncio.sleep(FRAME_S)
    return sent, ns, time.monotonic() - started


# The collector -------------------------------------------------------------------------------


class _NoBars:
    def offer(self, symbol: str, bars: Sequence[Bar], received_ns: int) -> None:
        """No bars come in this run."""


def _collector(pipe: Connection, url: str, redis_url: str, database_url: str) -> None:
    configure_logging("data_collector", "ERROR")
    uvloop.run(_collect(pipe, url, redis_url, database_url))


async def _collect(pipe: Connection, url: str, redis_url: str, database_url: str) -> None:
    values = {"port": 0, "redis_url": redis_url}
    if database_url:
        values["database_url"] = database_url
    settings = ServiceSettings.model_validate(values)
    runtime = Runtime.of("data_collector", settings)
    writer = TickWriter(
        MarketStore(runtime.database), "alpaca", rows_max=100_000, batch_rows=2_500, pause_s=0.25
    )
    bridge = Bridge(10_000, runtime.clock.now_ns)
    stream = AlpacaStream(
        url, "key", "secret", DEFAULT_SYMBOLS, clock=runtime.clock, limits=StreamLimits(),
        expects_data=lambda: True,
    )  # fmt: skip

    async def publish(messages: Sequence[MarketData]) -> None:
        await runtime.bus.broadcast_many([sealed(runtime, message) for message in messages])

    async def nothing() -> None:
        return None

    collector = Collector(
        provider="alpaca", bridge=bridge,
        instruments={symbol: Instrument(symbol) for symbol in DEFAULT_SYMBOLS}, rules=Rules(),
        publish=publish, bars=_NoBars(), writer=writer, latest=LatestTicks("alpaca"),
        clock=runtime.clock, market=runtime.market_clock, resync=nothing,
        store_ticks=bool(database_url), pause_s=(0.001, 0.005),
    )  # fmt: skip
    tasks = [asyncio.create_task(stream.stream(bridge, lambda: None))]
    tasks.append(asyncio.create_task(collector.run()))
    if database_url:
        tasks.append(asyncio.create_task(writer.run()))
    await _until_told(pipe)
    stored = refused = 0
    if database_url:
        await asyncio.sleep(1.0)
        async with runtime.database.read() as session:
            rows = await session.rows(text("SELECT count(*) AS n FROM market_quotes"))
            stored = rows[0]["n"]
        async with runtime.database.write() as tx:
            found = await tx.rows(text("SELECT count(*) AS n FROM market_quarantine"))
            refused = found[0]["n"]
            await tx.execute(text("TRUNCATE market_quotes, market_quarantine"))
    counts = bridge.counts
    pipe.send((stored, counts.quotes_conflated, refused))
    for task in tasks:
        task.cancel()
    await runtime.close()


def sealed(runtime: Runtime, message: MarketData) -> tuple[str, bytes]:
    """One message as the service sends it."""
    message_id = runtime.ids.new()
    envelope = seal(
        message, message_id=message_id, ts_ns=runtime.clock.now_ns(), source="data_collector",
        correlation_id=message_id,
    )  # fmt: skip
    return MARKET_DATA.name(message.symbol), encode(envelope)


# The strategy's side -------------------------------------------------------------------------


@numba.njit  # type: ignore[untyped-decorator]
def _step(state: np.ndarray, bid: float, ask: float) -> float:
    """Two moving averages of the mid and their sign, as a strategy has it."""
    mid = (bid + ask) * 0.5
    state[0] += 0.1 * (mid - state[0])
    state[1] += 0.02 * (mid - state[1])
    return 1.0 if state[0] > state[1] else 0.0


def _subscriber(pipe: Connection, redis_url: str) -> None:
    uvloop.run(_subscribe(pipe, redis_url))


async def _subscribe(pipe: Connection, redis_url: str) -> None:
    states = {symbol: np.zeros(2) for symbol in DEFAULT_SYMBOLS}
    _step(np.zeros(2), 1.0, 1.0)
    seen = {"quotes": 0, "done_ns": 0}
    latency_ms: list[float] = []

    async def handle(envelope: Envelope[MarketData]) -> None:
        state = states[envelope.payload.symbol]
        for quote in envelope.payload.quotes:
            _step(state, quote.bid, quote.ask)
        seen["quotes"] += len(envelope.payload.quotes)
        seen["done_ns"] = now = time.time_ns()
        latency_ms.append((now - envelope.payload.quotes[0].ts_event) / 1e6)

    settings = ServiceSettings.model_validate({"port": 0, "redis_url": redis_url})
    runtime = Runtime.of("strategy_engine", settings)
    reader = BroadcastReader(
        runtime.bus, BroadcastListener(MARKET_DATA, handle), readiness=Readiness()
    )
    task = asyncio.create_task(reader.run())
    await asyncio.sleep(0.5)
    pipe.send("listening")
    await _until_told(pipe)
    task.cancel()
    pipe.send((seen["quotes"], seen["done_ns"], latency_ms))
    await runtime.close()


async def _until_told(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pipe.fileno(), lambda: told.done() or told.set_result(None))
    await told
    loop.remove_reader(pipe.fileno())
    pipe.recv()


# The floor -----------------------------------------------------------------------------------


def _floor(redis_url: str) -> float:
    """Quotes a second when messages of the same size go through Redis untouched."""
    quotes = 12  # a symbol's share of a 5 ms flush at 50 000 quotes a second
    messages = _messages(quotes)
    listener, process = _started(_raw_listener, redis_url)
    assert _told(listener) == "listening"
    started = time.monotonic()
    sent = uvloop.run(_publish_raw(redis_url, messages, until=started + SECONDS))
    listener.send(sent)
    elapsed = _told(listener) - started
    process.join(10)
    return sent * quotes / float(elapsed)


def _messages(quotes: int) -> list[tuple[str, bytes]]:
    ids = Uuid7Ids()
    made = []
    for symbol in DEFAULT_SYMBOLS:
        ticks = tuple(
            Quote(ts_event=time.time_ns(), bid=100.0 + i / 100, ask=100.01 + i / 100, bid_size=3.0)
            for i in range(quotes)
        )
        payload = MarketData(symbol=symbol, provider="alpaca", ts_init=1, quotes=ticks)
        envelope = seal(
            payload, message_id=ids.new(), ts_ns=1, source="data_collector",
            correlation_id=ids.new(),
        )  # fmt: skip
        made.append((MARKET_DATA.name(symbol), encode(envelope)))
    return made


async def _publish_raw(url: str, messages: list[tuple[str, bytes]], until: float) -> int:
    settings = ServiceSettings.model_validate({"port": 0, "redis_url": url})
    runtime = Runtime.of("bench", settings)
    sent = 0
    send: Callable[[Sequence[tuple[str, bytes]]], Awaitable[None]] = runtime.bus.broadcast_many
    while time.monotonic() < until:
        await send(messages)
        sent += len(messages)
    await runtime.close()
    return sent


def _raw_listener(pipe: Connection, url: str) -> None:
    client = redis.Redis.from_url(url)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe(MARKET_DATA.pattern)
    pubsub.get_message(timeout=1.0)
    pipe.send("listening")
    received, wanted = 0, -1
    while received != wanted:
        if pubsub.get_message(timeout=0.05) is not None:
            received += 1
        elif wanted < 0 and pipe.poll():
            wanted = pipe.recv()
    pipe.send(time.monotonic())
