"""SIGKILL while an amendment is under way: looked up afterwards, never sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from pathlib import Path
from typing import Any

import httpx

from libs.common.domain.vocabulary import TradingState
from tests.support.executor_process import ExecutorProcess
from tests.support.executor_world import Voice, compare_books
from tests.support.risk_stand_in import RiskStandIn, serving_risk
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator
from tests.support.tokens import AS_OPERATOR

PATH = "/api/v1/orders"
BUY = {"symbol": "AAPL", "side": "buy", "quantity": "10", "order_type": "limit",
       "limit_price": "90"}  # fmt: skip


WITHIN_S = 40.0
# Killed while the request is on its way, which has arrived, or never does.
CASES: list[tuple[str, str, str]] = [
    ("lost_answer", "working", "replaced"),
    ("drop_request", "denied", "working"),
]


async def test_an_amendment_survives_the_process(
    simulator: Simulator, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    simulator.quote("AAPL", "100.00", "100.02")
    voice = Voice(database_url, redis_url)
    voice.set_state(TradingState.ACTIVE, 1)
    voice.begin_beating()
    async with serving_risk(RiskStandIn()) as url:
        process = ExecutorProcess(
            simulator, database_url, redis_url, tmp_path / "log", risk_url=url,
            broker_timeout_s=10,
        )  # fmt: skip
        await asyncio.to_thread(process.start)
        try:
            async with httpx.AsyncClient(
                base_url=process.url, auth=AS_OPERATOR, trust_env=False, timeout=WITHIN_S
            ) as client:
                key = {"Idempotency-Key": uuid.uuid4().hex}
                old = (await client.post(PATH, json=BUY, headers=key)).json()
                await _until(client, old["id"], "working")
                for number, (kind, new_status, old_status) in enumerate(CASES, start=12):
                    simulator.fault(kind, method="PATCH", count=1)
                    new = await _amended_and_killed(
                        client, process, simulator, old["id"], str(number)
                    )
                    await _until(client, new["id"], new_status)
                    await _until(client, old["id"], old_status)
                    old = new
                await eventually(
                    lambda: not compare_books(database_url, simulator.ledger()), what="equal books"
                )
            assert len(simulator.ledger()["orders"]) == 2
        finally:
            await voice.close()
            process.stop()


async def _amended_and_killed(
    client: httpx.AsyncClient,
    process: ExecutorProcess,
    simulator: Simulator,
    order_id: str,
    quantity: str,
) -> Any:
    """Amend an order, kill the executor in the middle, start it again; return the amendment."""
    key = {"Idempotency-Key": uuid.uuid4().hex}
    change = {"quantity": quantity}
    asked = asyncio.create_task(client.patch(f"{PATH}/{order_id}", json=change, headers=key))
    await eventually(
        lambda: _amending(client, order_id), within_s=WITHIN_S, what="amendment written"
    )
    if quantity == "12":
        await eventually(
            lambda: len(simulator.ledger()["orders"]) == 2, within_s=WITHIN_S, what="arrived"
        )
    process.kill()
    with contextlib.suppress(httpx.HTTPError):
        await asked
    await asyncio.to_thread(process.start)
    again = await client.patch(f"{PATH}/{order_id}", json=change, headers=key)
    assert again.status_code in {202, 409}, again.text
    listed = (await client.get(PATH)).json()["items"]
    (new,) = [one for one in listed if one["replaces_id"] == order_id]
    return new


async def _until(client: httpx.AsyncClient, order_id: str, status: str) -> None:
    await eventually(lambda: _is(client, order_id, status), within_s=WITHIN_S, what=status)


async def _is(client: httpx.AsyncClient, order_id: str, status: str) -> bool:
    return bool((await client.get(f"{PATH}/{order_id}")).json()["status"] == status)


async def _amending(client: httpx.AsyncClient, order_id: str) -> bool:
    listed = (await client.get(PATH)).json()["items"]
    return any(one["replaces_id"] == order_id for one in listed)
