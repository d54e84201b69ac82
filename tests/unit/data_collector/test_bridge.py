"""The bridge under load: what is shed, in which order, and that bars never are."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.messages import Bar, Quote, TradeTick
from services.data_collector.bridge import Bridge, BridgeState


def quote(ts: int) -> Quote:
    return Quote(ts_event=ts, bid=10.0, ask=10.01)


def trade(ts: int) -> TradeTick:
    return TradeTick(ts_event=ts, price=10.0, size=1.0)


def bar(ts: int) -> Bar:
    return Bar(timeframe="1m", ts_event=ts, open=1, high=1, low=1, close=1, volume=1)


def bridge(capacity: int = 100) -> tuple[Bridge, list[BridgeState]]:
    states: list[BridgeState] = []
    return Bridge(capacity, lambda: 7, states.append), states


def test_state_follows_the_fill() -> None:
    queue, states = bridge()
    for i in range(80):
        queue.offer("A", trade(i))
    assert queue.state is BridgeState.NORMAL
    queue.offer("A", trade(80))
    assert queue.state is BridgeState.WARNING
    queue.take_now()
    assert states == [BridgeState.WARNING, BridgeState.NORMAL]


def test_critical_keeps_the_latest_quote_of_each_symbol_and_every_trade() -> None:
    queue, states = bridge()
    for i in range(40):
        queue.offer("A", quote(i))
        queue.offer("B", quote(i))
    for i in range(16):
        queue.offer("A", trade(i))
    assert BridgeState.CRITICAL in states
    assert queue.counts.quotes_conflated == 78
    arrivals = queue.take_now()
    assert [q.ts_event for q in arrivals["A"].quotes] == [39]
    assert [q.ts_event for q in arrivals["B"].quotes] == [39]
    assert len(arrivals["A"].trades) == 16


def test_trades_go_only_where_they_alone_fill_the_bridge() -> None:
    queue, _ = bridge()
    for i in range(96):
        queue.offer("A", trade(i))
    assert queue.counts.trades_conflated == 95
    assert [t.ts_event for t in queue.take_now()["A"].trades] == [95]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("qtb")), max_size=400),
    st.integers(10, 60),
)
def test_nothing_is_lost_uncounted_and_no_bar_is_lost_at_all(
    ticks: list[tuple[str, str]], capacity: int
) -> None:
    queue = Bridge(capacity, lambda: 0)
    make = {"q": quote, "t": trade, "b": bar}
    for i, (symbol, kind) in enumerate(ticks):
        queue.offer(symbol, make[kind](i))
    size = len(queue)
    arrivals = queue.take_now()
    kept = sum(len(a.quotes) + len(a.trades) + len(a.bars) for a in arrivals.values())
    shed = queue.counts.quotes_conflated + queue.counts.trades_conflated
    assert kept == size
    assert kept + shed == queue.counts.offered == len(ticks)
    assert sum(len(a.bars) for a in arrivals.values()) == sum(kind == "b" for _, kind in ticks)
    without_bars = kept - sum(len(a.bars) for a in arrivals.values())
    assert without_bars <= capacity


async def test_take_waits_for_the_first_tick() -> None:
    queue, _ = bridge()
    taking = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not taking.done()
    queue.offer("A", quote(1))
    arrivals = await asyncio.wait_for(taking, 1)
    assert arrivals["A"].received_ns == 7
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.take(), 0.01)
