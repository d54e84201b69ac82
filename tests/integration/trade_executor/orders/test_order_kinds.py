"""Every kind of order over real sockets: judged, held for, executed, booked."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from tests.support.order_desk import OrderDesk
from tests.support.runtimes import eventually

EXITS = {"take_profit": {"limit_price": "110"}, "stop_loss": {"stop_price": "90"}}


async def legs_of(desk: OrderDesk, parent: Any, count: int) -> list[Any]:
    """Wait for the legs of an order; return them, those with a stop last."""
    found: list[Any] = []

    async def there() -> bool:
        listed = (await desk.client.get("/api/v1/orders?limit=100")).json()["items"]
        found[:] = [one for one in listed if one["parent_id"] == parent["id"]]
        return len(found) == count

    await eventually(there, what=f"{count} legs")
    return sorted(found, key=lambda leg: leg["stop_price"] is not None)


async def test_bracket(desk: OrderDesk) -> None:
    entry = await desk.placed(
        "working", order_type="limit", limit_price="99", order_class="bracket",
        time_in_force="gtc", **EXITS,
    )  # fmt: skip
    profit, stop = await legs_of(desk, entry, 2)
    assert {profit["status"], stop["status"]} <= {"held", "submitted", "accepted"}
    assert all(leg["protective"] and not leg["external"] for leg in (profit, stop))
    assert (desk.held(), desk.held("AAPL")) == ("990", "0")
    # The exits and the entry can be amended, and the exits follow the entry that takes over.
    moved = (await desk.amend(profit, limit_price="111")).json()
    await desk.becomes(profit, "replaced")
    second = (await desk.amend(entry, limit_price="98")).json()
    await desk.becomes(entry, "replaced")
    await desk.becomes(second, "working")
    profit, stop = await legs_of(desk, second, 2)
    assert (profit["id"], profit["limit_price"]) == (moved["id"], "111")
    assert desk.held() == "980"
    await desk.market("AAPL", "97.90", "97.95")
    await desk.becomes(second, "filled")
    await desk.becomes(profit, "working")
    await desk.becomes(stop, "working")
    await desk.market("AAPL", "111.20", "111.30")
    await desk.becomes(profit, "filled")
    await desk.becomes(stop, "canceled")
    assert (desk.held(), desk.held("AAPL")) == ("0", "0")
    await desk.books_equal()


async def test_oto_and_oco(desk: OrderDesk) -> None:
    none_held = await desk.place(
        side="sell", order_type="limit", limit_price="110", order_class="oco", **EXITS
    )
    assert none_held["reject_reason"].startswith("EXIT_WITHOUT_POSITION")
    entry = await desk.placed("filled", order_class="oto", stop_loss={"stop_price": "90"})
    (stop,) = await legs_of(desk, entry, 1)
    await desk.becomes(stop, "working")
    assert (await desk.client.delete(f"/api/v1/orders/{stop['id']}")).status_code == 202
    await desk.becomes(stop, "canceled")
    pair = await desk.placed(
        "working", side="sell", order_type="limit", limit_price="110", order_class="oco", **EXITS
    )
    assert (pair["reducing"], pair["protective"]) == (True, True)
    (stop,) = await legs_of(desk, pair, 1)
    await desk.becomes(stop, "working")
    assert desk.held("AAPL") == "10"
    await desk.market("AAPL", "89.00", "89.10")
    await desk.becomes(stop, "filled")
    await desk.becomes(pair, "canceled")
    assert desk.held("AAPL") == "0"
    await desk.books_equal()


async def test_trailing_by_price_and_by_per_cent(desk: OrderDesk) -> None:
    await desk.placed("filled", quantity="30")
    price = await desk.placed(
        "working", side="sell", order_type="trailing_stop", trail_price="1", time_in_force="gtc"
    )
    percent = await desk.placed(
        "working", side="sell", order_type="trailing_stop", trail_percent="2", quantity="20"
    )
    assert (price["protective"], desk.held("AAPL")) == (True, "30")
    wider = (await desk.amend(percent, trail="5")).json()
    await desk.becomes(wider, "working")
    await desk.market("AAPL", "104.00", "104.02")
    await desk.market("AAPL", "102.90", "102.95")
    await desk.becomes(price, "filled")
    await desk.market("AAPL", "98.00", "98.05")
    await desk.becomes(wider, "filled")
    assert desk.held("AAPL") == "0"
    await desk.books_equal()


async def test_fractions_and_amounts_of_money(desk: OrderDesk) -> None:
    part = await desk.placed("filled", quantity="1.25")
    assert part["filled_quantity"] == "1.25"
    amount = await desk.placed("filled", notional="250.50")
    assert amount["notional"] == "250.5"
    whole = await desk.placed("filled", symbol="KO", notional="250.50")
    assert (whole["quantity"], whole["filled_quantity"]) == ("2", "2")
    sold = await desk.placed("filled", side="sell", quantity="0.25")
    assert sold["filled_quantity"] == "0.25"
    for body, code in (
        ({"symbol": "KO", "quantity": "1.5"}, "QUANTITY_OFF_LOT"),
        ({"quantity": "1.5", "time_in_force": "gtc"}, "FRACTION_UNSUPPORTED"),
        ({"quantity": "1.5", "symbol": "MSFT", "side": "sell"}, "FRACTION_UNSUPPORTED"),
    ):
        denied = await desk.place(**body)
        assert (denied["status"], denied["reject_reason"].partition("(")[0]) == ("denied", code)
    refused = await desk.amend(amount, quantity="3")
    assert refused.status_code == 409
    assert (desk.held(), desk.held("AAPL")) == ("0", "0")
    await desk.books_equal()


async def test_immediate_orders_and_auctions(desk: OrderDesk) -> None:
    desk.simulator.quote("MSFT", "100.00", "100.02", ask_size=4)
    ioc = await desk.placed(
        "canceled", symbol="MSFT", order_type="limit", limit_price="100.02", time_in_force="ioc"
    )
    assert ioc["filled_quantity"] == "4"
    fok = await desk.placed("canceled", order_type="limit", limit_price="99", time_in_force="fok")
    assert fok["filled_quantity"] == "0"
    late = await desk.place(time_in_force="opg")
    assert late["reject_reason"].startswith("SESSION_CLOSED")
    close = await desk.placed("accepted", time_in_force="cls")
    assert (await desk.amend(close, quantity="5")).status_code == 409
    await asyncio.to_thread(desk.simulator.trade, "AAPL", "100.01")
    await asyncio.to_thread(desk.simulator.step_to, "next_close")
    await desk.becomes(close, "filled")
    for symbol in ("AAPL", "MSFT"):
        await desk.market(symbol, "100.00", "100.02")

    async def shut() -> bool:
        # Not an order for the close: that one is too late before the session is over.
        wanted = {"symbol": "MSFT", "order_type": "limit", "limit_price": "100.05"}
        return await desk.preview(**wanted) == "SESSION_CLOSED"

    await eventually(shut, what="the risk manager knows of the close")
    # Not the price of the first order, which may be less than a duplicate's 2 s ago.
    dark = await desk.place(symbol="MSFT", order_type="limit", limit_price="100.05")
    assert dark["reject_reason"].startswith("SESSION_CLOSED")
    light = await desk.placed(
        "filled", symbol="MSFT", order_type="limit", limit_price="100.10", extended_hours=True
    )
    assert light["extended_hours"] is True
    await desk.books_equal()
    assert desk.held() == "0"


async def test_cancel_one_one_symbol_and_all(desk: OrderDesk) -> None:
    resting = {"order_type": "limit", "limit_price": "90"}
    orders = [
        await desk.placed("working", symbol=symbol, quantity=str(number), **resting)
        for number, symbol in enumerate(("AAPL", "AAPL", "KO", "MSFT"), start=1)
    ]
    answer = await desk.client.delete(f"/api/v1/orders/{orders[0]['id']}")
    assert answer.status_code == 202
    await desk.becomes(orders[0], "canceled")
    asked = (await desk.client.delete("/api/v1/orders?symbol=KO")).json()["items"]
    assert [one["id"] for one in asked] == [orders[2]["id"]]
    await desk.becomes(orders[2], "canceled")
    assert (await desk.order(uuid.UUID(orders[3]["id"])))["status"] == "working"
    asked = (await desk.client.delete("/api/v1/orders")).json()["items"]
    assert {one["id"] for one in asked} == {orders[1]["id"], orders[3]["id"]}
    for order in orders:
        await desk.becomes(order, "canceled")
        again = await desk.client.delete(f"/api/v1/orders/{order['id']}")
        assert (again.status_code, "canceled" in again.text) == (409, True)
    assert desk.held() == "0"
    await desk.books_equal()
