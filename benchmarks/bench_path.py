"""From a tick to the order on the broker's socket, per leg, on the running system.

The embedded system runs as `make run` starts it; an observer follows `market_data.*` and the log
channels and joins them by correlation id. Times are wall times written by the services themselves:
tick received (`ts_init`), signal, approval, order written, order sent, order acknowledged. The
floor is measured beside it on the system's own servers: per log hop one commit and one
MULTI XADD+PUBLISH read through a consumer group, as many as the path has.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from pathlib import Path

import msgspec
import psycopg
import redis

from benchmarks.results import Measurement, percentiles
from infra.embedded.credentials import Credentials
from infra.embedded.home import Home
from libs.common.contracts.envelope import read_header
from libs.common.kernel.clock import parse_ns
from tests.support.system import System, running_system

SECONDS = 60
HOPS = 2  # signal -> approval -> executor
STREAMS = ("log:signals", "log:orders.approved", "log:orders.events")


class _Tick(msgspec.Struct):
    ts_init: int
    bars: tuple[object, ...] = ()
    quotes: tuple[object, ...] = ()
    trades: tuple[object, ...] = ()


class _Event(msgspec.Struct):
    event: str
    to_status: str
    ts: str


def run() -> list[Measurement]:
    """Return the latency of each leg in ms, and of the whole path beside its floor."""
    directory = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    with running_system(directory) as system:
        credentials = Credentials(Home(directory, system.state()["books"]))
        redis_url = (
            f"redis://:{credentials.secret('redis')}@127.0.0.1:{system.state()['ports']['redis']}/0"
        )
        database_url = (
            f"postgresql://postgres:{credentials.secret('postgres')}"
            f"@127.0.0.1:{system.state()['ports']['postgres']}/tradewind"
        )
        system.until(lambda: len(system.get("/api/v1/orders", limit=5)["items"]) > 0, 120, "orders")
        observer = Observer(redis_url)
        observer.follow(SECONDS)
        floor = _floor(redis_url, database_url)
        return _measure(system, observer, floor)


class Observer:
    """Collects the times of each story by correlation id."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
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
        thread = threading.Thread(target=self._watch, args=(stop,))
        thread.start()
        time.sleep(seconds)
        stop.set()
        thread.join()
        for stream, position in positions.items():
            for _, fields in client.xrange(stream, min=b"(" + position):
                header = read_header(fields[b"message"])
                mark = self.marks[header.correlation_id]
                if stream == "log:orders.events":
                    event = msgspec.json.decode(header.payload, type=_Event)
                    mark.setdefault(event.to_status, parse_ns(event.ts))
                else:
                    mark.setdefault(stream, parse_ns(header.ts))
        client.close()

    def _watch(self, stop: threading.Event) -> None:
        client = redis.Redis.from_url(self._url)
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        pubsub.psubscribe("market_data.*")
        while not stop.is_set():
            message = pubsub.get_message(timeout=0.2)
            if message is None:
                continue
            header = read_header(message["data"])
            tick = msgspec.json.decode(header.payload, type=_Tick)
            self.ticks += len(tick.quotes) + len(tick.trades) + len(tick.bars)
            if tick.bars:
                self.received[header.correlation_id] = tick.ts_init
        pubsub.close()
        client.close()


def _measure(system: System, observer: Observer, floor_ms: dict[str, float]) -> list[Measurement]:
    legs: dict[str, list[float]] = defaultdict(list)
    for correlation_id, mark in observer.marks.items():
        received = observer.received.get(correlation_id)
        steps = [
            ("tick → signal", received, mark.get("log:signals")),
            ("signal → approved", mark.get("log:signals"), mark.get("log:orders.approved")),
            ("approved → sent", mark.get("log:orders.approved"), mark.get("submitting")),
            ("sent → acknowledged", mark.get("submitting"), mark.get("submitted")),
            ("tick → sent", received, mark.get("submitting")),
        ]
        for name, begin, end in steps:
            if begin is not None and end is not None:
                legs[name].append((end - begin) / 1e6)
    found = []
    for name, samples in legs.items():
        figures = percentiles(samples)
        note = (
            f"n={len(samples)}, p99.9 {figures['p99.9']:.1f}, max {figures['max']:.1f}, "
            f"{observer.ticks / SECONDS:.0f} ticks/s"
        )
        whole = name == "tick → sent"
        found.append(
            Measurement(
                f"{name}, p50",
                figures["p50"],
                "ms",
                floor=floor_ms["p50"] if whole else None,
                floor_name="two log hops and their commits, p50",
                target_ratio=2.0 if whole else None,
                higher_is_better=False,
                note=note,
            )
        )
        found.append(
            Measurement(
                f"{name}, p99",
                figures["p99"],
                "ms",
                floor=floor_ms["p99"] if whole else None,
                floor_name="the same, p99",
                target_value=25.0 if whole else None,
                higher_is_better=False,
            )
        )
    return found


def _floor(redis_url: str, database_url: str, rounds: int = 500) -> dict[str, float]:
    """Time what the path cannot do without, on the loaded system: commits and log hops."""
    client = redis.Redis.from_url(redis_url)
    stream = "bench:floor"
    client.delete(stream)
    client.xgroup_create(stream, "bench", mkstream=True)
    body = b"x" * 1200
    samples = []
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TEMP TABLE floor (id int, body bytea)")
        connection.commit()
        for number in range(rounds):
            begin = time.perf_counter()
            for _ in range(HOPS):
                connection.execute("INSERT INTO floor VALUES (%s, %s)", (number, body))
                connection.commit()
                pipe = client.pipeline(transaction=True)
                pipe.xadd(stream, {"message": body})
                pipe.publish(stream, body)
                pipe.execute()
                client.xreadgroup("bench", "1", {stream: ">"}, count=1)
            connection.execute("INSERT INTO floor VALUES (%s, %s)", (number, body))
            connection.commit()
            samples.append((time.perf_counter() - begin) * 1000)
    client.delete(stream)
    client.close()
    figures = percentiles(samples)
    figures["mean"] = statistics.fmean(samples)
    return figures
