"""Judgements: all checks in process, and through the bus with the record stored.

In process: a book of 50 positions; each judgement sizes a signal, runs every check on a fresh
quote, reserves, and books the fill of an older one. Floor of the same run: as many bare function
calls as there are checks, each making one result.

Through the bus: the service as a process of its own on real servers; signals lie on the stream,
the clock runs from the first record to the last. Floor of the same run: the same records and
messages written in the same batches, by the same statements, with no judgement and no bus.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import tempfile
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import psycopg

from benchmarks.results import Measurement, percentiles
from infra.migrate import migrate
from libs.common.domain.checks import ALL, Check
from libs.common.domain.instruments import Instrument
from libs.common.domain.vocabulary import SessionState, TradingState
from libs.common.kernel.ids import SignalId, order_id_of
from services.risk_manager.book import Book
from services.risk_manager.desk import Desk, Moment, Switch
from services.risk_manager.judgement import judge, reserve
from services.risk_manager.limits import LimitBook, LimitKey, Scope, defaults
from services.risk_manager.pending import Fill
from services.risk_manager.ports import Assessment, Outgoing
from services.risk_manager.records import outgoing_of
from services.risk_manager.signals import ask_of_signal
from services.risk_manager.store import RiskStore
from tests.support.desks import NOW, NOW_NS, signal
from tests.support.risk_world import RiskProcess, World, sim_clock
from tests.support.runtimes import eventually, runtime_for
from tests.support.servers import running_postgres, running_redis

POSITIONS = 50
JUDGEMENTS = 20_000
SIGNALS = 6_000
BATCH = 128
# So that every order passes all checks and none is refused for how often it comes.
WIDE: dict[str, int | str] = {
    "orders_per_window_strategy": 10_000_000,
    "orders_per_window_account": 10_000_000,
    "duplicate_window_s": 0,
    "size_fixed_quantity": 1,
}
SYMBOLS = [f"S{i:02d}" for i in range(POSITIONS)]


def run() -> list[Measurement]:
    """Return latencies in µs and rates in judgements/s."""
    with tempfile.TemporaryDirectory(prefix="tradewind-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        return [*in_process(), *asyncio.run(through_the_bus(directory))]


# In process ----------------------------------------------------------------------------------


def in_process() -> list[Measurement]:
    """Judge and reserve, one after the other."""
    at = _desk()
    times: list[float] = []
    busy: list[float] = []
    # As the service does once it has started.
    gc.collect()
    gc.freeze()
    older: list[Fill] = []
    for i in range(JUDGEMENTS):
        symbol = SYMBOLS[i % POSITIONS]
        at.book.set_mark(symbol, 9.99 + (i % 7) / 100, 10.01 + (i % 7) / 100, NOW_NS + i)
        sent = signal(symbol, 1.0, minute=i, strategy_id=f"s{i}")
        now = Moment(i / 1000, NOW_NS + i, 1.0, SessionState.REGULAR)
        started, cpu = time.perf_counter_ns(), time.thread_time_ns()
        ask = ask_of_signal(at, sent, order_id_of(SignalId(sent.signal_id)), now)
        judgement = judge(at, ask, now)
        assert judgement.refusal is None, judgement.refusal
        pending = reserve(at, judgement, now, 1e12)
        busy.append((time.thread_time_ns() - cpu) / 1000)
        times.append((time.perf_counter_ns() - started) / 1000)
        older.append(
            Fill(uuid.uuid4(), pending.order_id, symbol, pending.side, pending.quantity,
                 -pending.quantity * 10, pending.strategy_id)
        )  # fmt: skip
        if len(older) > 100:
            done = older.pop(0)
            at.book.execute(done)
            at.book.end(done.order_id, done.quantity)
    figures, own = percentiles(times[1000:]), percentiles(busy[1000:])
    floor = _floor_of_calls()
    rate, bare = 1e6 / (sum(times) / len(times)), 1e6 / floor
    return [
        Measurement("judgement p50, 50 positions", figures["p50"], "µs", floor, "bare calls",
                    higher_is_better=False),
        Measurement("judgement p99, 50 positions", figures["p99"], "µs", floor, "bare calls",
                    target_value=200, higher_is_better=False,
                    note=f"p99.9 {figures['p99.9']:.0f}, max {figures['max']:.0f}; "
                    f"of its own CPU time p99 {own['p99']:.0f}"),
        Measurement("judgements in process", rate, "1/s", bare, "bare calls", target_value=5_000),
    ]  # fmt: skip


def _desk() -> Desk:
    listed = {s: Instrument(s, sector=f"sector{i // 4}") for i, s in enumerate(SYMBOLS)}
    book = Book(listed)
    book.cash = Decimal(100_000_000)
    values = defaults() | {
        LimitKey(Scope.ACCOUNT, "", name): Decimal(value) for name, value in WIDE.items()
    }
    for symbol in SYMBOLS:
        book.set_mark(symbol, 9.99, 10.01, NOW_NS)
        book.set_position(symbol, Decimal(1000))
    switch = Switch(TradingState.ACTIVE, 1, "bench", "bench", NOW)
    return Desk("main", listed, book, LimitBook(values), switch)


def _floor_of_calls() -> float:
    """Return the µs of one bare call a check."""
    calls: list[Callable[[], Check]] = [lambda: Check("CODE", True, None, None) for _ in ALL]
    started = time.perf_counter_ns()
    for _ in range(10_000):
        tuple([call() for call in calls])
    return (time.perf_counter_ns() - started) / 10_000 / 1000


# Through the bus -----------------------------------------------------------------------------


async def through_the_bus(directory: Path) -> list[Measurement]:
    """Judge what lies on the stream, in a process of its own."""
    with (
        running_postgres(directory) as postgres,
        running_redis(directory) as redis_server,
        sim_clock() as clock,
    ):
        url = postgres.url.rsplit("/", 1)[0] + "/bench"
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE bench")
        migrate(url)
        _seed(url)
        world = World(url, redis_server.url, clock)
        process = RiskProcess(url, redis_server.url, clock.url, directory / "risk.log")
        quoting = asyncio.create_task(_quote(world))
        try:
            process.start()
            await eventually(process.ready, within_s=60, what="the service")
            await asyncio.sleep(1.0)
            rate = await _measure(world)
        finally:
            quoting.cancel()
            process.stop()
        stored = world.rows("SELECT count(*) AS n FROM risk_assessments WHERE code IS NULL")
        assert stored[0]["n"] == SIGNALS, world.rows(
            "SELECT code, count(*) FROM risk_assessments GROUP BY code"
        )
        floor = await _floor_of_records(world, url, redis_server.url)
        await world.close()
    return [
        Measurement("judgements through the bus, stored", rate, "1/s", floor,
                    "the same records written alone", target_value=1_500)
    ]  # fmt: skip


async def _measure(world: World) -> float:
    signals = [world.signal(SYMBOLS[i % POSITIONS], 1.0, strategy=f"s{i}") for i in range(SIGNALS)]
    for start in range(0, SIGNALS, 500):
        await world.send(*signals[start : start + 500])
    count = 0
    while count < SIGNALS:
        await asyncio.sleep(0.05)
        (row,) = world.rows("SELECT count(*) AS n FROM risk_assessments")
        count = row["n"]
    (span,) = world.rows("SELECT min(ts) AS first, max(ts) AS last FROM risk_assessments")
    return SIGNALS / (span["last"] - span["first"]).total_seconds()


async def _quote(world: World) -> None:
    while True:
        for symbol in SYMBOLS:
            await world.quote(symbol, 10.0)
        await asyncio.sleep(0.5)


async def _floor_of_records(world: World, url: str, redis_url: str) -> float:
    """Write what the service has written once more, under new ids, in the same batches."""
    runtime = runtime_for("risk_manager", url, redis_url, port=0)
    store = RiskStore(runtime.database, runtime.outbox, "main", grace_s=0.0)
    records: list[Assessment] = []
    after = None
    while len(records) < SIGNALS:
        page = await store.assessments(limit=500, after=after, verdict=None, symbol=None)
        after = page[-1].id
        records += [
            msgspec.structs.replace(
                a, id=runtime.ids.new(), signal_id=uuid.uuid4(), order_id=uuid.uuid4()
            )
            for a in page
        ]
    messages: list[list[Outgoing]] = [
        outgoing_of(a, causation_id=None, publish_order=True) for a in records
    ]
    started = time.perf_counter()
    for start in range(0, SIGNALS, BATCH):
        part = slice(start, start + BATCH)
        await store.record(records[part], [m for some in messages[part] for m in some])
    elapsed = time.perf_counter() - started
    await runtime.close()
    return SIGNALS / elapsed


def _seed(url: str) -> None:
    limits = {**{k.name: v for k, v in defaults().items()}, **WIDE}
    with psycopg.connect(url, autocommit=True) as connection:
        for i, symbol in enumerate(SYMBOLS):
            connection.execute(
                """INSERT INTO instruments (symbol, exchange, asset_class, tick_size, lot_size,
                       sector, tradable, shortable, fractionable)
                   VALUES (%s, 'XNYS', 'us_equity', 0.01, 1, %s, true, true, false)""",
                (symbol, f"sector{i // 4}"),
            )
            connection.execute(
                """INSERT INTO portfolio_positions
                       (account_id, symbol, quantity, avg_cost, realized_pnl)
                   VALUES ('main', %s, 1000, 10, 0)""",
                (symbol,),
            )
        for name, value in limits.items():
            connection.execute(
                """INSERT INTO risk_limits (account_id, scope, name, value, set_by, set_at)
                   VALUES ('main', 'account', %s, %s, 'bench', %s)""",
                (name, str(value), dt.datetime.now(dt.UTC)),
            )
        connection.execute(
            """INSERT INTO ledger_accounts (id, owner, ledger, code, credits_posted)
               VALUES (%s, 'main', 'USD', 'cash', 100000000)""",
            (uuid.uuid4(),),
        )
