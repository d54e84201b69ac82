"""A strategy exchanged while it runs: for how long its bars wait, and for how long it is silent.

Ten strategies of 20 symbols each on one-minute bars, on real PostgreSQL and Redis servers of their
own. `pause` is the time during which the engine stands still between two bars (its own histogram's
sum); `gap` is from the last state that the old version saved to the first that the new one saved,
while a bar is published every 20 ms: it holds the time between two bars, the exchange, one commit.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
import psycopg

from benchmarks.results import Measurement, percentiles
from infra.migrate import migrate
from libs.common.quant.simulation.records import BAR
from tests.support.bar_feed import BarFeed
from tests.support.engine_desk import Desk, opened
from tests.support.servers import running_postgres, running_redis

SYMBOLS = [f"S{i}" for i in range(20)]
STRATEGIES = 10
SWAPS = 20
BAR_S = 0.02
MINUTE_NS = 60 * 10**9


def run() -> list[Measurement]:
    """Return pauses and gaps in ms."""
    with (
        tempfile.TemporaryDirectory(prefix="tradewind-bench-") as name,
        running_postgres(_room(name, "postgres")) as postgres,
        running_redis(_room(name, "redis")) as redis,
    ):
        migrate(postgres.url)
        pauses, gaps = asyncio.run(measured(postgres.url, redis.url))
    pause, gap = percentiles(pauses), percentiles(gaps)
    return [
        Measurement(
            "bars wait for an exchange: p50", pause["p50"], "ms",
            target_value=1000.0, higher_is_better=False, note=f"max {pause['max']:.0f}",
        ),
        Measurement(
            "from the old one's last state to the new one's first: p50", gap["p50"], "ms",
            floor=BAR_S * 1000, floor_name="one bar to the next",
            target_value=1000.0, higher_is_better=False, note=f"max {gap['max']:.0f}",
        ),
    ]  # fmt: skip


def _room(name: str, part: str) -> Path:
    room = Path(name) / part
    room.mkdir(mode=0o755)
    room.parent.chmod(0o755)
    return room


async def measured(database_url: str, redis_url: str) -> tuple[list[float], list[float]]:
    """Return pause and gap of each swap, ms."""
    seeds: list[dict[str, object]] = [
        {"id": f"s{i}", "class_name": "sma_cross", "universe": SYMBOLS, "timeframe": "1m"}
        for i in range(STRATEGIES)
    ]
    pauses, gaps = [], []
    async with opened(database_url, redis_url, *seeds, sweep_s=1) as desk:
        with BarFeed(database_url, redis_url, "1m") as feed:
            stop = asyncio.Event()
            feeding = asyncio.create_task(_feed(feed, stop))
            await asyncio.sleep(3.0)
            watcher = psycopg.connect(database_url, autocommit=True)
            for i in range(SWAPS):
                before = await desk.metric("strategy_swap_pause_seconds_sum")
                seen = asyncio.create_task(asyncio.to_thread(_gap, watcher, i % 2 == 0))
                await asyncio.sleep(0.1)
                await _swap(desk, {"rollback": True} if i % 2 else {"params": {"slow": 40}})
                after = await desk.metric("strategy_swap_pause_seconds_sum")
                pauses.append(1000 * (after - before))
                gaps.append(1000 * await seen)
            stop.set()
            await feeding
            watcher.close()
    return pauses, gaps


async def _swap(desk: Desk, wish: dict[str, object]) -> None:
    answer = await desk.client.post("/api/v1/strategies/s0/swap", json=wish)
    answer.raise_for_status()


async def _feed(feed: BarFeed, stop: asyncio.Event) -> None:
    bars = np.zeros(1, BAR)
    ts, price = 1_709_562_600_000_000_000, 100.0
    draw = np.random.default_rng(7)
    while not stop.is_set():
        price *= float(np.exp(draw.normal(0.0, 0.001)))
        bars["ts"] = ts
        for name in ("open", "high", "low", "close"):
            bars[name] = round(price, 4)
        bars["volume"] = 1.0
        for symbol in SYMBOLS:
            await asyncio.to_thread(feed.close, symbol, bars)
        ts += MINUTE_NS
        await asyncio.sleep(BAR_S)


def _gap(connection: psycopg.Connection, changed: bool) -> float:
    """Return the seconds between the last state under the old layout and the first bar saved under
    the new one."""
    query = "SELECT layout_hash, bars FROM strategy_states WHERE strategy_id = 's0' LIMIT 1"
    first = connection.execute(query).fetchone()
    last, at = first, time.perf_counter()
    exchanged_bars = None
    deadline = at + 20
    while time.perf_counter() < deadline:
        row = connection.execute(query).fetchone()
        now = time.perf_counter()
        if row is None or first is None or row == last:
            continue
        if row[0] == first[0]:
            last, at = row, now
            continue
        if exchanged_bars is None:
            exchanged_bars = row[1]
        elif row[1] != exchanged_bars:
            return now - at
        last = row
    raise RuntimeError(f"no exchange was seen (changed: {changed})")
