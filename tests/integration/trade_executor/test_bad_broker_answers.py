"""The executor against a broker that talks rubbish: every sort of answer and frame that nobody can
read. After each: nothing lost, doubled or mispriced; the service and the stream task live on; what
came is counted and put aside."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.executor_orders import approval, spec
from tests.support.executor_world import World, executor_world
from tests.support.runtimes import eventually
from tests.support.simulator import Simulator, start_simulator

ANSWERS: list[dict[str, Any]] = [
    {"form": "truncated"}, {"form": "html"}, {"form": "html", "status": 502},
    {"form": "html", "status": 403}, {"form": "empty"}, {"form": "list"}, {"form": "object"},
    {"form": "number"}, {"form": "null"}, {"form": "deep"}, {"form": "rubbish"},
    {"form": "short"}, {"form": "huge", "size": 50_000_000}, {"form": "trickle", "seconds": 0.05},
]  # fmt: skip
FRAMES: list[dict[str, Any]] = [
    {"form": form}
    for form in (
        "truncated", "html", "empty", "list", "object", "number", "string", "null", "deep",
        "rubbish",
    )
] + [{"form": "huge", "size": 6_000_000}]  # fmt: skip
FIELDS: list[tuple[str, str, Any]] = [
    ("update", "qty", None), ("update", "qty", "-1"), ("update", "price", []),
    ("update", "price", "NaN"), ("update", "execution_id", {}), ("update", "timestamp", "soon"),
    ("update", "order", 5), ("update", "event", ["fill"]), ("order", "side", "up"),
    ("order", "filled_qty", "1e99"), ("order", "symbol", None), ("order", "legs", "none"),
]  # fmt: skip


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        running.quote("AAPL", "100.00", "100.02", 10_000_000, 10_000_000)
        yield running


@pytest.fixture
async def world(simulator: Simulator, database_url: str, redis_url: str) -> AsyncIterator[World]:
    async with executor_world(
        simulator, database_url, redis_url, broker_answer_s_max=1.0, broker_failures_max=1000
    ) as running:
        yield running


async def figure(world: World, name: str) -> float:
    lines = (await world.client.get("/metrics")).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


async def put_aside(world: World) -> list[dict[str, Any]]:
    answer = await world.client.get("/api/v1/orders/quarantine", params={"limit": 500})
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_an_unreadable_answer_to_an_order_is_looked_up(world: World) -> None:
    for how in ANSWERS:
        world.simulator.fault("garbled_answer", method="POST", path="/v2/orders", count=1, **how)
        world.simulator.fault("mute", stream="trading", count=3)  # else the stream tells first
        order = approval(spec("buy", "2"), generation=1)
        await world.send(order)
        await world.until(order.order_id, "filled", within_s=60)
        lost = "lose_outcome" in await world.events(order.order_id)
        # A comparison of the orders may find it before an endless answer is given up.
        assert lost or how["form"] == "trickle", how
        world.simulator.clear_faults()
    await world.books_equal(within_s=60)
    assert len(world.simulator.ledger()["orders"]) == len(ANSWERS)
    items: list[dict[str, Any]] = []

    async def kept() -> bool:
        items[:] = [one for one in await put_aside(world) if one["call"] == "submit"]
        return len(items) == len(ANSWERS)

    await eventually(kept, what="answers put aside")
    assert all(len(one["body"]) <= 4 * 65_536 for one in items)
    assert {one["status"] for one in items} == {200, 502, 403}


async def test_unreadable_answers_to_everything_that_is_asked(world: World) -> None:
    before = await figure(world, "broker_answers_unreadable_total")
    for how in ANSWERS:
        world.simulator.fault("garbled_answer", method="GET", path="/v2/*", count=4, **how)
        world.simulator.disconnect("trading")  # the next connection begins with a comparison
        order = approval(spec("buy", "1"), generation=1)
        await world.send(order)
        await world.until(order.order_id, "filled", within_s=60)
    world.simulator.clear_faults()
    await world.books_equal(within_s=60)
    assert len(world.simulator.ledger()["orders"]) == len(ANSWERS)
    assert await figure(world, "broker_answers_unreadable_total") >= before + 10
    assert (await world.client.get("/health")).status_code == 200
    await eventually(lambda: _ready(world), within_s=60, what="ready again")


async def _ready(world: World) -> bool:
    return (await world.client.get("/ready")).status_code == 200


async def test_an_unreadable_answer_to_a_cancel_is_asked_again(world: World) -> None:
    for how in ({"form": "html", "status": 404}, {"form": "truncated"}, {"form": "short"}):
        order = approval(spec("buy", "1", limit="50"), generation=1)
        await world.send(order)
        await world.until(order.order_id, "working")
        world.simulator.fault("garbled_answer", method="DELETE", path="/v2/*", count=1, **how)
        await world.client.delete(f"/api/v1/orders/{order.order_id}")
        await world.until(order.order_id, "canceled", within_s=60)
    await world.books_equal()


async def test_unreadable_frames_lose_nothing(world: World) -> None:
    before = await figure(world, "broker_stream_unreadable_total")
    for how in FRAMES:
        world.simulator.fault("garbled_frame", event="fill", count=1, **how)
        order = approval(spec("buy", "3"), generation=1)
        await world.send(order)
        await world.until(order.order_id, "filled", within_s=60)
        world.simulator.clear_faults()
    await world.books_equal(within_s=60)
    # An object without a known field is a message of another stream: not ours, not wrong.
    assert await figure(world, "broker_stream_unreadable_total") == before + len(FRAMES) - 1
    order = approval(spec("buy", "1"), generation=1)
    begun = time.monotonic()
    await world.send(order)
    await world.until(order.order_id, "filled")
    assert time.monotonic() - begun < 10
    await world.books_equal()


async def test_wrong_fields_in_events_lose_and_misprice_nothing(world: World) -> None:
    before = await figure(world, "broker_stream_unreadable_total")
    for what, field, value in FIELDS:
        event = "fill" if what == "update" else "filled"
        world.simulator.fault(
            "wrong_field", object=what, event=event, field=field, value=value, count=1
        )
        order = approval(spec("buy", "3"), generation=1)
        await world.send(order)
        await world.until(order.order_id, "filled", within_s=60)
        world.simulator.clear_faults()
    await world.books_equal(within_s=60)
    assert await figure(world, "broker_stream_unreadable_total") > before + len(FIELDS) // 2

    async def kept() -> bool:
        reasons = [one["reason"] for one in await put_aside(world) if one["source"] == "stream"]
        return any(reason.startswith("update.price: expected a number") for reason in reasons)

    await eventually(kept, what="frames put aside")


async def test_quarantine_is_read_page_by_page(world: World) -> None:
    world.simulator.fault("garbled_frame", event="new", form="number")
    for _ in range(3):
        order = approval(spec("buy", "1"), generation=1)
        await world.send(order)
        await world.until(order.order_id, "filled")

    async def kept() -> bool:
        return len(await put_aside(world)) >= 3

    await eventually(kept, what="three frames put aside")
    page = (await world.client.get("/api/v1/orders/quarantine?limit=2")).json()
    assert [one["body"] for one in page["items"]] == ["42", "42"]
    rest = await world.client.get(f"/api/v1/orders/quarantine?limit=500&after={page['next']}")
    assert all(one["seq"] < page["items"][1]["seq"] for one in rest.json()["items"])
    assert page["items"][0]["reason"].startswith("not a JSON object")
    assert (page["items"][0]["source"], page["items"][0]["size"]) == ("stream", 2)
    for bad in ("x", "-1", "9" * 40):
        answer = await world.client.get("/api/v1/orders/quarantine", params={"after": bad})
        assert answer.status_code == 422
