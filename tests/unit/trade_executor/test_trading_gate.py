"""The kill switch at the wire: how old a reading may be, and who is heard."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import cast

import pytest

from libs.common.domain.vocabulary import TradingState
from libs.common.kernel.clock import ManualClock
from libs.common.kernel.errors import UnavailableError
from services.trade_executor.gate import Blocks, TradingGate
from services.trade_executor.ports import Books, Gate

NOON = dt.datetime(2022, 3, 1, 17, tzinfo=dt.UTC)


class Row:
    """The kill switch's row, and how often it was read."""

    def __init__(self) -> None:
        self.value: Gate | None = Gate(TradingState.ACTIVE, 1)
        self.reads = 0
        self.away = False

    async def gate(self) -> Gate | None:
        self.reads += 1
        await asyncio.sleep(0)
        if self.away:
            raise UnavailableError("away by test")
        return self.value


def made() -> tuple[TradingGate, Row, ManualClock]:
    row, clock = Row(), ManualClock(NOON)
    gate = TradingGate(cast(Books, row), clock, age_ms_max=20, heartbeat_s_max=15)
    return gate, row, clock


async def test_orders_that_ask_together_share_one_reading() -> None:
    gate, row, _ = made()
    await asyncio.gather(*(gate.current() for _ in range(50)))
    assert row.reads <= 2


async def test_a_reading_is_used_for_as_long_as_it_may() -> None:
    gate, row, clock = made()
    await gate.current()
    clock.advance(dt.timedelta(milliseconds=20))
    await gate.current()
    assert row.reads == 1
    clock.advance(dt.timedelta(milliseconds=1))
    row.value = Gate(TradingState.HALTED, 2)
    assert await gate.current() == Gate(TradingState.HALTED, 2)


async def test_a_foreseen_reading_serves_the_order_that_asks_soon_and_none_later() -> None:
    gate, row, clock = made()
    gate.foresee()
    gate.foresee()
    await asyncio.sleep(0)
    assert await gate.current() == Gate(TradingState.ACTIVE, 1)
    assert row.reads == 1
    clock.advance(dt.timedelta(milliseconds=21))
    row.value = Gate(TradingState.HALTED, 2)
    assert await gate.current() == Gate(TradingState.HALTED, 2)


async def test_a_foreseen_reading_that_failed_does_not_open_the_gate() -> None:
    gate, row, _ = made()
    row.away = True
    gate.foresee()
    with pytest.raises(UnavailableError):
        await gate.current()


async def test_an_alert_during_a_foreseen_reading_makes_it_old() -> None:
    gate, row, _ = made()
    gate.foresee()
    await asyncio.sleep(0)
    gate.invalidate()
    row.value = Gate(TradingState.HALTED, 2)
    assert await gate.current() == Gate(TradingState.HALTED, 2)


async def test_an_alert_makes_the_next_order_read() -> None:
    gate, row, _ = made()
    await gate.current()
    row.value = Gate(TradingState.HALTED, 2)
    gate.invalidate()
    assert await gate.current() == Gate(TradingState.HALTED, 2)


async def test_an_alert_during_a_reading_makes_that_reading_old() -> None:
    gate, row, _ = made()
    first = asyncio.create_task(gate.current())
    while row.reads == 0:  # noqa: ASYNC110 - until the reading is under way
        await asyncio.sleep(0)
    gate.invalidate()
    await first
    await gate.current()
    assert row.reads == 2


async def test_an_unreadable_switch_is_not_an_open_one() -> None:
    gate, row, clock = made()
    await gate.current()
    row.away = True
    clock.advance(dt.timedelta(seconds=1))
    with pytest.raises(UnavailableError):
        await gate.current()


async def test_the_risk_manager_is_alive_for_fifteen_seconds_after_a_heartbeat() -> None:
    gate, _, clock = made()
    assert not gate.risk_manager_alive
    gate.heard_risk_manager()
    clock.advance(dt.timedelta(seconds=15))
    assert gate.risk_manager_alive
    clock.advance(dt.timedelta(milliseconds=1))
    assert not gate.risk_manager_alive
    await gate.current()
    assert gate.effective_state is TradingState.REDUCING


async def test_a_blocked_symbol_waits_until_its_last_reason_is_gone() -> None:
    blocks = Blocks()
    blocks.block("KO", "a")
    blocks.block("KO", "b")
    waiting = asyncio.create_task(blocks.wait_clear("KO", 5))
    await asyncio.sleep(0)
    await blocks.clear("KO", "a")
    await asyncio.sleep(0)
    assert not waiting.done()
    await blocks.clear("KO", "b")
    assert await waiting
    assert await blocks.wait_clear("AAPL", 0)


async def test_a_block_of_the_account_blocks_every_symbol() -> None:
    blocks = Blocks()
    blocks.block("", "cash")
    assert blocks.reasons("KO") == {"cash"}
    assert not await blocks.wait_clear("KO", 0.01)


async def test_a_reading_that_came_with_another_statement_serves_for_as_long_as_its_own() -> None:
    gate, row, clock = made()
    gate.saw(gate.asking(), Gate(TradingState.ACTIVE, 1))
    clock.advance(dt.timedelta(milliseconds=20))
    assert await gate.current() == Gate(TradingState.ACTIVE, 1)
    assert row.reads == 0
    clock.advance(dt.timedelta(milliseconds=1))
    row.value = Gate(TradingState.HALTED, 2)
    assert await gate.current() == Gate(TradingState.HALTED, 2)


async def test_a_reading_from_before_an_alert_is_not_taken_when_it_comes_after_it() -> None:
    gate, row, _ = made()
    asking = gate.asking()
    gate.invalidate()
    gate.saw(asking, Gate(TradingState.ACTIVE, 1))
    row.value = Gate(TradingState.HALTED, 2)
    assert await gate.current() == Gate(TradingState.HALTED, 2)


async def test_an_older_reading_that_arrives_late_does_not_hide_a_newer_one() -> None:
    gate, row, clock = made()
    slow = gate.asking()
    clock.advance(dt.timedelta(milliseconds=1))
    gate.saw(gate.asking(), Gate(TradingState.HALTED, 2))
    gate.saw(slow, Gate(TradingState.ACTIVE, 1))
    assert await gate.current() == Gate(TradingState.HALTED, 2)
    assert row.reads == 0
