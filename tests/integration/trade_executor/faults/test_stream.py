"""A stream that repeats itself, comes late or out of order, leaves out, falls silent, breaks off,
or says what nobody can read."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import Any

import pytest

from tests.support.fault_stage import SYMBOLS, Stage
from tests.support.runtimes import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def in_parts(stage: Stage, rng: random.Random) -> list[uuid.UUID]:
    """Send limit orders that fill bit by bit; return them once the market has given all."""
    for symbol in SYMBOLS:
        stage.simulator.quote(symbol, "100.00", "100.02", ask_size=3)
    orders = [
        await stage.approve(quantity=str(rng.randrange(4, 12)), symbol=symbol, limit="101")
        for symbol in SYMBOLS
        for _ in range(2)
    ]
    for order in orders:
        await stage.until(order, "working", "partially_filled", "filled")
    for cents in range(3, 12):
        for symbol in SYMBOLS:
            stage.simulator.quote(symbol, "100.00", f"100.{cents:02}", ask_size=3)
    return orders


@pytest.mark.parametrize("kind", ["duplicate", "reorder", "delay", "missing"])
async def test_events_repeated_reordered_late_or_missing(
    stage: Stage, seed: int, kind: str
) -> None:
    stage.simulator.fault(kind, stream="trading", probability=0.5, seconds=0.1, seconds_max=0.8)
    for order in await in_parts(stage, random.Random(seed)):
        await stage.until(order, "filled")
    await stage.settled()


async def test_events_of_every_sort_at_once(stage: Stage, seed: int) -> None:
    for kind in ("duplicate", "reorder", "delay", "missing", "garbled_frame"):
        stage.simulator.fault(kind, stream="trading", probability=0.2, seconds_max=0.6)
    for order in await in_parts(stage, random.Random(seed)):
        await stage.until(order, "filled")
    await stage.settled()


async def test_a_mute_stream_is_noticed(stage: Stage) -> None:
    stage.simulator.fault("mute", stream="trading")
    await asyncio.sleep(2.2)  # longer than a quiet stream is trusted
    orders = [await stage.approve(symbol=symbol) for symbol in SYMBOLS]
    for order in orders:
        await stage.until(order, "filled")

    async def distrusted() -> bool:
        lines = (await stage.world.client.get("/metrics")).text.splitlines()
        told = [line for line in lines if line.startswith("broker_stream_mute_total")]
        return float(told[0].split()[1]) >= 1

    await eventually(distrusted, what="the stream's silence noticed")
    await stage.settled()


async def test_a_dropped_stream_is_reconnected_and_caught_up(stage: Stage, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(3):
        orders = [await stage.approve(symbol=rng.choice(SYMBOLS)) for _ in range(4)]
        stage.simulator.disconnect("trading")
        for order in orders:
            await stage.until(order, "filled")
    await stage.settled()


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("unknown_status", {"count": 6}),
        ("unknown_field", {}),
        ("missing_field", {"probability": 0.5}),
        ("missing_field", {"field": "filled_qty"}),
        ("missing_field", {"field": "id", "probability": 0.5}),
        ("wrong_field", {"field": "filled_qty", "value": "NaN", "probability": 0.5}),
        ("wrong_field", {"field": "status", "value": 7, "probability": 0.5}),
        ("wrong_field", {"field": "side", "value": "sideways", "probability": 0.5}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
async def test_unknown_words_and_missing_fields(
    stage: Stage, kind: str, how: dict[str, Any]
) -> None:
    stage.simulator.fault(kind, **how)
    orders = [await stage.approve(symbol=symbol) for symbol in SYMBOLS]
    await asyncio.sleep(0.5)
    stage.simulator.clear_faults()
    for order in orders:
        await stage.until(order, "filled")
    await stage.settled()
