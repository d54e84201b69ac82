"""Nobody edits the records: not the service, not the owner, not a superuser; and the sums of
ledger accounts are nobody's to write."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal

import psycopg
import pytest

from infra.migrate import SERVICES, provision_roles
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Reversal
from libs.common.domain.ledger import cash_account
from libs.common.kernel.ids import AccountId, BrokerOrderId, ExecutionId, Symbol
from services.trade_executor.model import order_of
from services.trade_executor.ports import Recorded
from services.trade_executor.store import ExecutorStore
from tests.support.executor_orders import NOON, approval, execution, spec
from tests.support.runtimes import runtime_for

RECORDS = (
    "ledger_transfers", "trades", "order_events", "trade_reversals", "account_activities",
    "position_changes",
)  # fmt: skip
STATEMENTS = ("DELETE FROM {}", "UPDATE {} SET {} = {}", "TRUNCATE {} CASCADE")
SUMS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


@pytest.fixture
async def url(database_url: str, redis_url: str) -> AsyncIterator[str]:
    """A database with a row in every table of records; each role may log in."""
    with psycopg.connect(database_url) as connection:
        provision_roles(connection, dict.fromkeys(SERVICES, "test-only"))
    role = f"postgresql://trade_executor:test-only@{database_url.rpartition('@')[2]}"
    runtime = runtime_for("trade_executor", role, redis_url)
    store = ExecutorStore(runtime, batch_max=64, margin=True, shorting=True)
    approved = approval(spec("buy", "10"))
    order = order_of(approved, broker="alpaca", correlation_id=uuid.uuid4(), now=NOON)
    created = Recorded("created", None, order.status)
    order = (await store.create(order, [created], None)).order
    order = (await store.book(order, execution("e1"), source="stream")).order
    bust = Reversal("alpaca", ExecutionId("e1"), BrokerOrderId("b"), Symbol("AAPL"), NOON)
    assert (await store.reverse(order, bust)).outcome == "reversed"
    later = NOON + dt.timedelta(days=1)
    split = Activity("a1", "SPLIT", Decimal(0), later, "AAPL", Decimal(5))
    assert await store.book_activities([split]) == 1
    yield database_url
    await runtime.close()


def attempt(url: str, statement: str, *values: object) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement, values)  # type: ignore[arg-type]


def as_role(url: str, role: str) -> str:
    return f"postgresql://{role}:test-only@{url.rpartition('@')[2]}"


async def test_records_are_refused_to_every_role(url: str) -> None:
    for table in RECORDS:
        with psycopg.connect(url) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[arg-type]
            assert row != (0,), table
        column = "event" if table == "order_events" else "broker"
        column = {"ledger_transfers": "code", "position_changes": "kind"}.get(table, column)
        for template in STATEMENTS:
            statement = template.format(table, column, column)
            with pytest.raises(psycopg.errors.RestrictViolation):
                attempt(url, statement)
            for role in SERVICES:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    attempt(as_role(url, role), statement)


async def test_no_service_writes_the_sums_of_an_account(url: str) -> None:
    for role in SERVICES:
        for column in SUMS:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                attempt(as_role(url, role), f"UPDATE ledger_accounts SET {column} = {column} + 1")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                attempt(
                    as_role(url, role),
                    f"INSERT INTO ledger_accounts (id, owner, ledger, code, {column})"
                    " VALUES (gen_random_uuid(), 'me', 'USD', 'cash', 1)",
                )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            attempt(as_role(url, role), "DELETE FROM ledger_accounts")


async def test_the_executor_may_lift_a_flag_and_others_may_not(url: str) -> None:
    lift = "UPDATE ledger_accounts SET no_overdraft = false WHERE id = %s"
    cash = cash_account(AccountId("main")).id
    attempt(as_role(url, "trade_executor"), lift, cash)
    for role in set(SERVICES) - {"trade_executor"}:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            attempt(as_role(url, role), lift, cash)
