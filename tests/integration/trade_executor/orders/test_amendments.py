"""Amending orders: judged, held for, sent once, and true to what the venue makes of it."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx

from libs.common.domain.vocabulary import TradingState
from tests.support.order_desk import OrderDesk
from tests.support.runtimes import eventually
from tests.support.tokens import AS_OPERATOR

RESTING: dict[str, Any] = {"order_type": "limit", "limit_price": "90", "quantity": "100"}


async def test_an_amendment_takes_the_place_of_its_order(desk: OrderDesk) -> None:
    old = await desk.placed("working", **RESTING)
    assert desk.held() == "9000"
    desk.simulator.behave(replace_delay_s=60)
    answer = await desk.amend(old, "k", quantity="150", limit_price="91")
    assert answer.status_code == 202, answer.text
    new = answer.json()
    assert (new["replaces_id"], new["quantity"], new["limit_price"]) == (old["id"], "150", "91")
    assert (await desk.order(uuid.UUID(old["id"])))["status"] == "pending_replace"
    # 150 x 91 in all: what exceeds the old hold is held beside it until the venue has decided.
    assert desk.held() == "13650"
    desk.simulator.step(61)
    await desk.becomes(old, "replaced")
    new = await desk.becomes(new, "working")
    assert desk.held() == "13650"
    again = await desk.amend(old, "k", quantity="150.0", limit_price="91")
    assert (again.status_code, again.json()["id"]) == (202, new["id"])
    other = await desk.amend(old, "k", quantity="151", limit_price="91")
    assert (other.status_code, other.json()["detail"][-8:]) == (409, "quantity")
    desk.simulator.behave(replace_delay_s=0)
    smaller = (await desk.amend(new, quantity="10")).json()
    await desk.becomes(new, "replaced")
    await desk.becomes(smaller, "working")
    assert desk.held() == "910"
    await desk.market("AAPL", "90.50", "90.60")
    done = await desk.becomes(smaller, "filled")
    assert done["filled_quantity"] == "10"
    assert desk.held() == "0"
    await desk.books_equal()
    ours = {one["client_order_id"] for one in desk.simulator.ledger()["orders"]}
    assert len(ours) == 3
    await _nothing_reserved(desk)


async def test_a_fill_that_comes_first_counts(desk: OrderDesk) -> None:
    old = await desk.placed("working", **RESTING)
    desk.simulator.behave(replace_delay_s=60)
    new = (await desk.amend(old, quantity="120", limit_price="89")).json()
    desk.simulator.quote("AAPL", "89.90", "90.00", ask_size=30)
    await eventually(lambda: _filled(desk, old, "30"), what="30 executed")
    await desk.market("AAPL", "99.00", "99.10")
    desk.simulator.step(61)
    await desk.becomes(old, "replaced")
    new = await desk.becomes(new, "working")
    assert new["quantity"] == "90"
    assert desk.held() == str(90 * 89)
    await desk.market("AAPL", "88.00", "88.10")
    await desk.becomes(new, "filled")
    assert desk.held() == "0"
    await desk.books_equal()
    await _nothing_reserved(desk)


async def test_an_order_filled_first_refuses_its_amendment(desk: OrderDesk) -> None:
    old = await desk.placed("working", **RESTING)
    desk.simulator.behave(replace_delay_s=60)
    new = (await desk.amend(old, quantity="120")).json()
    await desk.market("AAPL", "89.00", "89.10")
    await desk.becomes(old, "filled")
    desk.simulator.step(61)
    await desk.becomes(new, "rejected")
    assert desk.held() == "0"
    await desk.books_equal()
    late = await desk.amend(old, quantity="120")
    assert late.status_code == 409
    assert "is filled" in late.json()["detail"]
    await _nothing_reserved(desk)


async def test_a_lost_answer_is_looked_up_and_nothing_is_sent_twice(desk: OrderDesk) -> None:
    old = await desk.placed("working", **RESTING)
    desk.simulator.fault("lost_answer", method="PATCH", count=1)
    new = (await desk.amend(old, limit_price="91")).json()
    assert new["status"] in {"outcome_unknown", "submitted", "working"}
    await desk.becomes(old, "replaced")
    await desk.becomes(new, "working")
    desk.simulator.fault("error_before", method="PATCH", count=1, status=503)
    lost = (await desk.amend(new, limit_price="92")).json()
    lost = await desk.becomes(lost, "denied")
    assert lost["reject_reason"].startswith("NEVER_ARRIVED")
    await desk.becomes(new, "working")
    assert desk.held() == "9100"
    assert len(desk.simulator.ledger()["orders"]) == 2
    answer = await desk.client.delete(f"/api/v1/orders/{new['id']}")
    assert answer.status_code == 202
    await desk.becomes(new, "canceled")
    await desk.books_equal()
    await _nothing_reserved(desk)


async def test_what_cannot_be_amended_says_why(desk: OrderDesk) -> None:
    order = await desk.placed("working", **RESTING)
    unknown = {"id": str(uuid.uuid4())}
    cases: list[tuple[Any, dict[str, Any], int, str]] = [
        (unknown, {"quantity": "5"}, 404, "there is no order"),
        (order, {}, 422, "nothing to change"),
        (order, {"quantity": "100", "limit_price": "90.00"}, 422, "nothing to change"),
        (order, {"quantity": "1.5"}, 422, "quantity: the broker amends to whole shares"),
        (order, {"stop_price": "95"}, 422, "stop_price: a limit order has none"),
        (order, {"trail": "1"}, 422, "trail: a limit order has none"),
    ]
    for target, body, status, words in cases:
        answer = await desk.amend(target, **body)
        assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    # Denied by the risk manager: an order that says so, and the old one goes on.
    denied = (await desk.amend(order, quantity="90000")).json()
    assert (denied["status"], denied["replaces_id"]) == ("denied", order["id"])
    assert denied["reject_reason"].startswith("NOTIONAL_ABOVE_LIMIT")
    # The venue refuses: its reason is told, the amendment is rejected, the old order works.
    desk.simulator.fault("error_before", method="PATCH", count=1, status=422)
    refused = await desk.amend(order, quantity="99")
    assert (refused.status_code, "was not amended: 422" in refused.text) == (409, True)
    await desk.becomes(order, "working")
    desk.simulator.behave(replace_delay_s=60)
    first, second = await asyncio.gather(
        desk.amend(order, quantity="50"), desk.amend(order, quantity="60")
    )
    assert sorted((first.status_code, second.status_code)) == [202, 409]
    third = await desk.amend(order, quantity="70")
    assert (third.status_code, "pending_replace" in third.text) == (409, True)
    # A cancel that is asked for while the replacement is under way ends both.
    assert (await desk.client.delete(f"/api/v1/orders/{order['id']}")).status_code == 202
    desk.simulator.step(61)
    await desk.becomes(order, "canceled", "replaced")
    await eventually(lambda: not desk.simulator.get("/v2/orders"), what="nothing open")
    await eventually(lambda: desk.held() == "0", what="nothing held")
    await desk.books_equal()
    await _nothing_reserved(desk)


async def test_the_kill_switch_stands_before_amendments_too(desk: OrderDesk) -> None:
    order = await desk.placed("working", **RESTING)
    async with httpx.AsyncClient(base_url=desk.risk_url, auth=AS_OPERATOR, trust_env=False) as risk:
        body = {"reason": "test"}
        assert (await risk.post("/api/v1/risk/reduce", json=body)).status_code == 200
        # More is not allowed, less is.
        more = (await desk.amend(order, quantity="101")).json()
        assert more["reject_reason"].startswith(f"TRADING_STATE(why={TradingState.REDUCING}")
        less = (await desk.amend(order, quantity="50")).json()
        await desk.becomes(less, "working")
        assert desk.held() == "4500"
        assert (await risk.post("/api/v1/risk/halt", json=body)).status_code == 200
        await desk.becomes(less, "canceled")
        late = await desk.amend(less, quantity="10")
        assert late.status_code == 409
    await desk.books_equal()


async def _filled(desk: OrderDesk, order: Any, quantity: str) -> bool:
    return bool((await desk.order(uuid.UUID(order["id"])))["filled_quantity"] == quantity)


async def _nothing_reserved(desk: OrderDesk) -> None:
    """The risk manager's book, too, holds nothing for orders that are over."""
    async with httpx.AsyncClient(base_url=desk.risk_url, auth=AS_OPERATOR, trust_env=False) as risk:

        async def free() -> bool:
            shown = (await risk.get("/api/v1/risk/exposure")).json()
            return bool(not shown["pending"] and shown["held"] == "0")

        await eventually(free, what="nothing reserved")
