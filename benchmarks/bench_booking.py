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
from decimal import Decimal
from pathlib import Path

import psycopg

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
from services.trade_executor.ports import Recorded
from services.trade_executor.settings import ExecutorSettings
from services.trade_executor.store import ExecutorStore
from tests.support.servers import running_postgres

SINGLE, BATCHED = 1_500, 6_000
AT_ONCE, WAITING = 50, 100  # share a commit; are under way
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
            executed_price, commission, fees, executed_at, realized_pnl, correlation_id)
        VALUES (t, ids[i], 'main', 'bare', t::text, symbols[i], 'buy', 1, 100, 0, 0.01, now(), 0,
            t);
        INSERT INTO portfolio_positions VALUES ('main', symbols[i], 1, 100, 0, now())
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
        return asyncio.run(_measure(*urls))


async def _measure(ours_url: str, bare_url: str) -> list[Measurement]:
    ours, bare = await _ours(ours_url), await _bare(bare_url)
    return [
        Measurement(
            name, value, "executions/s", floor, "bare server-side call", target_ratio=TARGET_RATIO
        )
        for name, value, floor in zip(
            ("booked one by one", f"booked, {WAITING} under way, {AT_ONCE} a commit"),
            ours,
            bare,
            strict=True,
        )
    ]


def _store(url: str) -> tuple[Runtime, ExecutorStore]:
    settings = ExecutorSettings.model_validate({"database_url": url})
    runtime = Runtime.of("trade_executor", settings)
    return runtime, ExecutorStore(runtime, batch_max=AT_ONCE, margin=False, shorting=True)


async def _orders(store: ExecutorStore) -> list[Order]:
    """Open the account and one large order a symbol."""
    await store.open_account(Decimal("100000000000"), [])
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


async def _ours(url: str) -> tuple[float, float]:
    runtime, store = _store(url)
    orders = await _orders(store)

    async def book(number: int) -> None:
        order = orders[number % len(orders)]
        written = await store.book(order, _execution(order, number), source="bench")
        assert written.outcome == "booked"

    async def series(first: int) -> None:
        for number in range(first, BATCHED, WAITING):
            await book(number)

    for number in range(200):
        await book(number)
    started = time.perf_counter()
    for number in range(SINGLE):
        await book(number)
    single = SINGLE / (time.perf_counter() - started)
    started = time.perf_counter()
    await asyncio.gather(*(series(first) for first in range(WAITING)))
    batched = BATCHED / (time.perf_counter() - started)
    assert await store.imbalances() == {}
    await runtime.close()
    return single, batched


async def _bare(url: str) -> tuple[float, float]:
    runtime, store = _store(url)
    orders = await _orders(store)
    await runtime.close()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("ALTER TABLE ledger_transfers DISABLE TRIGGER USER")
        await connection.execute("ALTER TABLE ledger_accounts DROP CONSTRAINT "
                                 "ck_ledger_accounts_no_overdraft")  # fmt: skip
        await connection.execute(BARE)
        rows = await (await connection.execute("SELECT id FROM ledger_accounts LIMIT 5")).fetchall()
        accounts = [row[0] for row in rows]

        async def call(size: int, number: int) -> None:
            chosen = [orders[(number + at) % len(orders)] for at in range(size)]
            await connection.execute(
                "SELECT bench_bare(%s, %s, %s)",
                ([order.id for order in chosen], [str(o.symbol) for o in chosen], accounts),
            )

        for number in range(200):
            await call(1, number)
        started = time.perf_counter()
        for number in range(SINGLE):
            await call(1, number)
        single = SINGLE / (time.perf_counter() - started)
        started = time.perf_counter()
        for first in range(0, BATCHED, AT_ONCE):
            await call(AT_ONCE, first)
        return single, BATCHED / (time.perf_counter() - started)
