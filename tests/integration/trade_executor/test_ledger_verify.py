"""`tradewind ledger verify` on sound books, and on copies of them spoilt in every way."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal

import psycopg
import pytest
from typer.testing import CliRunner

from cli.main import app
from infra.ledger_verify import CHECKS, verify
from libs.common.domain.vocabulary import Side
from services.trade_executor.store import ExecutorStore
from tests.support.books_of_store import TaughtStore
from tests.support.ledger_sessions import Session
from tests.support.runtimes import runtime_for

D = Decimal


@pytest.fixture
async def books(database_url: str, redis_url: str) -> AsyncIterator[str]:
    """Books with a bit of everything in them."""
    runtime = runtime_for("trade_executor", database_url, redis_url)
    session = Session(TaughtStore(ExecutorStore(runtime, batch_max=64, margin=True, shorting=True)))
    rng = random.Random(7)
    for done in (
        session.deposit(D(100_000)),
        session.place("AAPL", Side.BUY, D(100), D(5000)),
        session.fill(0, D(40), D("10.1234"), D("0.5")),
        session.fill(0, D(20), D("11"), D("0")),
        session.take_back(0, None),
        session.take_back(1, (D(21), D("10.5"), D("0.1"))),
        session.place("AAPL", Side.SELL, D(50), D(50)),
        session.fill(0, D(30), D("12.5"), D("0.02")),
        session.move("SPLIT", "AAPL", D(-3), D(0), 0),
        session.cash("DIV", "AAPL", D("3.25")),
        session.cash("FEE", "", D("-0.01")),
        session.place("KO", Side.BUY, D(rng.randrange(1, 9)), D(100)),
        session.end(2),
    ):
        assert done is not None
        await done
    yield database_url
    await runtime.close()


def wrong(url: str) -> list[str]:
    return [result.name for result in verify(url) if result.broken]


def test_sound_books_pass_and_every_check_looks_at_rows(books: str) -> None:
    results = list(verify(books))
    assert [(one.name, one.offending) for one in results if one.broken] == []
    unseen = {one.name for one in results if not one.rows}
    assert unseen == {"no account is below what its flag allows"}
    answer = CliRunner().invoke(app, ["ledger", "verify", "--url", books])
    assert answer.exit_code == 0, answer.output
    assert answer.output.count(" ok  ") == len(CHECKS)


ONE = "(SELECT id FROM ledger_transfers WHERE kind = '{}' ORDER BY seq LIMIT 1)"
SPOILT = {
    "each ledger's debits equal its credits": (
        "UPDATE ledger_accounts SET credits_posted = credits_posted + 1 WHERE code = 'cash'"
    ),
    "an account's sums are those of its transfers": (
        f"UPDATE ledger_transfers SET amount = amount + 1 WHERE id = {ONE.format('direct')}"
    ),
    "no account is below what its flag allows": (
        "ALTER TABLE ledger_accounts DROP CONSTRAINT ck_ledger_accounts_no_overdraft;"
        "UPDATE ledger_accounts SET no_overdraft = true WHERE code = 'market'"
    ),
    "a transfer stays in its ledger and moves an amount": (
        f"UPDATE ledger_transfers SET ledger = 'KO' WHERE id = {ONE.format('direct')}"
    ),
    "a hold is resolved once, by no more than it held, on its own accounts": (
        f"UPDATE ledger_transfers SET amount = 99999 WHERE id = {ONE.format('post')}"
    ),
    "an open hold belongs to an open order, which names it": (
        "UPDATE orders SET status = 'canceled' WHERE hold_id IS NOT NULL"
    ),
    "positions are the balances of their instruments": (
        "UPDATE portfolio_positions SET quantity = quantity + 1 WHERE symbol = 'AAPL'"
    ),
    "positions and their profit are what replaying their entries gives": (
        "UPDATE portfolio_positions SET avg_cost = avg_cost + 0.00000001 WHERE symbol = 'AAPL'"
    ),
    "what entries realised sums to the position's profit": (
        "UPDATE trades SET realized_pnl = realized_pnl + 0.0001"
    ),
    "an execution's lines are its quantity, its money and its fee; reversed, nothing": (
        "DELETE FROM trade_reversals WHERE kind = 'bust'"
    ),
    "an order's filled quantity and value are those of its executions that stand": (
        "UPDATE orders SET filled_quantity = filled_quantity + 1 WHERE side = 'buy'"
    ),
    "no transfer names an order or an execution that is not there": (
        "UPDATE ledger_transfers SET trade_id = gen_random_uuid() WHERE trade_id IS NOT NULL"
    ),
    "an activity's money and shares are in the ledger": (
        "UPDATE account_activities SET amount = amount + 0.0001 WHERE kind = 'DIV'"
    ),
}


def test_every_check_has_books_that_break_it() -> None:
    assert set(SPOILT) == {check.name for check in CHECKS}


async def test_each_way_of_spoiling_is_found(books: str) -> None:
    for name, damage in SPOILT.items():
        copy = f"spoilt_{uuid.uuid4().hex[:12]}"
        server, _, original = books.rpartition("/")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (original,),
            )
            connection.execute(f"CREATE DATABASE {copy} TEMPLATE {original}")  # type: ignore[arg-type]
        with psycopg.connect(f"{server}/{copy}") as connection:
            for table in ("ledger_transfers", "trades", "order_events"):
                connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
            connection.execute("SET session_replication_role = replica")
            connection.execute(damage)  # type: ignore[arg-type]
        assert name in wrong(f"{server}/{copy}"), name
        answer = CliRunner().invoke(app, ["ledger", "verify", "--url", f"{server}/{copy}"])
        assert answer.exit_code == 1
        assert "WRONG" in answer.output
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {copy}")  # type: ignore[arg-type]


def test_a_database_that_is_away_is_said() -> None:
    answer = CliRunner().invoke(app, ["ledger", "verify", "--url", "postgresql://127.0.0.1:1/x"])
    assert answer.exit_code != 0
    assert "the books cannot be read" in answer.output
