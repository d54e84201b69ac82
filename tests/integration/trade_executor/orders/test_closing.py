"""Positions closed: stops out of the way first, never more than is held, all of it on a halt."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from libs.common.domain.vocabulary import OrderStatus
from services.trade_executor.closing import CloseFields, Closing, closing_id
from services.trade_executor.closing_store import ClosingStore
from services.trade_executor.requests import request_of
from tests.support.order_desk import OrderDesk, order_desk
from tests.support.runtimes import eventually
from tests.support.simulator import start_simulator
from tests.support.tokens import AS_OPERATOR


@pytest.fixture
async def desk(database_url: str, redis_url: str) -> AsyncIterator[OrderDesk]:
    with start_simulator(simulator_cash="1000000") as simulator:
        async with order_desk(simulator, database_url, redis_url) as running:
            yield running


async def close(desk: OrderDesk, what: str, key: str | None = None, **body: Any) -> httpx.Response:
    return await desk.client.post(
        f"/api/v1/orders/positions/{what}",
        json=body or None,
        headers={"Idempotency-Key": key or uuid.uuid4().hex},
    )


async def ended(desk: OrderDesk, closing: Any, within_s: float = 60) -> Any:
    seen: dict[str, Any] = {}

    async def over() -> bool:
        answer = await desk.client.get(f"/api/v1/orders/closings/{closing['id']}")
        seen.update(answer.json())
        return seen["status"] != "open"

    await eventually(over, within_s=within_s, what=f"the end of {closing}")
    return seen


def held(desk: OrderDesk) -> dict[str, Decimal]:
    return {one["symbol"]: Decimal(one["qty"]) for one in desk.simulator.get("/v2/positions")}


async def hold(desk: OrderDesk, symbol: str = "AAPL", quantity: str = "100") -> Any:
    """Hold a position with a stop under it; return the stop."""
    await desk.placed("filled", symbol=symbol, quantity=quantity)
    return await desk.placed(
        "working", "accepted", symbol=symbol, side="sell", quantity=quantity,
        order_type="stop", stop_price="80.00", time_in_force="gtc",
    )  # fmt: skip


async def test_a_position_is_closed_under_its_stop_once_for_a_key(desk: OrderDesk) -> None:
    stop = await hold(desk)
    first = await close(desk, "AAPL/close", key="one")
    assert first.status_code == 202, first.text
    again = await close(desk, "AAPL/close", key="one")
    assert again.json()["id"] == first.json()["id"]
    other = await close(desk, "AAPL/close", key="one", quantity="5")
    assert other.status_code == 409
    shown = await ended(desk, first.json())
    assert shown["status"] == "closed", shown
    assert (await desk.becomes(stop, "canceled"))["filled_quantity"] == "0"
    assert held(desk) == {}
    assert (await close(desk, "AAPL/close", key="one")).json()["status"] == "closed"
    assert (await close(desk, "AAPL/close")).status_code == 404
    await desk.books_equal()


async def test_a_part_is_closed_and_both_sizes_are_refused(desk: OrderDesk) -> None:
    await desk.placed("filled", quantity="100")
    assert (await ended(desk, (await close(desk, "AAPL/close", percent="25")).json()))[
        "status"
    ] == "closed"
    assert held(desk) == {"AAPL": Decimal(75)}
    assert (await ended(desk, (await close(desk, "AAPL/close", quantity="500")).json()))[
        "status"
    ] == "closed"
    assert held(desk) == {}
    await desk.placed("filled", symbol="KO", quantity="75")
    quarter = await ended(desk, (await close(desk, "KO/close", percent="25")).json())
    assert quarter["status"] == "closed"
    assert held(desk) == {"KO": Decimal(57)}
    too_little = await ended(desk, (await close(desk, "KO/close", percent="1")).json())
    assert too_little["status"] == "failed"
    assert too_little["reason"] == "0.57 is less than one step of 1"
    assert held(desk) == {"KO": Decimal(57)}
    bad = await close(desk, "AAPL/close", quantity="5", percent="5")
    assert bad.status_code == 422
    await desk.books_equal()


async def test_a_stop_that_trades_while_we_wait_makes_the_close_smaller(desk: OrderDesk) -> None:
    stop = await hold(desk)
    desk.simulator.behave(cancel_delay_s=5)
    begun = (await close(desk, "AAPL/close")).json()
    await desk.becomes(stop, "pending_cancel")
    desk.simulator.quote("AAPL", "79.00", "79.02", bid_size=40)
    desk.simulator.behave(cancel_delay_s=0)
    desk.simulator.step(10)
    assert (await ended(desk, begun))["status"] == "closed"
    assert held(desk) == {}
    await desk.books_equal()


async def test_a_close_that_the_venue_refuses_restores_the_stop(desk: OrderDesk) -> None:
    stop = await hold(desk)
    desk.simulator.fault("error_before", status=422, method="POST", path="/v2/orders", count=3)
    shown = await ended(desk, (await close(desk, "AAPL/close")).json())
    assert shown["status"] == "failed"
    assert shown["exits"] == [stop["id"]]
    resting = desk.simulator.get("/v2/orders", status="open")
    assert [(one["type"], one["qty"], one["stop_price"]) for one in resting] == [
        ("stop", "100", "80")
    ]
    assert held(desk) == {"AAPL": Decimal(100)}
    told = desk.rows(
        "SELECT 1 FROM outbox WHERE position('Position not closed: AAPL'::bytea in message) > 0"
    )
    assert len(told) == 1
    await desk.books_equal()


async def test_a_cancel_that_the_venue_refuses_is_asked_again_after_growing_pauses(
    desk: OrderDesk,
) -> None:
    stop = await hold(desk)
    desk.simulator.fault("error_before", status=422, method="DELETE", path="/v2/orders/*", count=5)
    shown = await ended(desk, (await close(desk, "AAPL/close")).json())
    assert shown["status"] == "closed"
    asked = [
        at
        for (at,) in desk.rows(
            "SELECT ts FROM order_events WHERE order_id = %s AND event = 'ask_cancel' ORDER BY seq",
            stop["id"],
        )
    ]
    assert len(asked) == 6
    # 0.02 s and twice as long each time; what answering takes comes on top.
    assert (asked[-1] - asked[0]).total_seconds() >= 0.6
    await desk.books_equal()


async def test_what_was_begun_before_a_crash_is_finished_after_it(desk: OrderDesk) -> None:
    stop = await hold(desk)
    # As a process leaves it that dies with the exits on record and nothing asked yet.
    identity = closing_id("main", "AAPL", "crash")
    runtime, wanted = desk.app.state.runtime, CloseFields()
    await ClosingStore(runtime.database, "main").add(
        Closing(
            id=identity,
            account_id="main",
            idempotency_key="crash",
            request=request_of("close", wanted, symbol="AAPL"),
            symbol="AAPL",
            cause="request",
            correlation_id=uuid.uuid4(),
            created_at=runtime.clock.now(),
            exits=(uuid.UUID(stop["id"]),),
        )
    )
    for _ in range(2):
        await desk.app.state.closings.resume()
    assert (await ended(desk, {"id": str(identity)}))["status"] == "closed"
    assert held(desk) == {}
    await desk.books_equal()


async def test_a_halt_that_flattens_closes_everything_and_trades_nothing_else(
    desk: OrderDesk,
) -> None:
    await hold(desk, "AAPL", "50")
    await hold(desk, "MSFT", "100")
    resting = await desk.placed("working", "accepted", symbol="KO", order_type="limit",
                                limit_price="50.00")  # fmt: skip
    async with httpx.AsyncClient(base_url=desk.risk_url, auth=AS_OPERATOR, trust_env=False) as risk:
        answer = await risk.post(
            "/api/v1/risk/halt", json={"reason": "a test", "flatten": True}, timeout=15
        )
    assert answer.status_code == 200, answer.text
    assert answer.json()["flatten"] is True
    await desk.becomes(resting, "canceled")
    await eventually(lambda: held(desk) == {}, within_s=60, what="flat")
    assert desk.simulator.get("/v2/orders", status="open") == []
    begun = (await desk.client.get("/api/v1/orders/closings")).json()["items"]
    assert {one["cause"] for one in begun} == {"flatten"}
    assert begun[-1]["symbol"] == "MSFT"
    denied = await desk.place(symbol="KO")
    assert denied["status"] == OrderStatus.DENIED
    assert (await close(desk, "close")).json()["items"] == []
    await desk.books_equal()
