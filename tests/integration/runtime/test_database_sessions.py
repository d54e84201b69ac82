"""What a read session may not do, and what it sees."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.database import Database
from tests.support.servers import ServerProcess

INSERT = text(
    "INSERT INTO trading_state (account_id, state, generation, reason, set_by) "
    "VALUES (:account, 'active', 0, '', 'test')"
)
COUNT = text("SELECT count(*) AS n FROM trading_state")


async def test_a_read_session_cannot_write(database_url: str) -> None:
    database = Database(database_url, pool_size=1, timeout_s=5, name="test")
    with pytest.raises(DBAPIError, match="read-only"):
        async with database.read() as session:
            await session.execute(INSERT, {"account": "main"})
    async with database.write() as tx:
        await tx.execute(INSERT, {"account": "main"})
    await database.close()


async def test_a_read_session_sees_one_moment(database_url: str) -> None:
    database = Database(database_url, pool_size=2, timeout_s=5, name="test")
    async with database.read() as session:
        before = await session.row(COUNT)
        async with database.write() as tx:
            await tx.execute(INSERT, {"account": "main"})
        assert await session.row(COUNT) == before
    await database.close()


async def test_an_absent_database_is_unavailable(pg_server: ServerProcess) -> None:
    del pg_server
    database = Database("postgresql://nobody@127.0.0.1:1/none", pool_size=1, timeout_s=1, name="t")
    with pytest.raises(UnavailableError, match="database"):
        await database.ping()
    await database.close()


async def test_the_drivers_own_failure_is_unavailable_too(database_url: str) -> None:
    database = Database(database_url, pool_size=1, timeout_s=0.2, name="test")

    async def through_the_driver() -> None:
        async with database.write() as tx:
            raw = await tx.connection.get_raw_connection()
            assert raw.driver_connection is not None
            await raw.driver_connection.execute("SELECT pg_sleep(10)")

    with pytest.raises(UnavailableError, match="statement timeout"):
        await through_the_driver()
    await database.ping()
    await database.close()


async def test_callbacks_run_after_the_commit_only(database_url: str) -> None:
    database = Database(database_url, pool_size=1, timeout_s=5, name="test")
    told: list[str] = []
    async with database.write() as tx:
        tx.after_commit(lambda: told.append("committed"))
        assert told == []
    assert told == ["committed"]

    async def fail() -> None:
        async with database.write() as tx:
            tx.after_commit(lambda: told.append("never"))
            raise RuntimeError("after all not")

    with pytest.raises(RuntimeError):
        await fail()
    assert told == ["committed"]
    await database.close()


async def test_a_connection_left_read_only_can_be_written_with(database_url: str) -> None:
    database = Database(database_url, pool_size=1, timeout_s=5, name="test")
    connection = await database.own_connection()
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    await raw.set_read_only(True)
    await connection.close()
    async with database.single() as tx:
        await tx.execute(INSERT, {"account": "one"})
    connection = await database.own_connection()
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    await raw.set_read_only(True)
    await connection.close()
    async with database.write() as tx:
        await tx.execute(INSERT, {"account": "two"})
    await database.close()


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (
            "GRANT USAGE ON SCHEMA public TO pg_monitor; ALTER DATABASE {} SET role = pg_monitor",
            "permission denied",
        ),
        ("ALTER TABLE trading_state RENAME TO gone", "does not exist"),
        ("ALTER TABLE trading_state RENAME reason TO why", "does not exist"),
    ],
)
async def test_a_database_that_is_not_ready_for_us_is_waited_for(
    database_url: str, broken: str, why: str
) -> None:
    database = Database(database_url, pool_size=1, timeout_s=5, name="test")

    async def insert(*, alone: bool) -> None:
        async with database.single() if alone else database.write() as tx:
            await tx.execute(INSERT, {"account": "main"})

    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(broken.format(owner.info.dbname))
    for alone in (True, False):
        with pytest.raises(UnavailableError, match=why):
            await insert(alone=alone)
    await database.close()
