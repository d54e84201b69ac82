"""The booking function on a real PostgreSQL, against the domain functions and the constraints."""

from __future__ import annotations

import asyncio
import random
import sys
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from infra.migrate import provision_roles
from libs.common.contracts import messages
from libs.common.contracts.envelope import Reader
from libs.common.domain.booking import Booked, fill_group, hold, release
from libs.common.domain.executions import Progress, take
from libs.common.domain.ledger import (
    Ledger,
    OverdraftError,
    Transfer,
    TransferCode,
    TransferKind,
    capital_account,
    cash_account,
    position_account,
)
from libs.common.domain.orders import OrderEvent, apply
from libs.common.domain.positions import Position, apply_fill
from libs.common.domain.vocabulary import OrderStatus, Side
from libs.common.kernel.ids import AccountId, Symbol, TransferId
from services.trade_executor.entries import trade_id
from services.trade_executor.model import BrokerPosition, Order, order_of
from services.trade_executor.ports import Move, Recorded
from services.trade_executor.store import ExecutorStore
from tests.support.executor_orders import NOON, approval, execution, opening_run, spec
from tests.support.runtimes import runtime_for

D, S, E = Decimal, OrderStatus, OrderEvent
MAIN = AccountId("main")
CREATED = Recorded("created", None, S.CREATED)


@pytest.fixture
async def books(database_url: str, redis_url: str) -> AsyncIterator[ExecutorStore]:
    """The store as the service opens it: with its own role's rights and no more."""
    with psycopg.connect(database_url) as connection:
        provision_roles(connection, {"trade_executor": "test-only"})
    address = database_url.rpartition("@")[2]
    role_url = f"postgresql://trade_executor:test-only@{address}"
    runtime = runtime_for("trade_executor", role_url, redis_url)
    store = ExecutorStore(runtime, batch_max=64, margin=False, shorting=True)
    await store.open_account(D("100000"), [], opening_run())
    yield store
    await runtime.close()


async def new_order(
    books: ExecutorStore, side: str = "buy", quantity: str | None = "100", held: str | None = "1000"
) -> Order:
    order = order_of(
        approval(spec(side, quantity)), broker="alpaca", correlation_id=uuid.uuid4(), now=NOON
    )
    pending = held and hold(order.id, MAIN, Symbol("AAPL"), Side(side), D(held))
    return (await books.create(order, [CREATED], pending or None)).order


def fetch(url: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query, values).fetchall()  # type: ignore[arg-type]


def balances(url: str) -> dict[tuple[str, str, str], tuple[Decimal, ...]]:
    rows = fetch(
        url,
        "SELECT owner, ledger, code, debits_pending, debits_posted, credits_pending,"
        " credits_posted FROM ledger_accounts",
    )
    return {(row[0], row[1], row[2]): row[3:] for row in rows if any(row[3:])}


async def test_one_execution_is_one_transaction_of_everything(
    books: ExecutorStore, database_url: str
) -> None:
    order = await new_order(books)
    written = await books.book(
        order, execution("e1", quantity="40", price="10.10", fee="1"), source="stream"
    )
    assert written.outcome == "booked"
    assert written.order.status is S.PARTIALLY_FILLED
    assert written.order.hold_amount == D("596")
    assert fetch(database_url, "SELECT quantity, avg_cost FROM portfolio_positions") == [
        (D("40.00000000"), D("10.10000000"))
    ]
    assert await books.cash() == D("100000") - D("404") - 1
    kinds = fetch(
        database_url, "SELECT kind, code, amount FROM ledger_transfers ORDER BY seq OFFSET 1"
    )
    assert kinds == [
        ("pending", "hold", D("1000")),
        ("post", "cash", D("404")),
        ("direct", "instrument", D("40")),
        ("direct", "fee", D("1")),
        ("pending", "hold", D("596")),
    ]
    sent = fetch(
        database_url,
        "SELECT stream, message FROM outbox WHERE stream <> 'log:notifications' ORDER BY seq",
    )
    assert [stream for stream, _ in sent] == [
        "log:orders.events", "log:orders.events", "log:trades.executed",
    ]  # fmt: skip
    event = Reader(messages.OrderEvent).read(sent[1][1]).payload
    assert (event.seq, event.to_status, event.filled_quantity) == (2, S.PARTIALLY_FILLED, 40)
    envelope = Reader(messages.Trade).read(sent[2][1])
    trade = envelope.payload
    assert envelope.correlation_id == order.correlation_id
    assert (trade.price, trade.fees, trade.position_quantity) == (D("10.1"), 1, 40)
    assert trade.executed_at == NOON


async def test_the_second_arrival_changes_nothing(books: ExecutorStore, database_url: str) -> None:
    order = await new_order(books)
    one = execution("e1", quantity="40", price="10.10")
    await books.book(order, one, source="stream")
    before = balances(database_url)
    again = await books.book(order, one, source="activities")
    assert again.outcome == "duplicate"
    assert balances(database_url) == before
    assert fetch(database_url, "SELECT count(*) FROM trades, order_events") == [(2,)]


async def test_a_batch_of_the_same_execution_books_it_once(
    books: ExecutorStore, database_url: str
) -> None:
    order = await new_order(books)
    one = execution("e1", quantity="40", price="10.10")
    written = await asyncio.gather(*(books.book(order, one, source="stream") for _ in range(8)))
    assert sorted(w.outcome for w in written) == ["booked"] + ["duplicate"] * 7


async def test_the_end_of_an_order_voids_its_hold(books: ExecutorStore, database_url: str) -> None:
    order = await new_order(books)
    written = await books.move(order, Move(E.CANCELED, S.CANCELED))
    assert (written.outcome, written.order.hold_id) == ("moved", None)
    main = balances(database_url)[("main", "USD", "cash")]
    assert main == (D(0), D(0), D(0), D("100000"))


async def test_a_move_from_where_the_order_no_longer_stands_is_told(books: ExecutorStore) -> None:
    order = await new_order(books)
    await books.move(order, Move(E.SEND, S.SUBMITTING))
    stale = await books.move(order, Move(E.DENY, S.DENIED))
    assert (stale.outcome, stale.order.status) == ("conflict", S.SUBMITTING)


async def test_the_same_order_twice_meets_the_same_row(books: ExecutorStore) -> None:
    approved = approval(spec())
    order = order_of(approved, broker="alpaca", correlation_id=uuid.uuid4(), now=NOON)
    first = await books.create(order, [CREATED], None)
    second = await books.create(order, [CREATED], None)
    assert (first.outcome, second.outcome) == ("created", "exists")


async def test_a_hold_without_cover_is_refused_and_its_neighbours_are_not(
    books: ExecutorStore,
) -> None:
    results = await asyncio.gather(
        new_order(books, held="60000"),
        new_order(books, held="60000"),
        new_order(books, held="30000"),
        return_exceptions=True,
    )
    assert [isinstance(result, OverdraftError) for result in results] == [False, True, False]


async def test_an_execution_beyond_the_cash_is_booked_and_lifts_the_flag(
    books: ExecutorStore, database_url: str
) -> None:
    order = await new_order(books, quantity="20000", held="100000")
    written = await books.book(
        order, execution("e1", quantity="20000", price="5.01"), source="stream"
    )
    assert written.outcome == "booked"
    assert written.lifted == ("main USD",)
    assert await books.cash() == D("-200")


async def test_status_after_an_execution_is_the_state_tables(
    books: ExecutorStore, database_url: str
) -> None:
    for status in S:
        for quantity in ("10", "100", "150", None):
            order = await new_order(books, held=None)
            with psycopg.connect(database_url) as connection:
                connection.execute(
                    "UPDATE orders SET status = %s, quantity = %s WHERE id = %s",
                    (status, quantity, order.id),
                )
            one = execution(f"{status}-{quantity}", quantity="100", price="0.01")
            before = Progress(status, D(quantity) if quantity else None)
            expected, anomaly = take(before, one)
            written = await books.book(order, one, source="stream")
            assert (written.order.status, written.anomaly) == (expected.status, anomaly), before


async def test_a_random_session_equals_the_domain(books: ExecutorStore, database_url: str) -> None:
    """Ten orders of both sides, random parts in random sizes, some ended early, some late."""
    seed = random.randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    rng = random.Random(seed)
    model, position = Ledger(), Position()
    cash = cash_account(MAIN)
    model.open_account(cash, no_overdraft=True)
    opening = Transfer(
        TransferId(uuid.uuid4()), capital_account(MAIN), cash, D(100000), TransferCode.OPENING
    )
    model.commit([opening])
    for number in range(10):
        side = rng.choice(list(Side))
        held_amount = D(rng.randrange(1, 20_000_000)) / 10_000
        order = await new_order(books, side, str(rng.randrange(1, 200)), str(held_amount))
        open_hold: Transfer | None = hold(order.id, MAIN, Symbol("AAPL"), side, held_amount)
        assert open_hold is not None
        model.commit([open_hold])
        progress = Progress(order.status, order.spec.quantity)
        for part in range(rng.randrange(5)):
            one = execution(
                f"{number}-{part}",
                side,
                str(D(rng.randrange(1, 10**10)) / 10**8),
                str(D(rng.randrange(1, 10**6)) / 10**4),
                fee=rng.choice(["0", "0.0123", "2.5"]),
            )
            written = await books.book(order, one, source="stream")
            progress, _ = take(progress, one)
            position, _ = apply_fill(position, side, one.quantity, one.price)
            booked = Booked(
                trade_id(one), order.id, MAIN, one.symbol, side, one.quantity, one.amount, one.fee
            )
            lines = fill_group(booked, open_hold, order_open=not progress.status.is_terminal)
            model.commit(lines, happened=True)
            fresh = [line for line in lines if line.kind is TransferKind.PENDING]
            kept = any(line.pending_id for line in lines)
            open_hold = fresh[0] if fresh else None if kept else open_hold
            assert written.order.hold_amount == (open_hold and open_hold.amount)
            assert (written.order.status, written.order.filled_quantity) == (
                progress.status, progress.filled_quantity,
            )  # fmt: skip
            order = written.order
        if not order.status.is_terminal and rng.random() < 0.6:
            order = (await books.move(order, Move(E.CANCELED, S.CANCELED))).order
            if open_hold:
                model.commit([release(open_hold)])
    rows = fetch(database_url, "SELECT quantity, avg_cost, realized_pnl FROM portfolio_positions")
    assert rows == [(position.quantity, position.avg_cost, position.realized_pnl)]
    ours = {
        key: (b.debits_pending, b.debits_posted, b.credits_pending, b.credits_posted)
        for key, b in model.balances.items()
    }
    assert balances(database_url) == {key: value for key, value in ours.items() if any(value)}
    assert await books.imbalances() == {}
    shares = model.balance(position_account(MAIN, "AAPL")).posted
    assert shares == rows[0][0]


@pytest.mark.parametrize("quantity", ["1", "3", "7"])
async def test_average_cost_rounds_as_the_domain(
    books: ExecutorStore, database_url: str, quantity: str
) -> None:
    rng, position = random.Random(int(quantity)), Position()
    order = await new_order(books, quantity="100000", held=None)
    for number in range(40):
        price = D(rng.randrange(1, 10**7)) / 10**5
        side = rng.choice(list(Side))
        await books.book(
            order, execution(f"e{number}", side, quantity, str(price)), source="stream"
        )
        position, _ = apply_fill(position, side, D(quantity), price)
    rows = fetch(database_url, "SELECT quantity, avg_cost, realized_pnl FROM portfolio_positions")
    assert rows == [(position.quantity, position.avg_cost, position.realized_pnl)]


async def test_records_are_never_edited(books: ExecutorStore, database_url: str) -> None:
    order = await new_order(books)
    await books.book(order, execution("e1"), source="stream")
    for table in ("ledger_transfers", "trades", "order_events"):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET order_id = order_id"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                fetch(database_url, statement)


async def test_the_ledger_refuses_what_would_unbalance_it(
    books: ExecutorStore, database_url: str
) -> None:
    order = await new_order(books)
    insert = (
        "INSERT INTO ledger_transfers (id, debit_account, credit_account, ledger, amount, kind,"
        " pending_id, code, correlation_id) VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, %s,"
        " 'cash', gen_random_uuid())"
    )
    cash, market = (
        cash_account(MAIN).id,
        fetch(
            database_url, "SELECT id FROM ledger_accounts WHERE owner = 'market' AND ledger = 'USD'"
        )[0][0],
    )
    shares = position_account(MAIN, "AAPL").id
    integrity, check = psycopg.errors.IntegrityConstraintViolation, psycopg.errors.CheckViolation
    hold_id = order.hold_id
    cases: list[tuple[tuple[object, ...], type[psycopg.Error]]] = [
        ((cash, market, "USD", "200000", "direct", None), check),
        ((cash, market, "USD", "0", "direct", None), check),
        ((cash, cash, "USD", "1", "direct", None), check),
        ((cash, market, "USD", "1", "post", None), check),
        ((cash, market, "AAPL", "1", "direct", None), integrity),
        ((cash, shares, "USD", "1", "direct", None), integrity),
        ((cash, market, "USD", "1000.01", "post", hold_id), integrity),
    ]
    for values, refusal in cases:
        with pytest.raises(refusal):
            fetch(database_url, insert, *values)
    fetch_ok = (cash, market, "USD", "1000", "void", order.hold_id)
    with psycopg.connect(database_url) as connection:
        connection.execute(insert, fetch_ok)
    with pytest.raises(psycopg.errors.UniqueViolation):
        fetch(database_url, insert, *fetch_ok)
    assert await books.imbalances() == {}


async def test_an_account_opens_with_what_the_broker_shows(
    database_url: str, redis_url: str
) -> None:
    runtime = runtime_for("trade_executor", database_url, redis_url)
    store = ExecutorStore(runtime, batch_max=64, margin=False, shorting=True)
    assert await store.cash() is None
    held = [BrokerPosition(Symbol("AAPL"), D(10), D(5)), BrokerPosition(Symbol("KO"), D(-3), D(50))]
    assert await store.opening() is None
    await store.open_account(D("1000.5"), held, opening_run())
    opened = await store.opening()
    assert opened is not None
    assert opened.at == NOON
    assert await store.cash() == D("1000.5")
    assert await store.positions() == {"AAPL": 10, "KO": -3}
    assert await store.imbalances() == {}
    await runtime.close()


def test_moves_of_the_state_table_fit_a_row() -> None:
    """Guard for the parametrised test above: the table's two sums are what SQL implements."""
    for status in S:
        for event in (E.PARTLY_FILLED, E.FILLED):
            assert apply(status, event).status in {status, S.PARTIALLY_FILLED, S.FILLED}
