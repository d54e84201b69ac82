"""What an amendment makes of an order, on paper."""

from __future__ import annotations

import uuid
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from libs.common.domain.vocabulary import OrderClass, OrderStatus, OrderType, TimeInForce
from libs.common.kernel.errors import ConflictError, InvalidInputError
from libs.common.kernel.ids import BrokerOrderId, OrderId
from services.trade_executor.amending import AmendFields, amended, fields_of, require_replaceable
from services.trade_executor.logic import heir_of
from services.trade_executor.model import Change, Order, Succession, order_of
from tests.support.executor_orders import NOON, approval, spec

D = Decimal


def order(**changes: Any) -> Order:
    wanted = approval(spec("buy", "100", limit="90"))
    made = order_of(wanted, broker="alpaca", correlation_id=uuid.uuid4(), now=NOON)
    standing = {
        "status": OrderStatus.WORKING,
        "filled_quantity": D(30),
        "broker_order_id": BrokerOrderId("b-1"),
        **changes,
    }
    return replace(made, **standing)


def test_a_quantity_is_the_total_and_what_is_left_is_judged() -> None:
    new, total, change = amended(order(), AmendFields(quantity=D(80)))
    assert (new.quantity, total) == (50, 80)
    assert change == Change(quantity=D(80), limit_price=D(90))


def test_only_what_changes_is_told_but_for_prices() -> None:
    new, total, change = amended(
        order(), AmendFields(quantity=D(100), time_in_force=TimeInForce.GTC)
    )
    assert (new.quantity, new.time_in_force, total) == (70, TimeInForce.GTC, 100)
    assert change == Change(limit_price=D(90), time_in_force=TimeInForce.GTC)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "nothing to change"),
        ({"quantity": "100", "limit_price": "90.000"}, "nothing to change"),
        ({"quantity": "30"}, "quantity: 30 is not more than the 30 executed"),
        ({"quantity": "50.5"}, "quantity: the broker amends to whole shares"),
        ({"stop_price": "1"}, "stop_price: a limit order has none"),
        ({"trail": "1"}, "trail: a limit order has none"),
    ],
)
def test_what_does_not_fit_is_named(fields: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        amended(order(), AmendFields.model_validate(fields))


def test_a_trail_keeps_its_unit() -> None:
    trailing = structs.replace(
        spec("sell", "10"), order_type=OrderType.TRAILING_STOP, trail_percent=D("1.5")
    )
    new, _, change = amended(order(spec=trailing, filled_quantity=D(0)), AmendFields(trail=D(2)))
    assert (new.trail_percent, new.trail_price, change.trail) == (2, None, 2)


def test_a_leg_keeps_the_quantity_of_its_entry_and_is_judged_alone() -> None:
    leg = order(
        parent_id=OrderId(uuid.uuid4()),
        filled_quantity=D(0),
        spec=spec("sell", "100", limit="120", order_class=OrderClass.BRACKET),
    )
    with pytest.raises(InvalidInputError, match="quantity: an exit's"):
        amended(leg, AmendFields(quantity=D(50)))
    new, _, _ = amended(leg, AmendFields(limit_price=D(121)))
    assert fields_of(new, leg=True).order_class is OrderClass.SIMPLE


@pytest.mark.parametrize("status", sorted(OrderStatus))
def test_only_what_rests_at_the_venue_is_amended(status: OrderStatus) -> None:
    fine = {
        OrderStatus.HELD, OrderStatus.WORKING, OrderStatus.PARTIALLY_FILLED,
        OrderStatus.DONE_FOR_DAY,
    }  # fmt: skip
    if status in fine:
        require_replaceable(order(status=status))
    else:
        with pytest.raises(ConflictError, match=f"is {status} and cannot be amended"):
            require_replaceable(order(status=status))


def test_an_heir_asks_and_holds_for_what_is_left_when_it_takes_over() -> None:
    # 120 in all, judged when 30 had traded: 90 x 89 = 8010. At the takeover 50 have: 70 are left.
    heir = order(
        spec=spec("buy", "90", limit="89"),
        filled_quantity=D(0),
        succession=Succession(D(120), D(8010)),
    )
    taken = heir_of(order(filled_quantity=D(50)), heir)
    assert taken.hold is not None
    assert (taken.quantity, taken.hold.amount) == (70, D("6230"))
    legless = heir_of(order(), replace(heir, succession=Succession(D(120), None)))
    assert (legless.quantity, legless.hold) == (90, None)
