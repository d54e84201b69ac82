"""How long ticks gather before the next flush."""

from __future__ import annotations

import asyncio

from libs.common.contracts.messages import Bar, Quote
from services.data_collector.bridge import Bridge

LONG_S = 60.0


def bar() -> Bar:
    return Bar(
        timeframe="1m", ts_event=0, open=1.0, high=1.0, low=1.0, close=1.0, volume=1.0, vwap=1.0,
        trades=1,
    )  # fmt: skip


def quote() -> Quote:
    return Quote(ts_event=0, bid=1.0, ask=1.1, bid_size=1.0, ask_size=1.0)


def made() -> Bridge:
    return Bridge(100, lambda: 0)


async def test_a_bar_ends_the_rest() -> None:
    bridge = made()
    resting = asyncio.create_task(bridge.rest(LONG_S))
    await asyncio.sleep(0)
    bridge.offer("KO", quote())
    await asyncio.sleep(0.01)
    assert not resting.done()
    bridge.offer("KO", bar())
    await asyncio.wait_for(resting, 5)


async def test_there_is_no_rest_while_a_bar_waits_and_one_again_when_it_is_taken() -> None:
    bridge = made()
    bridge.offer("KO", bar())
    await asyncio.wait_for(bridge.rest(LONG_S), 5)
    assert len(bridge.take_now()["KO"].bars) == 1
    resting = asyncio.create_task(bridge.rest(LONG_S))
    await asyncio.sleep(0.01)
    assert not resting.done()
    resting.cancel()


async def test_a_rest_ends_by_itself() -> None:
    await asyncio.wait_for(made().rest(0.001), 5)
