"""One process works for an account: taking a desk, standing by, the fence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import psycopg
import pytest
from sqlalchemy import text

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.database import FENCE, Database
from libs.common.runtime.readiness import Readiness
from libs.common.runtime.tenure import Tenure
from tests.support.runtimes import eventually

MARK = text(
    "INSERT INTO discrepancies (id, account_id, symbol, kind, ours, theirs)"
    " VALUES (gen_random_uuid(), 'main', :who, 'test', '', '')"
)
LEASE_S = 1.5


class Clerk:
    """A process as far as its desk goes."""

    def __init__(self, url: str, instance: str, account: str = "main") -> None:
        self.database = Database(url, pool_size=4, timeout_s=2, name="trade_executor")
        self.readiness = Readiness({})
        self.tenure = Tenure(
            self.database,
            self.readiness,
            service="trade_executor",
            account_id=account,
            instance=instance,
            lease_s=LEASE_S,
        )

    async def write(self, who: str) -> None:
        async with self.database.write() as tx:
            await tx.execute(MARK, {"who": who})

    async def close(self) -> None:
        await self.tenure.release()
        await self.database.close()


Hire = Callable[..., Clerk]


@pytest.fixture
async def hire(database_url: str) -> AsyncIterator[Hire]:
    async with AsyncExitStack() as stack:

        def one(instance: str, account: str = "main") -> Clerk:
            clerk = Clerk(database_url, instance, account)
            stack.push_async_callback(clerk.close)
            return clerk

        yield one


def written(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as connection:
        return {row[0] for row in connection.execute("SELECT symbol FROM discrepancies")}


def cut_desks(database_url: str) -> None:
    """End every connection that holds a desk, as a broken network would."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        cut = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks"
            " WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchone()
    assert cut is not None
    assert cut[0] > 0


async def test_the_second_stands_by_and_takes_over(hire: Hire) -> None:
    first, second = hire("a"), hire("b")
    await first.tenure.take()
    waiting = asyncio.create_task(second.tenure.take())
    await eventually(lambda: "desk" in second.readiness.reasons, what="standing by")
    assert "instance a holds this desk since" in second.readiness.reasons["desk"]
    assert first.tenure.epoch == 1
    assert not waiting.done()
    await first.tenure.release()
    await asyncio.wait_for(waiting, 10)
    assert second.tenure.epoch == 2
    assert second.readiness.ready


async def test_accounts_have_their_own_desks(hire: Hire) -> None:
    first, second = hire("a"), hire("b", account="other")
    await first.tenure.take()
    await asyncio.wait_for(second.tenure.take(), 10)
    assert (first.tenure.epoch, second.tenure.epoch) == (1, 1)


async def test_taking_twice_is_taking_once(hire: Hire) -> None:
    clerk = hire("a")
    await clerk.tenure.take()
    await clerk.tenure.take()
    assert clerk.tenure.epoch == 1


async def test_a_former_holder_writes_nothing(hire: Hire, database_url: str) -> None:
    first, second = hire("a"), hire("b")
    await first.tenure.take()
    await first.write("before")
    cut_desks(database_url)
    await second.tenure.take()
    with pytest.raises(UnavailableError, match="no longer held by epoch 1"):
        await first.write("ghost")
    with pytest.raises(UnavailableError, match="no longer held by epoch 1"):
        async with first.database.single() as tx:
            await tx.execute(text(f"SELECT 1 FROM {FENCE}"), first.database.fence)
    await second.write("after")
    assert written(database_url) == {"before", "after"}


async def test_taking_over_waits_for_what_has_passed_the_fence(
    hire: Hire, database_url: str
) -> None:
    first, second = hire("a"), hire("b")
    await first.tenure.take()
    async with first.database.write() as tx:
        await tx.execute(MARK, {"who": "last word"})
        cut_desks(database_url)
        taking = asyncio.create_task(second.tenure.take())
        await asyncio.sleep(1.0)
        assert not taking.done()
    await asyncio.wait_for(taking, 10)
    assert written(database_url) == {"last word"}


async def test_a_lost_connection_is_made_up_for_where_nobody_came(
    hire: Hire, database_url: str
) -> None:
    clerk = hire("a")
    await clerk.tenure.take()
    watching = asyncio.create_task(clerk.tenure.watch())
    cut_desks(database_url)
    await asyncio.sleep(0.5)

    def locked() -> bool:
        with psycopg.connect(database_url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchone()
        return row is not None and row[0] == 1

    await eventually(locked, within_s=60, what="the lock again")
    assert not watching.done()
    await clerk.write("still here")
    other = hire("b")
    waiting = asyncio.create_task(other.tenure.take())
    await eventually(lambda: "desk" in other.readiness.reasons, what="standing by")
    waiting.cancel()
    watching.cancel()
    await asyncio.gather(waiting, watching, return_exceptions=True)
    assert clerk.tenure.epoch == 1


async def test_a_holder_that_stands_still_loses_its_desk(hire: Hire, database_url: str) -> None:
    """Its connection lives, but it signs nothing; it stands in the middle of a transaction, too."""
    frozen, standby = hire("frozen"), hire("standby")
    await frozen.tenure.take()

    async def frozen_in_the_middle() -> None:
        async with frozen.database.write() as under_way:
            await under_way.execute(MARK, {"who": "begun"})
            await asyncio.wait_for(standby.tenure.take(), 30)

    with pytest.raises(UnavailableError):
        await frozen_in_the_middle()
    with pytest.raises(UnavailableError, match="no longer held by epoch 1"):
        await frozen.write("ghost")
    await standby.write("after")
    assert written(database_url) == {"after"}


async def test_a_holder_that_signs_keeps_its_desk(hire: Hire) -> None:
    holder, standby = hire("holder"), hire("standby")
    await holder.tenure.take()
    watching = asyncio.create_task(holder.tenure.watch())
    waiting = asyncio.create_task(standby.tenure.take())
    await asyncio.sleep(LEASE_S * 2.5)
    assert not waiting.done()
    await holder.write("holder")
    for task in (watching, waiting):
        task.cancel()
