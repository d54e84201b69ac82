"""Groups and ends that the venue decides: what the books make of them. Whether a position stays
protected meanwhile is another matter, and another page."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest

from libs.common.domain.vocabulary import OrderClass
from tests.support.fault_stage import Stage
from tests.support.strict_books import Expected

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXITS = {
    "order_class": OrderClass.BRACKET,
    "take_profit_limit_price": Decimal(110),
    "stop_loss_stop_price": Decimal(90),
}


async def legs_of(stage: Stage, order: uuid.UUID) -> list[tuple[str, str]]:
    return [
        (kind, status)
        for kind, status in stage.rows(
            "SELECT order_type, status FROM orders WHERE parent_id = %s ORDER BY 1", order
        )
    ]


async def test_partial_entry_of_a_bracket(stage: Stage) -> None:
    stage.simulator.quote("AAPL", "98.98", "99", ask_size=4)
    entry = await stage.approve(symbol="AAPL", limit="99", **EXITS)
    await stage.until(entry, "partially_filled")
    await stage.settled()
    assert {status for _, status in await legs_of(stage, entry)} == {"held"}
    await stage.cancel(entry)
    await stage.until(entry, "canceled")
    await stage.settled()


async def test_both_oco_legs_fill(stage: Stage) -> None:
    """What the venue did is booked, however odd: the position is then the venue's, short."""
    entry = await stage.approve(symbol="KO", **EXITS)
    await stage.until(entry, "filled")
    stage.simulator.behave(oco_leak=True)
    stage.simulator.quote("KO", "111.00", "111.02")
    stage.simulator.quote("KO", "88.98", "89.00")
    stage.simulator.trade("KO", "89.00")
    await stage.settled()
    assert {status for _, status in await legs_of(stage, entry)} == {"filled"}


async def test_day_exits_expire(stage: Stage) -> None:
    entry = await stage.approve(symbol="MSFT", **EXITS)
    await stage.until(entry, "filled")
    stage.simulator.step_to("next_close")
    stage.simulator.step(60)
    await stage.settled(Expected())
    assert "working" not in {status for _, status in await legs_of(stage, entry)}
