"""Transactions of one statement: what they write, what becomes of their connections."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.database import Database

INSERT = text(
    "INSERT INTO trading_state (account_id, state, generation, reason, set_by) "
    "VALUES (:account, 'active', 0, :reason, 'test')"
)
COUNT = text("SELECT count(*) AS n FROM trading_state")
BACKEND = text("SELECT pg_backend_pid()")
SLEEP = text("SELECT pg_sleep(:s)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=2, timeout_s=5, name="test")
    yield database
    await database.close()


async def backend(database: Database) -> int:
    async with database.single() as session:
        return int((await session.execute(BACKEND)).scalar_one())


async def count(database: Database) -> int:
    async with database.single() as session:
        return int((await session.execute(COUNT)).scalar_one())


async def test_values_come_back_as_what_they_are(database: Database) -> None:
    one = uuid.uuid4()
    query = text(
        "SELECT CAST(:id AS uuid) AS id, CAST(:n AS numeric) AS n, CAST(:b AS bytea) AS b, "
        "CAST(:j AS jsonb) AS j, CAST(:ids AS uuid[]) AS ids, CAST(:none AS text) AS none"
    )
    asked = {"id": one, "n": Decimal("1.10"), "b": b"\0x", "j": '{"a": 1}', "ids": [one, one]}
    async with database.single() as session:
        row = await session.row(query, {**asked, "none": None})
    assert row == {**asked, "j": {"a": 1}, "none": None}


async def test_a_statement_is_its_own_transaction(database: Database) -> None:
    told: list[str] = []
    async with database.single() as session:
        said = await session.execute(INSERT, {"account": "one", "reason": "x" * 3_000_000})
        assert said.rowcount == 1
        session.after_commit(lambda: told.append("committed"))
        assert await count(database) == 1
        assert told == []
    assert told == ["committed"]


async def test_what_the_tables_refuse_keeps_its_connection(database: Database) -> None:
    first = await backend(database)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="null value"):
            async with database.single() as session:
                await session.execute(INSERT, {"account": None, "reason": ""})
    assert await backend(database) == first
    with pytest.raises(DBAPIError, match="division by zero"):
        async with database.single() as session:
            await session.execute(text("SELECT 1 / 0"))
    assert await backend(database) != first


async def test_the_last_connection_is_used_again_and_no_more_are_opened_than_allowed(
    database: Database,
) -> None:
    assert await backend(database) == await backend(database)
    backends = await asyncio.gather(*(backend(database) for _ in range(20)))
    assert len(set(backends)) <= 2


async def test_a_statement_without_room_is_unavailable(database_url: str) -> None:
    database = Database(database_url, pool_size=1, timeout_s=0.3, name="test")
    async with database.single():
        with pytest.raises(UnavailableError, match="all connections are busy"):
            await count(database)
    await database.close()


async def test_a_statement_whose_asker_is_gone_takes_its_connection_with_it(
    database: Database,
) -> None:
    first = await backend(database)

    async def sleep() -> None:
        async with database.single() as session:
            await session.execute(SLEEP, {"s": 30})

    task = asyncio.create_task(sleep())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await backend(database) != first


async def test_a_connection_that_the_server_ends_is_unavailable_once_and_then_replaced(
    database: Database, database_url: str
) -> None:
    asleep = await backend(database)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", (asleep,))
        for _ in range(200):
            await asyncio.sleep(0.01)
            if not admin.execute(
                "SELECT 1 FROM pg_stat_activity WHERE pid = %s", (asleep,)
            ).fetchone():
                break
        await asyncio.sleep(0.05)
        # It was idle: nobody notices.
        awake = await backend(database)
        assert awake != asleep

        async def sleep() -> None:
            async with database.single() as session:
                await session.execute(SLEEP, {"s": 30})

        task = asyncio.create_task(sleep())
        await asyncio.sleep(0.3)
        admin.execute("SELECT pg_terminate_backend(%s)", (awake,))
        with pytest.raises(UnavailableError, match="terminating connection"):
            await task
    assert await count(database) == 0
