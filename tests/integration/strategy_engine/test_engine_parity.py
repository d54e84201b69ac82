"""Signals of the live engine = signals of the loop, to the bit, through kills and restarts.

For every strategy in `strategies/`, whatever its kind, through the real bus and the real tables.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psycopg
import pytest
import redis

from libs.common.contracts.envelope import Reader
from libs.common.contracts.messages import Signal
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import from_ns
from libs.common.quant.simulation.records import BAR
from libs.common.strategy.definition import CrossDefinition, Definition, SingleDefinition
from libs.common.strategy.fusion import NAME, with_fusion
from libs.common.strategy.kinds import runners_of
from libs.common.strategy.protocol import Stepper
from libs.common.strategy.registry import load_directories
from services.strategy_engine.signals import price
from tests.support.bar_feed import BarFeed, daily_bars, minute_bars
from tests.support.engine_process import EngineProcess

# Two that differ often, and one twice.
FUSED = {
    "sma_cross.weight": 2.0,
    "rsi_reversion.weight": 1.0,
    "sma_cross#quick.fast": 3,
    "half_life": 10,
    "trips_min": 2,
}
BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
Prices = Mapping[str, np.ndarray]
Row = tuple[object, ...]


@dataclass(frozen=True)
class Case:
    """One strategy on its symbols, parameters at their defaults where nothing else is said."""

    definition: Definition
    symbols: tuple[str, ...]
    timeframe: Timeframe
    params: Mapping[str, object] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.definition.name}.{self.timeframe}"

    @property
    def seed(self) -> dict[str, object]:
        return {
            "id": self.id,
            "class_name": self.definition.name,
            "universe": self.symbols,
            "params": self.params,
            "timeframe": self.timeframe,
        }


def cases(prices: Prices, timeframe: Timeframe) -> list[Case]:
    """Every strategy that the directory holds, those on one symbol on one in turn."""
    registry = with_fusion(load_directories([BUILT_IN]))
    assert not registry.refused
    symbols = tuple(prices)
    found = []
    for place, (_, loaded) in enumerate(sorted(registry.strategies.items())):
        definition = loaded.definition
        longer = definition.timeframes if isinstance(definition, SingleDefinition) else ()
        if any(name.ns <= timeframe.ns for name in longer):
            continue
        mine: tuple[str, ...] = (symbols[place % len(symbols)],)
        if isinstance(definition, CrossDefinition):
            mine = symbols[: definition.universe_max]
            if len(mine) < definition.universe_min:
                continue
        params = FUSED if definition.name == NAME else {}
        found.append(Case(definition, mine, timeframe, params))
    return found


def stepped(case: Case, runner: Stepper, prices: Prices) -> list[Row]:
    """The signals of one runner, one time after the other."""
    by_time = {s: {int(bar["ts"]): bar for bar in prices[s]} for s in runner.symbols}
    closes: dict[str, float] = {}
    rows: list[Row] = []
    for ts in sorted({ts for bars in by_time.values() for ts in bars}):
        moment = {s: bars[ts] for s, bars in by_time.items() if ts in bars}
        closes |= {s: float(bar["close"]) for s, bar in moment.items()}
        for stated in runner.take(moment):
            target = float(stated.decision["target"])
            at = price(closes[stated.symbol])
            stops = price(float(stated.decision["stop"])), price(float(stated.decision["limit"]))
            rows.append((case.id, stated.symbol, from_ns(ts), target, at, *stops))
    return rows


def expected(case: Case, prices: Prices) -> tuple[list[Row], dict[tuple[str, str], bytes]]:
    """What the simulation loop says: the signals, and the memories after the last bar."""
    definition = case.definition
    rows: list[Row] = []
    states: dict[tuple[str, str], bytes] = {}
    for runner in runners_of(definition, case.params, case.symbols, case.timeframe):
        rows += stepped(case, runner, prices)
        whole = isinstance(definition, CrossDefinition)
        states[case.id, "*" if whole else runner.symbols[0]] = runner.save()
    for runner in runners_of(definition, case.params, case.symbols, case.timeframe):
        # Bar by bar and all at once are the same, to the bit.
        runner.decide({symbol: prices[symbol] for symbol in runner.symbols})
        assert runner.save() in states.values()
    return rows, states


def stored_signals(connection: psycopg.Connection) -> list[Row]:
    return connection.execute(
        "SELECT strategy_id, symbol, bar_ts, target, reference_price, stop, limit_price"
        " FROM signals ORDER BY strategy_id, symbol, bar_ts"
    ).fetchall()


def stored_states(connection: psycopg.Connection) -> dict[tuple[str, str], bytes]:
    rows = connection.execute("SELECT strategy_id, symbol, state FROM strategy_states").fetchall()
    return {(row[0], row[1]): bytes(row[2]) for row in rows}


def played(
    markets: Mapping[Timeframe, Prices],
    feeds: Mapping[Timeframe, BarFeed],
    engine: EngineProcess,
    connection: psycopg.Connection,
    seed: int,
) -> None:
    """Feed all bars, killing the engine at two random moments."""
    chance = random.Random(seed)
    hours = {timeframe: by_time(prices) for timeframe, prices in markets.items()}
    length = max(map(len, hours.values()))
    kills = sorted(chance.sample(range(length // 10, length - 1), 2))
    downtimes = {at: chance.randint(0, 30) for at in kills}
    up_again = -1
    for i in range(length):
        for timeframe, times in hours.items():
            for symbol, bars in times[i] if i < len(times) else ():
                feeds[timeframe].close(symbol, bars)
        if i % 20 == 0:
            time.sleep(0.02)
        if i in downtimes and up_again < i:
            wait_for_states(connection)
            engine.kill()
            up_again = min(i + downtimes[i], length - 1)
        if i == up_again:
            engine.start()


def by_time(prices: Prices) -> list[list[tuple[str, np.ndarray]]]:
    """Each time's bars, in the order of time."""
    return [
        [(s, bars[bars["ts"] == ts]) for s, bars in prices.items() if ts in bars["ts"]]
        for ts in np.unique(np.concatenate([bars["ts"] for bars in prices.values()]))
    ]


def wait_for_states(connection: psycopg.Connection, count: int = 1) -> None:
    """The first bars must have been seen: before, a strategy has not begun."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if len(stored_states(connection)) >= count:
            return
        time.sleep(0.02)
    raise AssertionError("no state was saved")


def check(
    wanted: list[Row],
    states: Mapping[tuple[str, str], bytes],
    connection: psycopg.Connection,
    redis_url: str,
) -> None:
    deadline = time.monotonic() + 90
    while stored_states(connection) != states and time.monotonic() < deadline:
        time.sleep(0.1)
    found = stored_states(connection)
    assert {key for key in states if found.get(key) != states[key]} == set()
    assert sorted(stored_signals(connection), key=str) == wanted
    assert len(wanted) > 20
    stored = {row[0] for row in connection.execute("SELECT id FROM signals").fetchall()}
    count = connection.execute(
        "SELECT count(*), count(DISTINCT convert_from(message, 'UTF8')::jsonb"
        " -> 'payload' ->> 'signal_id') FROM outbox WHERE stream = 'log:signals'"
    ).fetchone()
    assert count == (len(wanted), len(wanted))
    with redis.Redis.from_url(redis_url) as client:
        while client.xlen("log:signals") < len(wanted) and time.monotonic() < deadline:
            time.sleep(0.1)
        reader = Reader(Signal)
        entries = client.xrange("log:signals")
        published = Counter(
            reader.read(fields[b"message"]).payload.signal_id for _, fields in entries
        )
    assert set(published) == stored


def random_bars(seed: int, count: int) -> np.ndarray:
    """Return minutes of a random walk; some, but not the first and the last, are missing."""
    draw = np.random.Generator(np.random.PCG64(seed))
    bars = np.zeros(count, BAR)
    # 2024-03-04, a Monday, 14:30 UTC: the market opens.
    bars["ts"] = 1_709_562_600_000_000_000 + np.arange(count) * Timeframe.MINUTE.ns
    bars["close"] = np.round(100.0 * np.exp(np.cumsum(draw.normal(0.0, 0.002, count))), 4)
    bars["open"] = np.concatenate([bars["close"][:1], bars["close"][:-1]])
    bars["high"] = np.round(np.maximum(bars["open"], bars["close"]) * 1.0005, 4)
    bars["low"] = np.round(np.minimum(bars["open"], bars["close"]) * 0.9995, 4)
    bars["volume"] = np.round(1e4 * draw.random(count))
    present = draw.random(count) > 0.02
    present[[0, -1]] = True
    return bars[present]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_built_in_strategy_signals_live_as_in_the_loop_on_real_days_and_random_minutes(
    database_url: str, redis_url: str, tmp_path: Path, seed: int
) -> None:
    markets = {
        Timeframe.DAY: {symbol: daily_bars(symbol, 300) for symbol in ("AAPL", "RRC", "PG")},
        Timeframe.MINUTE: {f"R{i}": random_bars(seed + i, 300) for i in range(3)},
    }
    run_through(markets, database_url, redis_url, tmp_path, seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_built_in_strategy_signals_live_as_in_the_loop_on_real_minutes(
    database_url: str, redis_url: str, tmp_path: Path, shared_data: Path, seed: int
) -> None:
    prices = {symbol: minute_bars(shared_data, symbol)[300:600] for symbol in ("SPY", "IBM")}
    # A strategy on both waits for a symbol's next bar, which after the last one never comes.
    both = np.intersect1d(prices["SPY"]["ts"], prices["IBM"]["ts"])
    prices = {
        symbol: bars[(bars["ts"] >= both[0]) & (bars["ts"] <= both[-1])]
        for symbol, bars in prices.items()
    }
    run_through({Timeframe.MINUTE: prices}, database_url, redis_url, tmp_path, seed)


def run_through(
    markets: Mapping[Timeframe, Prices],
    database_url: str,
    redis_url: str,
    folder: Path,
    seed: int,
) -> None:
    plan = [case for timeframe, prices in markets.items() for case in cases(prices, timeframe)]
    rows: list[Row] = []
    states: dict[tuple[str, str], bytes] = {}
    for case in plan:
        some, memories = expected(case, markets[case.timeframe])
        rows += some
        states |= memories
    engine = EngineProcess(
        database_url,
        redis_url,
        folder / "engine.log",
        strategies=[case.seed for case in plan],
        sweep_s=0.5,
        gap_timeout_s=30,
        panel_wait_s=250,
    )
    engine.start()
    feeds = {timeframe: BarFeed(database_url, redis_url, timeframe) for timeframe in markets}
    try:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while not all(feed.heard() for feed in feeds.values()):
                time.sleep(0.02)
            for timeframe, prices in markets.items():
                for symbol, bars in prices.items():
                    feeds[timeframe].close(symbol, bars[:1])
            wait_for_states(connection, len(states))
            played(markets, feeds, engine, connection, seed)
            check(sorted(rows, key=str), states, connection, redis_url)
            assert engine.stop() == 0
            assert stored_states(connection) == states
    finally:
        engine.kill()
        for feed in feeds.values():
            feed.__exit__()
