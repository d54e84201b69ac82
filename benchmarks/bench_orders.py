"""Orders through the executor, from approval on the log to the broker's answer and the booking.

The executor and the simulated broker run as processes of their own beside PostgreSQL and Redis, on
this machine's cores. Approvals of market orders over 20 symbols are put on `orders.approved` as
fast as Redis takes them; every order is written, sent through alpaca-py, acknowledged, filled and
booked. Sustained: all orders over the time until the last one is booked. Burst: limit orders that
rest, all at once, over the time until the last one is acknowledged. The books are compared with
the broker's own at the end.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import psycopg
import uvloop

from benchmarks.results import Measurement
from infra.migrate import migrate
from libs.common.domain.vocabulary import TradingState
from libs.common.runtime.settings import DEFAULT_SYMBOLS
from tests.support.executor_orders import approval, spec
from tests.support.executor_process import ExecutorProcess
from tests.support.executor_world import Voice, compare_books
from tests.support.servers import running_postgres, running_redis
from tests.support.simulator import SimulatorProcess, start_simulator_process

ORDERS, BATCH, BURST, BURSTS = 3_000, 50, 250, 5
TARGET_S, TARGET_BURST_S = 300, 500
USUAL = {
    "broker_threads": 8,
    "broker_timeout_s": 5,
    "reconcile_orders_s": 30,
    "reconcile_books_s": 60,
    "watch_s": 5,
    "settle_s": 5,
}


def run() -> list[Measurement]:
    """Return orders a second."""
    directory = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    directory.chmod(0o755)
    with (
        running_postgres(directory) as postgres,
        running_redis(directory) as redis,
        start_simulator_process(
            directory / "simulator.db",
            simulator_symbols=DEFAULT_SYMBOLS,
            simulator_cash="100000000",
        ) as simulator,
    ):
        for symbol in DEFAULT_SYMBOLS:
            simulator.quote(symbol, "100.00", "100.02", 10**7, 10**7)
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE bench_orders")
        url = postgres.url.rsplit("/", 1)[0] + "/bench_orders"
        migrate(url)
        executor = ExecutorProcess(simulator, url, redis.url, directory / "executor.log", **USUAL)
        return uvloop.run(_measure(url, redis.url, simulator, executor))


async def _measure(
    url: str, redis_url: str, simulator: SimulatorProcess, executor: ExecutorProcess
) -> list[Measurement]:
    voice = Voice(url, redis_url)
    voice.set_state(TradingState.ACTIVE, 1)
    voice.begin_beating()
    executor.start()
    try:
        await asyncio.sleep(1)
        return await _rates(url, voice, simulator)
    finally:
        await voice.close()
        executor.stop()


async def _rates(url: str, voice: Voice, simulator: SimulatorProcess) -> list[Measurement]:
    orders = [
        approval(
            spec(
                "buy" if number % 2 == 0 else "sell",
                "5",
                symbol=DEFAULT_SYMBOLS[number // 2 % len(DEFAULT_SYMBOLS)],
            ),
            generation=1,
            reference_price="100",
            lasts_s=600,
        )
        for number in range(ORDERS)
    ]
    started = time.perf_counter()
    for first in range(0, ORDERS, BATCH):
        await voice.approve(*orders[first : first + BATCH])
    while (ended := _count(url, "filled")) < ORDERS:
        await asyncio.sleep(0.25)
        assert time.perf_counter() - started < 300, f"{ended} of {ORDERS} after 300 s"
    rate = ORDERS / (time.perf_counter() - started)
    for _ in range(40):
        differences = compare_books(url, simulator.ledger())
        if not differences:
            break
        await asyncio.sleep(0.5)
    assert not differences, differences
    bursts = [await _burst(url, voice, number) for number in range(BURSTS)]
    return [
        Measurement(
            "approval to booked execution, sustained", rate, "orders/s", target_value=TARGET_S
        ),
        Measurement(
            f"approval to acknowledged, {BURST} at once",
            statistics.median(bursts),
            "orders/s",
            target_value=TARGET_BURST_S,
            note=f"median of {BURSTS}",
        ),
    ]


async def _burst(url: str, voice: Voice, number: int) -> float:
    """Return orders a second from the first approval to the last acknowledgement."""
    resting = spec("buy", "1", symbol=DEFAULT_SYMBOLS[0], limit="50")
    orders = [
        approval(resting, generation=1, reference_price="100", lasts_s=600) for _ in range(BURST)
    ]
    started, begun = time.time(), time.perf_counter()
    await voice.approve(*orders)
    while (count := _count(url, "working")) < (number + 1) * BURST:
        await asyncio.sleep(0.25)
        assert time.perf_counter() - begun < 60, f"{count} are acknowledged after 60 s"
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT extract(epoch FROM max(ts)) FROM order_events WHERE to_status = 'working'"
        ).fetchone()
    assert row is not None
    return BURST / (float(row[0]) - started)


def _count(url: str, status: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM orders WHERE status = %s", (status,)
        ).fetchone()
    assert row is not None
    return int(row[0])
