"""Executions booked durably: trade, order, event, position, ledger, messages in one transaction.

Every execution posts from a hold, takes a fee and opens the rest of the hold again: one trade, one
order and one position changed, one event, four transfers over five accounts, two messages.
Ours: from an `Execution` to the committed answer, `ExecutorStore.book`, one at a time and with 100
under way (group commit of up to 50). Floor of the same run: one bare server-side call that writes
the very same rows with everything known beforehand, one execution a call and 50 a call. The server
syncs each commit to disk.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
import time
import uuid
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psycopg
import uvloop

from benchmarks.results import Measurement
from infra.migrate import migrate
from libs.common.contracts.messages import OrderSpec
from libs.common.domain.booking import hold
from libs.common.domain.executions import Execution
from libs.common.domain.vocabulary import OrderStatus, Side
from libs.common.kernel.ids import (
    AccountId,
    BrokerOrderId,
    ExecutionId,
    OrderId,
    Symbol,
    client_order_id,
)
from libs.common.runtime.runtime import Runtime
from services.trade_executor.model import Order
from services.trade_executor.ports import ReconciliationRun, Recorded
from services.trade_executor.settings import ExecutorSettings
from services.trade_executor.store import ExecutorStore
from tests.support.servers import running_postgres

SINGLE, BATCHED = 1_500, 6_000
AT_ONCE, WAITING = 50, 100  # share a commit; are under way
TURNS = 10
SYMBOLS = tuple(f"S{number:02}" for number in range(20))
MAIN = AccountId("main")
TARGET_RATIO = 0.6

# The same rows as `executor_write` leaves, and nothing decided: every value is given.
BARE = """
CREATE FUNCTION bench_bare(ids uuid[], symbols text[], accounts uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    i integer;
    t uuid;
    post uuid;
    message bytea := convert_to(rpad('{', 700, 'x'), 'UTF8');
BEGIN
    FOR i IN 1 .. array_length(ids, 1) LOOP
        t := gen_random_uuid();
        post := gen_random_uuid();
        INSERT INTO trades (id, order_id, account_id, broker, execution_id, symbol, side, quantity,
            executed_price, commission, fees, executed_at, realized_pnl, correlation_id, entry)
        VALUES (t, ids[i], 'main', 'bare', t::text, symbols[i], 'buy', 1, 100, 0, 0.01, now(), 0,
            t, i);
        INSERT INTO portfolio_positions VALUES ('main', symbols[i], 1, 100, 0, now(), 1)
        ON CONFLICT (account_id, symbol) DO UPDATE SET quantity = portfolio_positions.quantity + 1;
        UPDATE orders SET filled_quantity = filled_quantity + 1, event_seq = event_seq + 1,
            filled_value = filled_value + 100, updated_at = now() WHERE id = ids[i];
        INSERT INTO order_events (order_id, seq, event, from_status, to_status)
        SELECT id, event_seq, 'partly_filled', 'working', 'working' FROM orders WHERE id = ids[i];
        INSERT INTO ledger_transfers (id, debit_account, credit_account, ledger, amount, kind,
            code, order_id, trade_id, correlation_id)
        VALUES (post, accounts[1], accounts[2], 'USD', 1, 'direct', 'cash', ids[i], t, t),
               (gen_random_uuid(), accounts[1], accounts[2], 'USD', 1, 'direct', 'cash', ids[i], t,
                t),
               (gen_random_uuid(), accounts[3], accounts[1], 'USD', 1, 'direct', 'fee', ids[i], t,
                t),
               (gen_random_uuid(), accounts[1], accounts[2], 'USD', 1, 'direct', 'hold', ids[i], t,
                t);
        UPDATE ledger_accounts SET debits_posted = debits_posted + 1 WHERE id = ANY (accounts);
        INSERT INTO outbox (id, source, channel, stream, message)
        VALUES (gen_random_uuid(), 'trade_executor', 'orders.events', 'log:orders.events', message),
               (gen_random_uuid(), 'trade_executor', 'trades.executed', 'log:trades.executed',
                message);
    END LOOP;
END $$
"""


def run() -> list[Measurement]:
    """Return executions a second, single and batched."""
    directory = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    directory.chmod(0o755)
    with running_postgres(directory) as postgres:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            # The test server does not sync; what is called durable here must.
            connection.execute("ALTER SYSTEM SET fsync = on")
            connection.execute("SELECT pg_reload_conf()")
            urls = []
            for name in ("bench_ours", "bench_bare"):
                connection.execute(f"CREATE DATABASE {name}")
                urls.append(postgres.url.rsplit("/", 1)[0] + f"/{name}")
        for url in urls:
            migrate(url)
        return uvloop.run(_measure(*urls))


async def _measure(ours_url: str, bare_url: str) -> list[Measurement]:
    ours, bare = await Ours.prepare(ours_url), await Bare.prepare(bare_url)
    spent = dict.fromkeys(("ours single", "bare single", "ours batched", "bare batched"), 0.0)
    works = {
        "ours single": (ours.single, SINGLE),
        "bare single": (bare.single, SINGLE),
        "ours batched": (ours.batched, BATCHED),
        "bare batched": (bare.batched, BATCHED),
    }
    await ours.single(0, 100)
    await bare.single(0, 100)
    # In turns, so that a busy neighbour disturbs both alike.
    for turn in range(TURNS):
        for name, (work, total) in works.items():
            size = total // TURNS
            started = time.perf_counter()
            await work(100 + turn * size, size)
            spent[name] += time.perf_counter() - started
    assert await ours.store.imbalances() == {}
    await ours.close()
    await bare.close()
    return [
        Measurement(
            name,
            total / spent[f"ours {kind}"],
            "executions/s",
            total / spent[f"bare {kind}"],
            "bare server-side call",
            target_ratio=TARGET_RATIO,
        )
        for name, kind, total in (
            ("booked one by one", "single", SINGLE),
            (f"booked, {WAITING} under way, {AT_ONCE} a commit", "batched", BATCHED),
        )
    ]


def _store(url: str) -> tuple[Runtime, ExecutorStore]:
    settings = ExecutorSettings.model_validate({"database_url": url})
    runtime = Runtime.of("trade_executor", settings)
    return runtime, ExecutorStore(runtime, batch_max=AT_ONCE, margin=False, shorting=True)


async def _orders(store: ExecutorStore) -> list[Order]:
    """Open the account and one large order a symbol."""
    now = dt.datetime.now(dt.UTC)
    opened = ReconciliationRun(uuid.uuid4(), "opening", now, now, now, {"activities": []})
    await store.open_account(Decimal("100000000000"), [], opened)
    orders = []
    for symbol in SYMBOLS:
        order_id = OrderId(uuid.uuid4())
        spec = OrderSpec(symbol=symbol, side=Side.BUY, quantity=Decimal(1_000_000))
        order = Order(
            id=order_id,
            client_order_id=client_order_id(order_id, 1),
            broker="alpaca",
            account_id=MAIN,
            spec=spec,
            correlation_id=order_id,
            created_at=dt.datetime.now(dt.UTC),
            status=OrderStatus.WORKING,
        )
        held = hold(order_id, MAIN, Symbol(symbol), Side.BUY, Decimal(200_000_000))
        created = Recorded("created", None, OrderStatus.WORKING)
        orders.append((await store.create(order, [created], held)).order)
    return orders


def _execution(order: Order, number: int) -> Execution:
    return Execution(
        broker="alpaca",
        execution_id=ExecutionId(str(uuid.uuid4())),
        broker_order_id=BrokerOrderId("b"),
        symbol=order.symbol,
        side=Side.BUY,
        quantity=Decimal(1 + number % 7),
        price=Decimal("100.01"),
        fee=Decimal("0.01"),
        executed_at=dt.datetime.now(dt.UTC),
    )


@dataclass
class Ours:
    """The executor's store."""

    runtime: Runtime
    store: ExecutorStore
    orders: list[Order]

    @classmethod
    async def prepare(cls, url: str) -> Ours:
        """Open the books at `url`."""
        runtime, store = _store(url)
        return cls(runtime, store, await _orders(store))

    async def _book(self, number: int) -> None:
        order = self.orders[number % len(self.orders)]
        written = await self.store.book(order, _execution(order, number), source="bench")
        assert written.outcome == "booked"

    async def single(self, first: int, count: int) -> None:
        """Book one after the other."""
        for number in range(first, first + count):
            await self._book(number)

    async def batched(self, first: int, count: int) -> None:
        """Book with many under way."""

        async def series(start: int) -> None:
            for number in range(start, first + count, WAITING):
                await self._book(number)

        await asyncio.gather(*(series(first + offset) for offset in range(WAITING)))

    async def close(self) -> None:
        """Disconnect."""
        await self.runtime.close()


@dataclass
class Bare:
    """The floor: the same rows by one call that decides nothing."""

    connection: psycopg.AsyncConnection[tuple[object, ...]]
    orders: list[Order]
    accounts: list[object]

    @classmethod
    async def prepare(cls, url: str) -> Bare:
        """Open the same books, then take the rules off."""
        ours = await Ours.prepare(url)
        await ours.close()
        connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
        await connection.execute("ALTER TABLE ledger_transfers DISABLE TRIGGER USER")
        await connection.execute(
            "ALTER TABLE ledger_accounts DROP CONSTRAINT ck_ledger_accounts_no_overdraft"
        )
        await connection.execute(BARE)
        rows = await (await connection.execute("SELECT id FROM ledger_accounts LIMIT 5")).fetchall()
        return cls(connection, ours.orders, [row[0] for row in rows])

    async def _call(self, first: int, size: int) -> None:
        chosen = [self.orders[(first + at) % len(self.orders)] for at in range(size)]
        await self.connection.execute(
            "SELECT bench_bare(%s, %s, %s)",
            ([order.id for order in chosen], [str(o.symbol) for o in chosen], self.accounts),
        )

    async def single(self, first: int, count: int) -> None:
        """Write one execution a call."""
        for number in range(first, first + count):
            await self._call(number, 1)

    async def batched(self, first: int, count: int) -> None:
        """Write many a call."""
        for start in range(first, first + count, AT_ONCE):
            await self._call(start, AT_ONCE)

    async def close(self) -> None:
        """Disconnect."""
        await self.connection.close()
