"""Orders whose answer never comes, comes late, or cannot be read."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.support.fault_stage import SYMBOLS, Stage

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

ORDERS: dict[str, str] = {"method": "POST", "path": "/v2/orders"}


@pytest.mark.parametrize("stream", ["mute", "heard"])
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("lost_answer", {}),
        ("error_after", {"status": 504}),
        ("error_after", {"status": 500}),
        ("garbled_answer", {"form": "truncated"}),
        ("garbled_answer", {"form": "html", "status": 404}),
        ("garbled_answer", {"form": "empty"}),
        ("garbled_answer", {"form": "short"}),
        ("garbled_answer", {"form": "object"}),
        ("garbled_answer", {"form": "list"}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
async def test_post_accepted_and_its_answer_lost(
    stage: Stage, kind: str, how: dict[str, Any], stream: str
) -> None:
    stage.simulator.fault(kind, **ORDERS, count=1, **how)
    if stream == "mute":
        stage.simulator.fault("missing", stream="trading")
    order = await stage.approve()
    await stage.until(order, "filled")
    if stream == "mute":
        assert "lose_outcome" in await stage.world.events(order)
    await stage.settled()
    assert len(stage.at_broker(order)) == 1


async def test_an_answer_later_than_our_patience(stage: Stage) -> None:
    stage.simulator.fault("latency", **ORDERS, count=1, seconds=2.0)
    order = await stage.approve()
    await stage.until(order, "filled")
    await stage.settled()


@pytest.mark.parametrize("kind", ["drop_request", "error_before"])
async def test_an_order_that_never_arrived_is_sent_once_more(stage: Stage, kind: str) -> None:
    stage.simulator.fault(kind, **ORDERS, count=1)
    order = await stage.approve()
    shown = await stage.until(order, "filled")
    events = await stage.world.events(order)
    assert events.index("resend") > events.index("lose_outcome")
    assert shown["client_order_id"].endswith("-2")
    await stage.settled()


async def test_an_order_that_never_arrives_is_given_up(stage: Stage) -> None:
    stage.simulator.fault("drop_request", **ORDERS)
    order = await stage.approve()
    shown = await stage.until(order, "denied", within_s=60)
    assert shown["reject_reason"].startswith("NEVER_ARRIVED")
    await stage.settled()


async def test_an_unknown_outcome_takes_no_new_risk_on_its_symbol(stage: Stage) -> None:
    stage.simulator.fault("drop_request", **ORDERS, count=1)
    lost = await stage.approve()
    await stage.until(lost, "outcome_unknown")
    same, other = await stage.approve(quantity="5"), await stage.approve(symbol="KO")
    await stage.until(other, "filled")
    assert (await stage.world.order(same))["status"] == "created"
    await stage.until(lost, "filled")
    await stage.until(same, "filled")
    await stage.settled()


async def test_a_look_up_that_meets_a_proxys_page_proves_nothing(stage: Stage) -> None:
    """A 404 that does not come from the broker is not the broker's word."""
    stage.simulator.fault("lost_answer", **ORDERS, count=1)
    stage.simulator.fault("missing", stream="trading")
    for path in ("/v2/orders:by_client_order_id", "/v2/orders"):
        stage.simulator.fault("garbled_answer", method="GET", path=path, form="html", status=404)
    order = await stage.approve()
    await stage.until(order, "outcome_unknown")
    await asyncio.sleep(1.5)  # longer than the settle time: absent, if a page were believed
    assert "resend" not in await stage.world.events(order)
    stage.simulator.clear_faults()
    await stage.until(order, "filled")
    await stage.settled()


async def test_a_storm_of_lost_answers(stage: Stage, seed: int) -> None:
    rng = random.Random(seed)
    for kind in ("lost_answer", "error_after", "garbled_answer", "drop_request", "error_before"):
        stage.simulator.fault(kind, **ORDERS, probability=0.12)
    stage.simulator.fault("missing", stream="trading", probability=0.3)
    orders = [
        await stage.approve(
            rng.choice(("buy", "sell")),
            str(rng.randrange(1, 30)),
            symbol=rng.choice(SYMBOLS),
            reducing=True,
        )
        for _ in range(20)
    ]
    for order in orders:
        await stage.until(order, "filled", "denied", "rejected", within_s=60)
    await stage.settled()
