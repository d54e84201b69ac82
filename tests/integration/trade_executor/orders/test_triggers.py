"""Orders kept back until their price is met: durable, fired once, judged then."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.common.domain.vocabulary import TradingState
from tests.support.executor_process import ExecutorProcess
from tests.support.executor_world import Voice, compare_books
from tests.support.order_desk import OrderDesk, tell
from tests.support.risk_stand_in import RiskStandIn, serving_risk
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator
from tests.support.tokens import AS_OPERATOR

PATH = "/api/v1/orders/triggers"
WITHIN_S = 40.0
BUY = {"symbol": "AAPL", "side": "buy", "quantity": "10"}


async def keep(client: httpx.AsyncClient, key: str | None = None, **body: Any) -> Any:
    answer = await client.post(
        PATH,
        json={"order": BUY, **body},
        headers={"Idempotency-Key": key or uuid.uuid4().hex},
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


async def becomes(client: httpx.AsyncClient, trigger: Any, status: str) -> Any:
    shown: dict[str, Any] = {}

    async def there() -> bool:
        shown.update((await client.get(f"{PATH}/{trigger['id']}")).json())
        return shown.get("status") == status

    try:
        await eventually(there, what=f"trigger {status}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {shown}") from error
    return shown


async def test_a_trigger_waits_fires_once_and_is_judged_then(desk: OrderDesk) -> None:
    above = await keep(desk.client, "k", above="105")
    below = await keep(desk.client, below="95", order={**BUY, "symbol": "KO"})
    too_much = await keep(desk.client, above="105", order={**BUY, "quantity": "90000"})
    again = await keep(desk.client, "k", above="105.0")
    assert (again["id"], again["status"]) == (above["id"], "waiting")
    other = await desk.client.post(
        PATH, json={"order": BUY, "above": "106"}, headers={"Idempotency-Key": "k"}
    )
    assert (other.status_code, "different in above" in other.text) == (409, True)
    # Neither a price short of it, nor a wide spread, nor an old price meets it.
    for bid, ask in (("104.90", "104.95"), ("100.00", "110.00")):
        await desk.market("AAPL", bid, ask)
    await desk.market("AAPL", "106.00", "106.05", age_s=60)
    await asyncio.sleep(0.3)
    assert desk.simulator.ledger()["orders"] == []

    async def market_comes() -> bool:
        await desk.market("AAPL", "105.00", "105.02")
        shown = (await desk.client.get(f"{PATH}/{above['id']}")).json()
        return bool(shown["status"] == "fired")

    await eventually(market_comes, what="fired")
    fired = await becomes(desk.client, above, "fired")
    assert fired["met_price"] == "105"
    order = await desk.until(uuid.UUID(fired["order_id"]), "filled")
    assert order["filled_avg_price"] == "105.02"
    denied = await becomes(desk.client, too_much, "fired")
    assert denied["reason"].startswith("QUANTITY_") or "ABOVE_LIMIT" in denied["reason"]
    await desk.market("AAPL", "107.00", "107.02")
    listed = (await desk.client.get(f"{PATH}?status=waiting")).json()["items"]
    assert [one["id"] for one in listed] == [below["id"]]
    gone = await desk.client.delete(f"{PATH}/{above['id']}")
    assert (gone.status_code, "is fired" in gone.text) == (409, True)
    canceled = await desk.client.delete(f"{PATH}/{below['id']}")
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    await desk.market("KO", "94.00", "94.02")
    await desk.books_equal()
    assert len(desk.simulator.ledger()["orders"]) == 1


async def test_time_halts_and_cancels_end_what_waits(desk: OrderDesk) -> None:
    await desk.placed("filled", symbol="MSFT")
    now = dt.datetime.fromisoformat(desk.simulator.clock()["now"])
    past = await desk.client.post(
        PATH,
        json={"order": BUY, "above": "1", "valid_until": now.isoformat()},
        headers={"Idempotency-Key": "past"},
    )
    assert (past.status_code, "valid_until" in past.text) == (422, True)
    short = await keep(
        desk.client, above="105", valid_until=(now + dt.timedelta(seconds=30)).isoformat()
    )
    desk.simulator.step(31)
    await becomes(desk.client, short, "expired")
    opening = await keep(desk.client, above="105")
    stop = {**BUY, "symbol": "MSFT", "side": "sell"}
    closing = await keep(desk.client, below="90", order=stop)
    async with httpx.AsyncClient(base_url=desk.risk_url, auth=AS_OPERATOR, trust_env=False) as risk:
        await risk.post("/api/v1/risk/halt", json={"reason": "test"})
        ended = await becomes(desk.client, opening, "canceled")
        assert ended["reason"].startswith("trading halted")
        # What would only close a position is spared, and waits for the halt to be over.
        await desk.market("MSFT", "89.00", "89.02")
        await asyncio.sleep(0.3)
        await becomes(desk.client, closing, "waiting")
        await risk.post("/api/v1/risk/resume", json={"reason": "test"})

        async def market_comes() -> bool:
            await desk.market("MSFT", "89.00", "89.02")
            shown = (await desk.client.get(f"{PATH}/{closing['id']}")).json()
            return bool(shown["status"] == "fired")

        await eventually(market_comes, what="fired")
    left = await keep(desk.client, above="105")
    assert (await desk.client.delete("/api/v1/orders?symbol=AAPL")).status_code == 202
    await becomes(desk.client, left, "canceled")
    await desk.books_equal()


@pytest.mark.timeout(300)
async def test_a_killed_executor_fires_exactly_once(
    simulator: Simulator, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    simulator.quote("AAPL", "100.00", "100.02")
    voice = Voice(database_url, redis_url)
    voice.set_state(TradingState.ACTIVE, 1)
    voice.begin_beating()
    risk = RiskStandIn()
    async with serving_risk(risk) as url:
        process = ExecutorProcess(
            simulator, database_url, redis_url, tmp_path / "log", risk_url=url,
            trigger_price_age_s_max=120,
        )  # fmt: skip
        await asyncio.to_thread(process.start)
        try:
            async with httpx.AsyncClient(
                base_url=process.url, auth=AS_OPERATOR, trust_env=False, timeout=WITHIN_S
            ) as client:

                async def comes_to(trigger: Any, status: str, price: int) -> None:
                    async def there() -> bool:
                        await tell(voice, simulator, "AAPL", f"{price}.00", f"{price}.02")
                        shown = (await client.get(f"{PATH}/{trigger['id']}")).json()
                        return bool(shown["status"] == status)

                    await eventually(there, within_s=WITHIN_S, what=status)

                # Killed while it waits.
                trigger = await keep(client, above="105")
                process.kill()
                await asyncio.to_thread(process.start)
                await comes_to(trigger, "fired", 105)
                # Met and marked, and then the judgement takes longer than the process lives.
                trigger = await keep(client, above="110")
                risk.late_s = 5.0
                await comes_to(trigger, "firing", 110)
                process.kill()
                risk.late_s = 0.0
                await asyncio.to_thread(process.start)
                await comes_to(trigger, "fired", 110)
                await eventually(
                    lambda: not compare_books(database_url, simulator.ledger()),
                    within_s=WITHIN_S,
                    what="equal books",
                )
            assert len(simulator.ledger()["orders"]) == 2
        finally:
            await voice.close()
            process.stop()
