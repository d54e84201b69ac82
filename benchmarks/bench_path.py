"""From a tick to the order on the broker's socket, per leg, on the running system.

Two markets: one order at a time with a thousand ticks a second around it, and `make run`'s own,
where the bars of twenty symbols close at once and several orders go out together.

The times are wall times: of the tick's arrival (`ts_init`), of the signal's and the approval's
sealing, of the passing of the order at a proxy before the broker, and of its acknowledgement as
its event tells it. An observer joins them by correlation id. The floor is measured beside, on the
system's own servers while they work: a commit before each step of the path (bar, signal,
approval, order), one broadcast hop, two log hops and one HTTP call.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pandas as pd
import psycopg
import redis
import redis.asyncio
import uvloop

from benchmarks.results import Measurement, percentiles
from infra.embedded.credentials import Credentials
from infra.embedded.home import Home
from libs.common.contracts.envelope import read_header
from libs.common.kernel.clock import parse_ns
from libs.common.kernel.ids import OrderId, client_order_id
from libs.common.runtime.subscription import subscribe
from tests.support.system import System, running_system
from tests.support.tcp_proxy import tcp_proxy

SECONDS = 60
PAUSE_S = 0.2
LOG_HOPS = 2  # signal -> approval -> executor
STREAMS = ("log:signals", "log:orders.approved", "log:orders.events")
SENT = re.compile(rb'"client_order_id": ?"([^"]+)"')
ACKNOWLEDGED = frozenset({"submitted", "working", "partially_filled", "filled"})

TICKS_PER_SECOND = 1000
FACTOR = 60
SYMBOLS = 20
MINUTES = 390
FLIP = '''
"""In and out with every bar: an order a minute."""

from typing import Any

from libs.common.strategy import Strategy, number


class Flip(Strategy):
    """Long in even minutes, flat in odd ones."""

    class Params:
        """The share of the capital."""

        share = number(0.02, low=0.0, high=1.0, meaning="share of the capital when long")

    class State:
        """Nothing is remembered."""

    @staticmethod
    def warmup(params: Any) -> int:
        """Nothing to fill."""
        return 0

    @staticmethod
    def step(state: Any, bar: Any, params: Any, out: Any) -> None:
        """Look at the clock only."""
        out.target = params.share if (bar.ts // 60_000_000_000) % 2 == 0 else 0.0
'''


class _Tick(msgspec.Struct):
    ts_init: int
    bars: tuple[object, ...] = ()
    quotes: tuple[object, ...] = ()
    trades: tuple[object, ...] = ()


class _Event(msgspec.Struct):
    order_id: uuid.UUID
    to_status: str
    ts: str


class _Approved(msgspec.Struct):
    order_id: uuid.UUID


def run() -> list[Measurement]:
    """Return the latency of each leg in ms, and of the whole path beside its floor."""
    with tempfile.TemporaryDirectory(prefix="tradewind-bench-") as name:
        directory = Path(name)
        files = _lone_market(directory / "market")
        (directory / "lone" / "strategies").mkdir(parents=True)
        (directory / "lone" / "strategies" / "flip.py").write_text(FLIP, encoding="utf-8")
        seed = {"id": "flip", "class_name": "flip", "universe": ["S00"]}
        return [
            *_measure(
                "one order",
                directory / "lone",
                FEED="replay",
                FILE=",".join(map(str, files)),
                FACTOR=str(FACTOR),
                TRADEWIND_STRATEGIES=json.dumps([seed]),
            ),
            *_measure("bars of 20 symbols at once", directory / "burst"),
        ]


def _measure(market: str, directory: Path, **environment: str) -> list[Measurement]:
    passed: dict[str, int] = {}

    def tap(data: bytes, ns: int) -> None:
        for found in SENT.findall(data):
            passed.setdefault(found.decode(), ns)

    def broker_port() -> int:
        state = json.loads(next(directory.rglob("state.json")).read_text(encoding="utf-8"))
        return int(state["ports"]["broker_simulator"])

    with tcp_proxy(broker_port, tap) as port:
        environment["TRADEWIND_BROKER_VIA"] = f"http://127.0.0.1:{port}"
        with running_system(directory, **environment) as system:
            redis_url, database_url = _urls(directory, system)
            system.until(
                lambda: len(system.get("/api/v1/orders", limit=5)["items"]) > 0, 120, "orders"
            )
            observer = Observer(redis_url, passed)
            observer.follow(SECONDS)
            floor = uvloop.run(_floor(redis_url, database_url, system.url("broker_simulator")))
    return _told(market, observer, floor)


def _urls(directory: Path, system: System) -> tuple[str, str]:
    state = system.state()
    credentials = Credentials(Home(directory, state["books"]))
    ports = state["ports"]
    return (
        f"redis://:{credentials.secret('redis')}@127.0.0.1:{ports['redis']}/0",
        f"postgresql://postgres:{credentials.secret('postgres')}"
        f"@127.0.0.1:{ports['postgres']}/tradewind",
    )


class Observer:
    """Collects the times of each story by correlation id; `passed` tells when an order passed."""

    def __init__(self, redis_url: str, passed: dict[str, int]) -> None:
        self._url = redis_url
        self._passed = passed
        self.received: dict[uuid.UUID, int] = {}
        self.ticks = 0
        self.marks: dict[uuid.UUID, dict[str, int]] = defaultdict(dict)

    def follow(self, seconds: float) -> None:
        """Watch ticks for `seconds`, then read what the streams say of the same time."""
        client = redis.Redis.from_url(self._url)
        positions = {}
        for stream in STREAMS:
            last = client.xrevrange(stream, count=1)
            positions[stream] = last[0][0] if last else b"0"
        stop = threading.Event()
        thread = threading.Thread(target=lambda: uvloop.run(self._watch(stop)))
        thread.start()
        time.sleep(seconds)
        stop.set()
        thread.join()
        for stream, position in positions.items():
            for _, fields in client.xrange(stream, min=b"(" + position):
                self._note(stream, fields[b"message"])
        client.close()

    def _note(self, stream: str, message: bytes) -> None:
        header = read_header(message)
        mark = self.marks[header.correlation_id]
        if stream == "log:orders.events":
            event = msgspec.json.decode(header.payload, type=_Event)
            if event.to_status in ACKNOWLEDGED:
                mark.setdefault("acknowledged", parse_ns(event.ts))
            return
        mark.setdefault(stream, parse_ns(header.ts))
        if stream == "log:orders.approved":
            order = msgspec.json.decode(header.payload, type=_Approved)
            sent = self._passed.get(client_order_id(OrderId(order.order_id), 1))
            if sent is not None:
                mark.setdefault("sent", sent)

    async def _watch(self, stop: threading.Event) -> None:
        async with subscribe(
            self._url, "market_data.*", timeout_s=5, name="benchmark"
        ) as subscription:
            while not stop.is_set():
                await asyncio.sleep(0.1)
                for data in await subscription.take():
                    header = read_header(data)
                    tick = msgspec.json.decode(header.payload, type=_Tick)
                    self.ticks += len(tick.quotes) + len(tick.trades) + len(tick.bars)
                    if tick.bars:
                        self.received[header.correlation_id] = tick.ts_init


def _told(market: str, observer: Observer, floor_ms: dict[str, float]) -> list[Measurement]:
    legs: dict[str, list[float]] = defaultdict(list)
    for correlation_id, mark in observer.marks.items():
        received = observer.received.get(correlation_id)
        sent = mark.get("sent")
        steps = [
            ("tick → signal", received, mark.get("log:signals")),
            ("signal → approved", mark.get("log:signals"), mark.get("log:orders.approved")),
            ("approved → sent", mark.get("log:orders.approved"), sent),
            ("sent → acknowledged", sent, mark.get("acknowledged")),
            ("tick → sent", received, sent),
        ]
        for name, begin, end in steps:
            if begin is not None and end is not None:
                legs[name].append((end - begin) / 1e6)
    found = []
    for name, samples in legs.items():
        figures = percentiles(samples)
        whole = name == "tick → sent"
        note = f"n={len(samples)}, p99.9 {figures['p99.9']:.1f}, max {figures['max']:.1f}"
        if whole:
            note += f", {observer.ticks / SECONDS:.0f} ticks/s"
        found.append(
            Measurement(
                f"{market}: {name}, p50",
                figures["p50"],
                "ms",
                floor=floor_ms["p50"] if whole else None,
                floor_name="4 commits, 3 hops, 1 HTTP call, p50",
                target_ratio=2.0 if whole else None,
                higher_is_better=False,
                note=note,
            )
        )
        found.append(
            Measurement(
                f"{market}: {name}, p99",
                figures["p99"],
                "ms",
                floor=floor_ms["p99"] if whole else None,
                floor_name="the same, p99",
                target_value=25.0 if whole else None,
                higher_is_better=False,
            )
        )
    return found


async def _floor(
    redis_url: str, database_url: str, broker_url: str, rounds: int = 100
) -> dict[str, float]:
    """Time what the path cannot do without, with the same libraries on the system at work, and
    at the rhythm of orders: in a tight loop all caches are warm, which an order never finds."""
    client = redis.asyncio.Redis.from_url(redis_url)
    stream, group, body = "bench:floor", "bench", b"x" * 1200
    await client.delete(stream)
    await client.xgroup_create(stream, group, mkstream=True)
    samples = []
    async with (
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection,
        httpx.AsyncClient(base_url=broker_url) as http,
        client.pubsub(ignore_subscribe_messages=True) as pubsub,
    ):
        # A table that lasts: who has written to temporary ones only commits without the disk.
        await connection.execute("CREATE TABLE bench_floor (id int, body bytea)")
        await pubsub.psubscribe("bench.*")

        async def commit(number: int) -> None:
            await connection.execute("INSERT INTO bench_floor VALUES (%s, %s)", (number, body))

        for number in range(rounds):
            begin = time.perf_counter()
            await commit(number)
            await client.publish("bench.floor", body)
            while await pubsub.get_message(timeout=5) is None:
                pass
            for _ in range(LOG_HOPS):
                await commit(number)
                pipe = client.pipeline(transaction=True)
                pipe.xadd(stream, {"message": body})
                pipe.publish(stream, body)
                await pipe.execute()
                await client.xreadgroup(group, "1", {stream: ">"}, count=1)
            await commit(number)
            await http.get("/health")
            samples.append((time.perf_counter() - begin) * 1000)
            await asyncio.sleep(PAUSE_S)
        await connection.execute("DROP TABLE bench_floor")
    await client.delete(stream)
    await client.aclose()
    return percentiles(samples)


def _lone_market(directory: Path) -> tuple[Path, Path]:
    """Write a session in which all symbols are quoted and only the first is traded, so that
    only its bars close: a random walk, seed 7."""
    rng = np.random.default_rng(7)
    opening = pd.Timestamp("2022-12-28 14:30", tz="UTC")
    length = MINUTES * 60
    quotes = length * TICKS_PER_SECOND // FACTOR
    seconds = np.sort(rng.uniform(0, length - 1, quotes))
    price = 100 * np.exp(np.cumsum(rng.normal(0, 2e-5, quotes)))
    which = rng.integers(0, SYMBOLS, quotes)
    frame = pd.DataFrame(
        {
            "symbol": [f"S{number:02d}" for number in which],
            "ts": opening + pd.to_timedelta(np.round(seconds, 6), unit="s"),
            "bid": np.round(price - 0.01, 2),
            "ask": np.round(price + 0.01, 2),
        }
    )
    traded = np.arange(5, length, 10.0)
    prints = pd.DataFrame(
        {
            "symbol": "S00",
            "ts": opening + pd.to_timedelta(traded, unit="s"),
            "price": np.round(np.interp(traded, seconds, price), 2),
            "size": 100.0,
        }
    )
    directory.mkdir(parents=True)
    files = directory / "quotes.parquet", directory / "trades.parquet"
    frame.to_parquet(files[0])
    prints.to_parquet(files[1])
    return files
