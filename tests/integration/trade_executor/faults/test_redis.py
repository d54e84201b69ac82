"""Redis is flushed, and killed, while approvals are on their way through it."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis

from libs.common.contracts.channels import ORDERS_APPROVED
from libs.common.runtime.runtime import Runtime
from tests.support.executor_orders import spec
from tests.support.fault_stage import SYMBOLS, Stage
from tests.support.runtimes import runtime_for
from tests.support.servers import ServerProcess, running_redis

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def own_redis(server_directory: Path) -> Iterator[ServerProcess]:
    """A Redis that nobody else needs."""
    directory = Path(tempfile.mkdtemp(dir=server_directory))
    directory.chmod(0o755)
    with running_redis(directory) as server:
        yield server


@pytest.fixture(scope="module")
def stage_redis(own_redis: ServerProcess) -> str:
    return own_redis.url


@pytest_asyncio.fixture(loop_scope="module")
async def judge(stage_database: str, stage_redis: str) -> AsyncIterator[Runtime]:
    """The risk manager's way out: approvals that are durable before they are told."""
    runtime = runtime_for("risk_manager", stage_database, stage_redis)
    running = asyncio.create_task(runtime.outbox.run())
    yield runtime
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await runtime.bus.close()
    await runtime.database.close()


@pytest.mark.parametrize("how", ["flushed", "killed"])
async def test_approvals_under_way_are_neither_lost_nor_doubled(
    stage: Stage, judge: Runtime, own_redis: ServerProcess, seed: int, how: str
) -> None:
    rng = random.Random(seed)
    orders = []
    for turn in range(3):
        for _ in range(8):
            given = stage.approval(spec("buy", "2", symbol=rng.choice(SYMBOLS)))
            async with judge.database.write() as tx:
                await judge.outbox.add(tx, ORDERS_APPROVED, given, correlation_id=given.order_id)
            orders.append(given.order_id)
            if rng.random() < 0.2:
                with redis.Redis.from_url(own_redis.url) as client:
                    client.flushall()
        if how == "killed" and turn:
            await asyncio.to_thread(own_redis.kill)
            await asyncio.sleep(rng.random() * 0.5)
            await asyncio.to_thread(own_redis.start)
    for order in orders:
        await stage.until(order, "filled", within_s=60)
    await stage.settled()


async def test_trades_are_announced_although_redis_forgot_them(
    stage: Stage, own_redis: ServerProcess
) -> None:
    order = await stage.approve()
    await stage.until(order, "filled")
    with redis.Redis.from_url(own_redis.url) as client:
        client.flushall()
        for _ in range(200):
            if client.xlen("log:trades.executed"):
                break
            await asyncio.sleep(0.1)
        assert client.xlen("log:trades.executed")
    await stage.settled()
