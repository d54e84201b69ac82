"""One key, one order: again, at the same time, after a restart, after a denial."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.executor_world import World, executor_world
from tests.support.risk_stand_in import RiskStandIn, serving_risk
from tests.support.simulator import Simulator, start_simulator

RESTING = {
    "symbol": "AAPL", "side": "buy", "quantity": "10", "order_type": "limit", "limit_price": "90",
}  # fmt: skip
OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"symbol": "KO"}, "symbol"),
    ({"side": "sell"}, "side"),
    ({"quantity": "11"}, "quantity"),
    ({"limit_price": "91"}, "limit_price"),
    ({"time_in_force": "gtc"}, "time_in_force"),
    ({"extended_hours": True}, "extended_hours"),
]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        for symbol in ("AAPL", "KO"):
            running.quote(symbol, "100.00", "100.02")
        yield running


async def place(world: World, body: dict[str, Any], key: str) -> Any:
    return await world.client.post("/api/v1/orders", json=body, headers={"Idempotency-Key": key})


async def test_a_key_stands_for_one_request(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    risk = RiskStandIn()
    risk.deny.add("KO")
    first: dict[str, Any] = {}
    async with serving_risk(risk) as url:
        async with executor_world(simulator, database_url, redis_url, risk_url=url) as world:
            first = (await place(world, RESTING, "k")).json()
            await world.until(uuid.UUID(first["id"]), "working")
            denied = (await place(world, {**RESTING, "symbol": "KO"}, "denied")).json()
            assert denied["status"] == "denied"
            racing = [RESTING, {**RESTING, "quantity": "12"}] * 3
            answers = await asyncio.gather(*(place(world, body, "race") for body in racing))
            assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 3
            assert len({a.json()["id"] for a in answers if a.status_code == 201}) == 1
        # Another process knows the keys too.
        async with executor_world(simulator, database_url, redis_url, risk_url=url) as world:
            asked = risk.asked
            again = await place(world, {**RESTING, "quantity": "10.0"}, "k")
            assert (again.status_code, again.json()["id"]) == (201, first["id"])
            again = await place(world, {**RESTING, "symbol": "KO"}, "denied")
            assert (again.status_code, again.json()["id"]) == (201, denied["id"])
            for change, named in OTHERS:
                answer = await place(world, {**RESTING, **change}, "k")
                assert answer.status_code == 409, answer.text
                assert answer.json()["detail"].endswith(f"different in {named}")
            answer = await place(world, RESTING, "denied")
            assert answer.status_code == 409
            assert risk.asked == asked
            await world.books_equal()
    assert len(simulator.ledger()["orders"]) == 2
