"""Protection coverage over real sockets: what was to be guarded has its exits, or it is told."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest

from libs.common.domain.vocabulary import Side
from services.trade_executor.protection_store import Protection, ProtectionStore
from tests.support.order_desk import OrderDesk, order_desk
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator, start_simulator
from tests.support.tokens import AS_OPERATOR

PATH = "/api/v1/orders/protection"
EXITS = {"take_profit": {"limit_price": "110"}, "stop_loss": {"stop_price": "90"}}
QUICK = {"protection_look_s": 0.2, "protection_entry_s": 0.5, "protection_naked_s": 1.5}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        yield running


@pytest.fixture
async def desk(simulator: Simulator, database_url: str, redis_url: str) -> AsyncIterator[OrderDesk]:
    async with order_desk(simulator, database_url, redis_url, **QUICK) as running:
        yield running


async def protections(desk: OrderDesk) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await desk.client.get(PATH)).json()["items"]
    return items


async def guarded(desk: OrderDesk, active: str, stop_price: str = "90") -> dict[str, Any]:
    """Wait until the one protection is whole, with so many shares."""
    seen: dict[str, Any] = {}

    async def whole() -> bool:
        found = await protections(desk)
        seen.clear()
        seen.update(found[0] if found else {})
        return (seen.get("active"), seen.get("missing"), seen.get("stop_price")) == (
            active, "0", stop_price,
        )  # fmt: skip

    try:
        await eventually(whole, within_s=60, what=f"{active} guarded")
    except AssertionError as error:
        orders = await listed(desk)
        raise AssertionError(f"{error}: {seen}\n" + "\n".join(map(str, orders))) from error
    return seen


async def listed(desk: OrderDesk) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await desk.client.get("/api/v1/orders?limit=100")).json()[
        "items"
    ]
    return items


async def stops(desk: OrderDesk) -> list[dict[str, Any]]:
    """The stops that are at work; outside the session a pair's stop is held by its sibling."""
    live = {"submitted", "accepted", "working", "held"}
    found = [one for one in await listed(desk) if one["stop_price"] and one["status"] in live]
    return [one for one in found if one["order_class"] != "bracket" or one["parent_id"]]


async def protect(desk: OrderDesk, **fields: Any) -> httpx.Response:
    body = {"symbol": "AAPL", "stop_price": "90", **fields}
    return await desk.client.post(PATH, json=body, headers={"Idempotency-Key": uuid.uuid4().hex})


def at_broker(desk: OrderDesk, side: str = "sell") -> list[Any]:
    """What the broker has open on one side, by quantity."""
    rows = desk.simulator.get("/v2/orders", status="open", limit=500)
    return sorted(row["qty"] for row in rows if row["side"] == side)


async def test_a_partly_filled_entry_is_guarded_and_its_rest_cancelled(desk: OrderDesk) -> None:
    desk.simulator.quote("AAPL", "100.00", "100.02", ask_size=4)
    entry = await desk.place(
        order_type="limit", limit_price="100.02", order_class="bracket", time_in_force="gtc",
        **EXITS,
    )  # fmt: skip
    entry = await desk.becomes(entry, "canceled")
    assert entry["filled_quantity"] == "4"
    assert "protection: partly filled" in str(
        desk.rows("SELECT reason FROM order_events WHERE event = 'ask_cancel'")
    )
    await guarded(desk, "4")
    (stop,) = await stops(desk)
    assert (stop["quantity"], stop["protective"]) == ("4", True)
    await desk.market("AAPL", "89.00", "89.10")

    async def done() -> bool:
        return await protections(desk) == []

    await eventually(done, what="the end of the protection")
    await desk.books_equal()


async def test_a_complete_bracket_guards_itself_until_its_day_exits_expire(desk: OrderDesk) -> None:
    await desk.placed("filled", order_class="bracket", time_in_force="day", **EXITS)
    await guarded(desk, "10")
    orders = len(await listed(desk))
    await asyncio.sleep(1)
    assert len(await listed(desk)) == orders == 3
    await asyncio.to_thread(desk.simulator.step_to, "next_close")
    await asyncio.to_thread(desk.simulator.step, 5)

    async def anew() -> bool:
        return any(one["time_in_force"] == "gtc" for one in await stops(desk))

    await eventually(anew, within_s=60, what="exits that outlive the day")
    await guarded(desk, "10")


async def test_an_exit_that_somebody_cancels_at_the_broker_is_put_back_once(
    desk: OrderDesk,
) -> None:
    await desk.placed("filled")
    answer = await protect(desk, take_profit_price="110")
    assert answer.status_code == 201
    await guarded(desk, "10")
    (stop,) = await stops(desk)
    assert desk.simulator.request("DELETE", f"/v2/orders/{stop['broker_order_id']}").is_success

    async def another() -> bool:
        found = await stops(desk)
        return len(found) == 1 and found[0]["id"] != stop["id"]

    await eventually(another, what="another stop")
    await guarded(desk, "10")
    assert at_broker(desk) == ["10", "10"]  # the pair


async def test_a_kill_switch_does_not_stop_exits(desk: OrderDesk) -> None:
    await desk.placed("filled")
    await protect(desk)
    await guarded(desk, "10")
    async with httpx.AsyncClient(base_url=desk.risk_url, auth=AS_OPERATOR, trust_env=False) as risk:
        answer = await risk.post("/api/v1/risk/halt", json={"reason": "by test"})
        assert answer.is_success
    await asyncio.sleep(0.5)
    assert at_broker(desk) == ["10"]
    desk.simulator.request("DELETE", "/v2/orders")
    await eventually(lambda: at_broker(desk) == [], what="no exit")
    await eventually(lambda: at_broker(desk) == ["10"], within_s=60, what="an exit again")


async def test_shares_that_cannot_be_guarded_are_told_once_and_told_as_mended(
    desk: OrderDesk,
) -> None:
    await desk.placed("filled")
    desk.simulator.fault("error_before", method="POST", path="/v2/orders", status=403)
    await protect(desk)

    def told() -> list[Any]:
        return desk.rows("SELECT symbol, theirs, resolved_at IS NULL FROM discrepancies"
                         " WHERE kind = 'naked'")  # fmt: skip

    await eventually(lambda: told() == [("AAPL", "10", True)], what="a word about it")
    assert "naked" in desk.executor.blocks.reasons("AAPL")
    desk.simulator.clear_faults()
    await eventually(lambda: told() == [("AAPL", "10", False)], within_s=60, what="mended")
    await eventually(
        lambda: "naked" not in desk.executor.blocks.reasons("AAPL"), what="no block any more"
    )
    assert at_broker(desk) == ["10"]


async def test_both_exits_that_trade_are_given_back(desk: OrderDesk) -> None:
    await desk.placed("filled")
    await protect(desk, take_profit_price="110")
    await guarded(desk, "10")
    desk.simulator.behave(oco_leak=True)
    await desk.market("AAPL", "111.00", "111.10")
    await desk.market("AAPL", "89.00", "89.10")

    async def flat() -> bool:
        orders = await listed(desk)
        sold = [one for one in orders if one["side"] == "sell" and one["status"] == "filled"]
        back = [one for one in orders if one["side"] == "buy" and one["status"] == "filled"]
        return (len(sold), len(back)) == (2, 2)

    await eventually(flat, within_s=60, what="the excess bought back")
    await desk.books_equal()
    assert desk.rows("SELECT quantity FROM portfolio_positions WHERE quantity <> 0") == []
    kinds = [row[0] for row in desk.rows("SELECT kind FROM discrepancies")]
    assert "anomaly:both_exits_filled" in kinds


async def test_a_split_moves_the_stop_with_the_exits(desk: OrderDesk) -> None:
    await desk.placed("filled", order_class="bracket", time_in_force="gtc", **EXITS)
    await guarded(desk, "10")
    desk.simulator.step(1)
    split = {"kind": "split", "symbol": "AAPL", "ratio": "2"}
    desk.simulator.control("market", {"actions": [split]})

    async def moved() -> bool:
        found = await protections(desk)
        return [(one["stop_price"], one["take_profit_price"]) for one in found] == [("45", "55")]

    await eventually(moved, what="the stop at half the price")
    assert at_broker(desk) == ["20", "20"]
    # What was bought before the split is twice as many shares, also when its exits are gone.
    await desk.market("AAPL", "50.00", "50.02")
    desk.simulator.request("DELETE", "/v2/orders")
    await eventually(lambda: at_broker(desk) == [], what="no exit")
    await eventually(lambda: at_broker(desk) == ["20", "20"], within_s=60, what="exits again")
    await guarded(desk, "20", "45")


async def test_exits_that_a_split_ended_come_back_once_at_other_prices(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    split = {"kind": "split", "symbol": "AAPL", "ratio": "2", "cancel_orders": True}
    async with order_desk(simulator, database_url, redis_url, **QUICK) as desk:
        await desk.placed("filled", order_class="bracket", time_in_force="gtc", **EXITS)
        await guarded(desk, "10")
        simulator.step(1)
        simulator.control("market", {"actions": [split]})
        await desk.market("AAPL", "50.00", "50.02")
        await guarded(desk, "20", "45")
        assert at_broker(desk) == ["20", "20"]
    # A reverse split while nobody looks.
    simulator.step(1)
    simulator.control("market", {"actions": [{**split, "ratio": "0.5"}]})
    async with order_desk(simulator, database_url, redis_url, **QUICK) as desk:
        await desk.market("AAPL", "100.00", "100.02")
        await guarded(desk, "10", "90")
        assert at_broker(desk) == ["10", "10"]
        (one,) = await protections(desk)
        assert one["take_profit_price"] == "110"
    # Begun anew, it is not done again.
    async with order_desk(simulator, database_url, redis_url, **QUICK) as desk:
        await guarded(desk, "10", "90")
        await asyncio.sleep(0.5)
        assert at_broker(desk) == ["10", "10"]
        assert [one["stop_price"] for one in await protections(desk)] == ["90"]
        await desk.books_equal()


async def test_a_split_changes_the_prices_that_were_meant_before_it_and_those_once(
    desk: OrderDesk,
) -> None:
    await desk.placed("filled")
    await desk.placed("filled", quantity="6")
    taken_back = desk.simulator.ledger()["executions"][-1]["execution_id"]
    desk.simulator.step(1)
    split = {"kind": "split", "symbol": "AAPL", "ratio": "2"}
    desk.simulator.control("market", {"actions": [split]})
    took_effect = "SELECT effective_at FROM position_changes WHERE kind = 'split'"
    await eventually(lambda: len(desk.rows(took_effect)) == 1, what="the split booked")
    ((effective_at,),) = desk.rows(took_effect)
    # Taken back later (told as the venue would): it was held when the shares were split.
    desk.rows(
        "INSERT INTO trade_reversals (broker, execution_id, id, trade_id, order_id, account_id,"
        " symbol, kind, reversed_at, realized_pnl, correlation_id)"
        " SELECT broker, execution_id, gen_random_uuid(), id, order_id, account_id, symbol, 'bust',"
        " %s, 0, correlation_id FROM trades WHERE execution_id = %s RETURNING 1",
        effective_at + dt.timedelta(seconds=1),
        taken_back,
    )
    store = ProtectionStore(desk.app.state.runtime, "main")
    before = Protection(
        id=uuid.uuid4(), symbol="KO", side=Side.SELL, quantity=None, stop_price=Decimal(90),
        take_profit_price=None, entry_id=None, actor="test", seq=0,
        terms_at=effective_at, priced_at=effective_at - dt.timedelta(milliseconds=1),
    )  # fmt: skip
    await store.add(before)  # of another symbol, so that nobody else looks after it
    since = await store.split_since(replace(before, symbol="AAPL"))
    assert since is not None
    assert (since.split.shares(Decimal(10)), since.effective_at) == (Decimal(20), effective_at)
    # Booked later than it was asked for, but meant at the new price.
    asked_after = replace(before, symbol="AAPL", priced_at=effective_at)
    assert await store.split_since(asked_after) is None
    priced = await store.reprice(
        before, Decimal(45), None, None, priced_at=since.effective_at
    )  # fmt: skip
    assert await store.split_since(replace(priced, symbol="AAPL")) is None


async def test_an_amended_exit_gives_the_protection_its_price(desk: OrderDesk) -> None:
    await desk.placed("filled")
    await protect(desk)
    await guarded(desk, "10")
    (stop,) = await stops(desk)
    answer = await desk.amend(stop, stop_price="91")
    assert answer.status_code < 300, answer.text
    await guarded(desk, "10", "91")
    assert at_broker(desk) == ["10"]


async def test_a_person_who_cancels_an_exit_withdraws_the_wish(desk: OrderDesk) -> None:
    await desk.placed("filled")
    await protect(desk)
    await guarded(desk, "10")
    (stop,) = await stops(desk)
    assert (await desk.client.delete(f"/api/v1/orders/{stop['id']}")).status_code == 202

    async def withdrawn() -> bool:
        return await protections(desk) == []

    await eventually(withdrawn, what="no protection")
    await asyncio.sleep(0.6)
    assert at_broker(desk) == []


async def test_an_executor_killed_between_counting_and_sending_sends_once(
    simulator: Simulator, database_url: str, redis_url: str
) -> None:
    async with order_desk(simulator, database_url, redis_url, **QUICK) as desk:
        await desk.placed("filled")
        await protect(desk)
        await guarded(desk, "10")
    simulator.request("DELETE", "/v2/orders")
    # What a process that died after counting, and before sending, leaves behind.
    async with order_desk(simulator, database_url, redis_url, protection_look_s=60.0) as desk:
        desk.rows("UPDATE protections SET seq = seq + 1 RETURNING seq")
    async with order_desk(simulator, database_url, redis_url, **QUICK) as desk:
        await guarded(desk, "10")
        assert at_broker(desk) == ["10"]
        await desk.books_equal()


async def test_a_protection_is_given_up_by_request(desk: OrderDesk) -> None:
    assert (await protect(desk, symbol="KO")).status_code == 409  # nothing there to protect
    await desk.placed("filled")
    one = (await protect(desk)).json()
    await guarded(desk, "10")
    answer = await desk.client.delete(f"{PATH}/{one['id']}")
    assert answer.status_code == 202
    await eventually(lambda: at_broker(desk) == [], what="no exit")
    assert (await desk.client.delete(f"{PATH}/{one['id']}")).status_code == 409
    assert (await desk.client.delete(f"{PATH}/{uuid.uuid4()}")).status_code == 404
    for wrong in ({"stop_price": "0"}, {"take_profit_price": "80"}, {"more": "1"}, {"symbol": ""}):
        assert (await protect(desk, **wrong)).status_code in {400, 422}, wrong
