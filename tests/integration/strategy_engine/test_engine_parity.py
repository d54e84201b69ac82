"""Signals of the live engine = signals of the loop, to the bit, through kills and restarts."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import psycopg
import pytest
import redis

from libs.common.contracts.envelope import Reader
from libs.common.contracts.messages import Signal
from libs.common.kernel.clock import from_ns
from libs.common.strategy import Runner
from services.strategy_engine.signals import price
from strategies.rsi_reversion import RsiReversion
from strategies.sma_cross import SmaCross
from tests.support.bar_feed import BarFeed, daily_bars, minute_bars
from tests.support.engine_process import EngineProcess

DEFINITIONS = {d.name: d for d in (SmaCross.definition, RsiReversion.definition)}


def expected(name: str, symbol: str, bars: np.ndarray) -> tuple[list[tuple[object, ...]], bytes]:
    """What the simulation loop says: the signals, and the memory after the last bar."""
    runner = Runner(DEFINITIONS[name], {})
    steps = runner.run(bars)
    rows = [
        (name, symbol, from_ns(int(bar["ts"])), float(decision["target"]), price(bar["close"]))
        for bar, decision in zip(bars[steps.changed], steps.decisions[steps.changed], strict=True)
    ]
    return rows, runner.save()


def stored_signals(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT strategy_id, symbol, bar_ts, target, reference_price FROM signals"
        " ORDER BY strategy_id, symbol, bar_ts"
    ).fetchall()


def stored_states(connection: psycopg.Connection) -> dict[tuple[str, str], bytes]:
    rows = connection.execute("SELECT strategy_id, symbol, state FROM strategy_states").fetchall()
    return {(row[0], row[1]): bytes(row[2]) for row in rows}


def played(
    prices: dict[str, np.ndarray],
    feed: BarFeed,
    engine: EngineProcess,
    connection: psycopg.Connection,
    seed: int,
) -> None:
    """Feed all bars, killing the engine at two random moments; wait until it has seen all."""
    chance = random.Random(seed)
    length = max(len(bars) for bars in prices.values())
    kills = sorted(chance.sample(range(length // 10, length - 1), 2))
    downtimes = {at: chance.randint(0, 30) for at in kills}
    up_again = -1
    for i in range(length):
        for symbol, bars in prices.items():
            if i < len(bars):
                feed.close(symbol, bars[i : i + 1])
        if i % 20 == 0:
            time.sleep(0.02)
        if i in downtimes and up_again < i:
            wait_for_states(connection)
            engine.kill()
            up_again = min(i + downtimes[i], length - 1)
        if i == up_again:
            engine.start()


def wait_for_states(connection: psycopg.Connection, count: int = 1) -> None:
    """The first bars must have been seen: before, a strategy has not begun."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if len(stored_states(connection)) >= count:
            return
        time.sleep(0.02)
    raise AssertionError("no state was saved")


def check(
    prices: dict[str, np.ndarray],
    by_symbol: dict[str, str],
    connection: psycopg.Connection,
    redis_url: str,
) -> None:
    wanted = {s: expected(by_symbol[s], s, bars) for s, bars in prices.items()}
    rows = sorted(row for some, _ in wanted.values() for row in some)  # type: ignore[type-var]
    states = {(by_symbol[s], s): memory for s, (_, memory) in wanted.items()}
    deadline = time.monotonic() + 30
    while stored_states(connection) != states and time.monotonic() < deadline:
        time.sleep(0.1)
    assert stored_states(connection) == states
    assert stored_signals(connection) == rows
    assert len(rows) > 20
    stored = {row[0] for row in connection.execute("SELECT id FROM signals").fetchall()}
    count = connection.execute(
        "SELECT count(*), count(DISTINCT convert_from(message, 'UTF8')::jsonb"
        " -> 'payload' ->> 'signal_id') FROM outbox WHERE stream = 'log:signals'"
    ).fetchone()
    assert count == (len(rows), len(rows))
    with redis.Redis.from_url(redis_url) as client:
        while client.xlen("log:signals") < len(rows) and time.monotonic() < deadline:
            time.sleep(0.1)
        reader = Reader(Signal)
        entries = client.xrange("log:signals")
        published = Counter(
            reader.read(fields[b"message"]).payload.signal_id for _, fields in entries
        )
    assert set(published) == stored


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_live_signals_equal_the_loop_through_kills_on_real_days(
    database_url: str, redis_url: str, tmp_path: Path, seed: int
) -> None:
    by_symbol = {"AAPL": "sma_cross", "RRC": "sma_cross", "PG": "rsi_reversion"}
    prices = {symbol: daily_bars(symbol, 300) for symbol in by_symbol}
    run_through(prices, by_symbol, "1d", database_url, redis_url, tmp_path, seed)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_live_signals_equal_the_loop_through_kills_on_real_minutes(
    database_url: str, redis_url: str, tmp_path: Path, shared_data: Path, seed: int
) -> None:
    by_symbol = {"SPY": "sma_cross", "IBM": "rsi_reversion"}
    prices = {symbol: minute_bars(shared_data, symbol)[300:700] for symbol in by_symbol}
    run_through(prices, by_symbol, "1m", database_url, redis_url, tmp_path, seed)


def run_through(
    prices: dict[str, np.ndarray],
    by_symbol: dict[str, str],
    timeframe: str,
    database_url: str,
    redis_url: str,
    folder: Path,
    seed: int,
) -> None:
    seeds = [
        {
            "id": name,
            "class_name": name,
            "universe": [s for s, n in by_symbol.items() if n == name],
            "timeframe": timeframe,
        }
        for name in sorted(set(by_symbol.values()))
    ]
    engine = EngineProcess(
        database_url,
        redis_url,
        folder / "engine.log",
        strategies=seeds,
        sweep_s=0.5,
        gap_timeout_s=30,
    )
    engine.start()
    try:
        with (
            BarFeed(database_url, redis_url, timeframe) as feed,
            psycopg.connect(database_url, autocommit=True) as connection,
        ):
            while not feed.heard():
                time.sleep(0.02)
            first = {s: bars[:1] for s, bars in prices.items()}
            for symbol, bars in first.items():
                feed.close(symbol, bars)
            wait_for_states(connection, len(prices))
            played(prices, feed, engine, connection, seed)
            check(prices, by_symbol, connection, redis_url)
            assert engine.stop() == 0
            assert stored_states(connection) == {
                (by_symbol[s], s): expected(by_symbol[s], s, bars)[1] for s, bars in prices.items()
            }
    finally:
        engine.kill()


def test_signals_are_the_same_json_however_often_they_are_written() -> None:
    bars = daily_bars("AAPL", 60)
    first, second = (expected("sma_cross", "AAPL", bars) for _ in range(2))
    assert msgspec.json.encode(first[0]) == msgspec.json.encode(second[0])
