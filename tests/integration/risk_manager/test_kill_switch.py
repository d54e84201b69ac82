"""The kill switch set by many at once, by the bus, and by rules; on real servers."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from libs.common.contracts.channels import COMMANDS
from libs.common.contracts.messages import Command
from services.risk_manager.main import build
from services.risk_manager.settings import RiskSettings
from tests.support.risk_world import SimClock, World, seed, sim_clock
from tests.support.runtimes import eventually, ready, serving


@pytest.fixture
def clock() -> Iterator[SimClock]:
    with sim_clock() as running:
        yield running


@pytest.fixture
async def world(database_url: str, redis_url: str, clock: SimClock) -> AsyncIterator[World]:
    seed(database_url)
    world = World(database_url, redis_url, clock)
    yield world
    await world.close()


@pytest.fixture
async def service(
    database_url: str, redis_url: str, clock: SimClock, world: World
) -> AsyncIterator[httpx.AsyncClient]:
    settings = RiskSettings.model_validate(
        {
            "port": 0,
            "database_url": database_url,
            "redis_url": redis_url,
            "clock_url": clock.url,
            "outbox_sweep_s": 0.1,
            "risk_rules_s": 0.1,
        }
    )
    async with serving(build(settings)) as client:
        await ready(client)
        yield client


async def state(service: httpx.AsyncClient) -> Any:
    return (await service.get("/api/v1/risk/state")).json()


async def test_halts_and_resumes_at_once_each_raise_the_generation(
    service: httpx.AsyncClient, world: World
) -> None:
    before = (await state(service))["generation"]
    verbs = ["halt", "resume", "halt", "halt", "resume", "halt"] * 4
    answers = await asyncio.gather(
        *(service.post(f"/api/v1/risk/{verb}", json={"reason": "a race"}) for verb in verbs)
    )
    assert [one.status_code for one in answers] == [200] * len(verbs)
    generations = {one.json()["generation"]: one.json()["state"] for one in answers}
    assert sorted(generations) == list(range(before + 1, before + 1 + len(verbs)))
    row = world.rows("SELECT state, generation FROM trading_state")[0]
    assert (row["generation"], row["state"]) == (
        before + len(verbs),
        generations[before + len(verbs)],
    )


async def test_a_command_on_the_bus_halts_once_and_never_resumes(
    service: httpx.AsyncClient, world: World
) -> None:
    def command(name: str, **arguments: str) -> Command:
        return Command(
            command=name, actor="night watch", ts=dt.datetime.now(dt.UTC), arguments=arguments
        )

    halt = command("halt", reason="smoke", flatten="true")
    await tell(world, halt)

    async def halted() -> bool:
        return bool((await state(service))["state"] == "halted")

    await eventually(halted, what="the halt")
    shown = await state(service)
    assert (shown["set_by"], shown["reason"], shown["flatten"]) == ("night watch", "smoke", True)
    await service.post("/api/v1/risk/resume", json={"reason": "no smoke"})
    await tell(world, halt)  # told again: history
    await tell(world, command("resume"))
    await tell(world, command("reduce", reason="some smoke"))

    async def reduced() -> bool:
        return bool((await state(service))["state"] == "reducing")

    await eventually(reduced, what="the reduction")
    assert (await state(service))["generation"] == shown["generation"] + 2


async def test_rejects_halt_and_count_from_the_resume_on(
    service: httpx.AsyncClient, world: World, database_url: str
) -> None:
    for name, value in (("reject_orders_min", "4"), ("reject_share_max", "0.5")):
        limit = {"name": name, "value": value, "reason": "a test"}
        assert (await service.put("/api/v1/risk/limits", json=limit)).status_code == 200
    _orders(database_url, "filled", 1)
    _orders(database_url, "rejected", 3)

    async def halted() -> bool:
        return bool((await state(service))["state"] == "halted")

    await eventually(halted, what="the halt")
    shown = await state(service)
    assert shown["set_by"] == "rule:REJECT_RATE_ABOVE_LIMIT"
    assert shown["reason"] == "3 of 4 orders rejected, limit 0.5 of them"
    await service.post("/api/v1/risk/resume", json={"reason": "venue is well"})
    await asyncio.sleep(0.5)  # several looks
    assert (await state(service))["state"] == "active"
    _orders(database_url, "rejected", 4)
    await eventually(halted, what="the next halt")


async def test_books_that_differ_too_long_reduce_once(
    service: httpx.AsyncClient, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO discrepancies (id, account_id, symbol, kind, ours, theirs, opened_at)"
            " VALUES (%s, 'main', 'KO', 'position', '1', '2', now() - interval '299 seconds')",
            (uuid.uuid4(),),
        )

    async def reduced() -> bool:
        return bool((await state(service))["state"] == "reducing")

    await eventually(reduced, what="the reduction")
    assert (await state(service))["set_by"] == "rule:BOOKS_DIFFER"
    await service.post("/api/v1/risk/resume", json={"reason": "known"})
    await asyncio.sleep(0.5)
    assert (await state(service))["state"] == "active"


async def test_stale_prices_of_too_many_symbols_reduce(
    service: httpx.AsyncClient, world: World
) -> None:
    limit = {"name": "stale_s_max", "value": "1", "reason": "a test"}
    assert (await service.put("/api/v1/risk/limits", json=limit)).status_code == 200

    async def reduced() -> bool:
        return bool((await state(service))["state"] == "reducing")

    await eventually(reduced, what="the reduction")
    shown = await state(service)
    assert shown["set_by"] == "rule:DATA_STALE"
    assert "symbols without a fresh price" in shown["reason"]


async def tell(world: World, command: Command) -> None:
    """Put a command on the bus, as a scheduler would."""
    runtime = world.executor
    message = runtime.outbox.prepare(
        COMMANDS, command, correlation_id=uuid.uuid4(), key="risk_manager"
    )
    await runtime.bus.append([message])


def _orders(database_url: str, status: str, count: int) -> None:
    with psycopg.connect(database_url) as connection:
        for _ in range(count):
            connection.execute(
                "INSERT INTO orders (id, client_order_id, broker, account_id, symbol, side,"
                " order_type, order_class, time_in_force, status, correlation_id)"
                " VALUES (%s, %s, 'alpaca', 'main', 'KO', 'buy', 'market', 'simple', 'day', %s,"
                " %s)",
                (uuid.uuid4(), f"tw-{uuid.uuid4()}-1", status, uuid.uuid4()),
            )
