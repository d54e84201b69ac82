"""Decisions at the wire, holds, differences: pure, by hand."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace
from decimal import Decimal

import pytest

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderType, Side, TradingState
from libs.common.kernel.ids import BrokerOrderId, Symbol
from services.trade_executor.logic import (
    Suspects,
    hold_for,
    news_of,
    position_differences,
    refusal_at_the_wire,
)
from services.trade_executor.model import BrokerOrder, Order, order_of
from services.trade_executor.ports import Gate
from tests.support.executor_orders import NOON, approval, spec

D = Decimal
ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED


def order(**fields: object) -> Order:
    made = order_of(
        approval(spec("buy", "100"), generation=3),
        broker="alpaca",
        correlation_id=uuid.uuid4(),
        now=NOON,
    )
    return replace(made, expires_at=NOON + dt.timedelta(seconds=30), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "gate", "alive", "code"),
    [
        ({}, Gate(ACTIVE, 3), True, None),
        ({}, None, True, "TRADING_STATE_UNKNOWN"),
        ({}, Gate(ACTIVE, 4), True, "GENERATION_OLD"),
        ({}, Gate(HALTED, 3), True, "TRADING_HALTED"),
        ({}, Gate(REDUCING, 3), True, "TRADING_REDUCING"),
        ({}, Gate(ACTIVE, 3), False, "RISK_MANAGER_SILENT"),
        ({"reducing": True}, Gate(REDUCING, 3), False, None),
        ({"reducing": True}, Gate(HALTED, 3), True, "TRADING_HALTED"),
        ({"reducing": True}, Gate(ACTIVE, 4), True, "GENERATION_OLD"),
        ({"protective": True}, Gate(HALTED, 9), False, None),
        ({"protective": True}, None, False, None),
    ],
)
def test_what_may_leave(
    fields: dict[str, bool], gate: Gate | None, alive: bool, code: str | None
) -> None:
    refusal = refusal_at_the_wire(order(**fields), gate, now=NOON, risk_manager_alive=alive)
    assert (refusal and refusal.code) == code


def test_an_approval_that_has_run_out_never_leaves() -> None:
    late = NOON + dt.timedelta(seconds=30)
    made = order(protective=True)
    refusal = refusal_at_the_wire(made, Gate(ACTIVE, 3), now=late, risk_manager_alive=True)
    assert refusal is not None
    assert refusal.code == "APPROVAL_EXPIRED"


def test_a_stop_buy_holds_what_its_trigger_may_cost() -> None:
    stop = OrderSpec(
        symbol="AAPL",
        side=Side.BUY,
        order_type=OrderType.STOP,
        quantity=D(10),
        stop_price=D(12),
    )
    held = hold_for(order(spec=stop), D(10), D("0.05"))
    assert held is not None
    assert held.amount == D("126.0000")


def found(event: OrderEvent, filled: str) -> BrokerOrder:
    return BrokerOrder(
        broker_order_id=BrokerOrderId("b"),
        client_order_id="c",
        symbol=Symbol("AAPL"),
        side=spec().side,
        event=event,
        status_word=event,
        spec=spec(),
        filled_quantity=D(filled),
    )


@pytest.mark.parametrize(
    ("event", "filled", "expected"),
    [
        (OrderEvent.FILLED, "100", OrderEvent.ACKNOWLEDGED),
        (OrderEvent.FILLED, "0", OrderEvent.FILLED),
        (OrderEvent.CANCELED, "0", OrderEvent.CANCELED),
        (OrderEvent.CANCELED, "40", OrderEvent.ACKNOWLEDGED),
        (OrderEvent.UNRECOGNISED, "0", OrderEvent.ACKNOWLEDGED),
        (OrderEvent.WORKING, "0", OrderEvent.WORKING),
    ],
)
def test_a_look_up_is_news_only_as_far_as_executions_are_booked(
    event: OrderEvent, filled: str, expected: OrderEvent
) -> None:
    assert news_of(found(event, filled), order()) is expected


def test_one_look_proves_nothing_the_same_look_later_does() -> None:
    suspects = Suspects(settle_s=5)
    assert suspects.judge("position", {"KO": D(3)}, 0.0) == (set(), True)
    assert suspects.judge("position", {"KO": D(3)}, 4.9) == (set(), True)
    assert suspects.judge("position", {"KO": D(3)}, 5.0) == ({"KO"}, False)


def test_a_difference_that_moves_begins_anew() -> None:
    suspects = Suspects(settle_s=5)
    suspects.judge("cash", {"": D(3)}, 0.0)
    assert suspects.judge("cash", {"": D(4)}, 6.0) == (set(), True)
    assert suspects.judge("cash", {}, 7.0) == (set(), False)
    assert suspects.judge("cash", {"": D(4)}, 12.0) == (set(), True)


def test_positions_differ_by_what_either_side_lacks() -> None:
    ours = {Symbol("AAPL"): D(10), Symbol("KO"): D(5)}
    theirs = {Symbol("AAPL"): D(10), Symbol("MSFT"): D(-2)}
    assert position_differences(ours, theirs) == {"KO": D(-5), "MSFT": D(-2)}
