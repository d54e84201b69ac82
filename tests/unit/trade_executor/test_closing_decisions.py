"""How much a closing trades, what it cancels, and what it puts back."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from libs.common.domain.vocabulary import OrderClass, OrderType, Side
from libs.common.kernel.ids import OrderId, client_order_id
from services.trade_executor.closing import (
    CloseFields,
    Closing,
    in_the_way,
    order_id_of_closing,
    quantity_to_close,
    restorations,
)
from services.trade_executor.model import Order
from tests.support.executor_orders import NOON, spec

D = Decimal


def closing(quantity: str | None = None, percent: str | None = None) -> Closing:
    return Closing(
        id=uuid.UUID(int=1),
        account_id="main",
        idempotency_key="k",
        request={},
        symbol="AAPL",
        cause="request",
        correlation_id=uuid.UUID(int=2),
        created_at=dt.datetime(2022, 3, 1, tzinfo=dt.UTC),
        quantity=None if quantity is None else D(quantity),
        percent=None if percent is None else D(percent),
    )


def order(
    kind: OrderType, side: str = "sell", *, parent: Order | None = None, filled: str = "0",
    quantity: str = "100", **prices: str,
) -> Order:  # fmt: skip
    order_id = OrderId(uuid.uuid4())
    wanted = structs.replace(
        spec(side, quantity), order_type=kind, **{name: D(value) for name, value in prices.items()}
    )
    return Order(
        id=order_id,
        client_order_id=client_order_id(order_id, 1),
        broker="alpaca",
        account_id="main",
        spec=wanted,
        correlation_id=uuid.uuid4(),
        created_at=NOON,
        filled_quantity=D(filled),
        parent_id=parent.id if parent else None,
    )


@pytest.mark.parametrize(
    ("size", "ours", "theirs", "traded", "expected"),
    [
        ({}, "100", "100", "0", "100"),
        ({}, "-30", "-30", "0", "30"),
        ({}, "100", "60", "0", "60"),
        ({}, "100", "-5", "0", "0"),
        ({}, "100", "0", "0", "0"),
        ({"quantity": "40"}, "30", "25", "0", "25"),
        ({"quantity": "40"}, "100", "100", "15", "25"),
        ({"quantity": "40"}, "100", "100", "50", "0"),
        ({"percent": "60"}, "25", "25", "0", "15"),
        ({"percent": "50"}, "80", "80", "20", "30"),
    ],
)
def test_what_is_traded(
    size: dict[str, str], ours: str, theirs: str, traded: str, expected: str
) -> None:
    assert quantity_to_close(closing(**size), D(ours), D(theirs), D(traded)) == D(expected)


@given(
    ours=st.integers(-500, 500),
    theirs=st.integers(-500, 500),
    quantity=st.none() | st.integers(1, 900),
    traded=st.integers(0, 300),
)
def test_never_more_than_either_book_shows(
    ours: int, theirs: int, quantity: int | None, traded: int
) -> None:
    one = closing(None if quantity is None else str(quantity))
    found = quantity_to_close(one, D(ours), D(theirs), D(traded))
    assert 0 <= found <= min(abs(ours), abs(theirs))
    if ours * theirs < 0:
        assert found == 0


@pytest.mark.parametrize(
    ("size", "held", "step", "expected"),
    [
        ({"percent": "24"}, "1510.5", "1", "362"),
        ({"percent": "24"}, "1510.5", None, "362.52"),
        ({"percent": "24"}, "1510.5", "0.00000001", "362.52"),
        ({}, "-12.4", "1", "12"),
        ({"percent": "10"}, "9", "1", "0"),
    ],
)
def test_whole_steps_are_traded(
    size: dict[str, str], held: str, step: str | None, expected: str
) -> None:
    found = quantity_to_close(closing(**size), D(held), D(held), D(0), step and D(step))
    assert found == D(expected)


def test_a_part_spares_the_entries_and_all_spares_nothing() -> None:
    exits, entry = order(OrderType.STOP, stop_price="80"), order(OrderType.LIMIT, "buy")
    assert in_the_way(closing(quantity="5"), [exits, entry], Side.SELL) == [exits]
    assert in_the_way(closing(), [exits, entry], Side.SELL) == [exits, entry]


def test_a_pair_of_exits_comes_back_as_one_oco_and_covers_what_is_held() -> None:
    entry = order(OrderType.MARKET, "buy")
    stop = order(OrderType.STOP, parent=entry, stop_price="80", filled="30")
    limit = order(OrderType.LIMIT, parent=entry, limit_price="120", filled="30")
    ((name, fields),) = restorations([stop, limit], Side.SELL, D(70))
    assert name == entry.id
    assert fields.order_class is OrderClass.OCO
    assert fields.quantity == 70
    assert fields.take_profit is not None
    assert fields.take_profit.limit_price == 120
    assert fields.stop_loss is not None
    assert fields.stop_loss.stop_price == 80


@pytest.mark.parametrize("leg_known", [True, False])
def test_an_oco_that_we_sent_comes_back_as_it_was(leg_known: bool) -> None:
    sent = order(
        OrderType.LIMIT, take_profit_limit_price="120", stop_loss_stop_price="80",
        stop_loss_limit_price="79.5",
    )  # fmt: skip
    sent = replace(sent, spec=structs.replace(sent.spec, order_class=OrderClass.OCO))
    leg = order(OrderType.STOP_LIMIT, parent=sent, stop_price="81", limit_price="80.5")
    ((name, fields),) = restorations([sent, leg] if leg_known else [sent], Side.SELL, D(60))
    assert name == sent.id
    assert (fields.order_class, fields.quantity) == (OrderClass.OCO, 60)
    assert fields.take_profit is not None
    assert fields.take_profit.limit_price == 120
    assert fields.stop_loss is not None
    stands = (D(81), D("80.5")) if leg_known else (D(80), D("79.5"))
    assert (fields.stop_loss.stop_price, fields.stop_loss.limit_price) == stands


def test_what_comes_back_never_covers_more_than_is_held() -> None:
    first = order(OrderType.STOP, stop_price="80", quantity="60")
    second = order(OrderType.TRAILING_STOP, trail_percent="5", quantity="60")
    entry = order(OrderType.LIMIT, "buy", limit_price="50")
    back = restorations([first, second, entry], Side.SELL, D(100))
    assert [(fields.order_type, fields.quantity) for _, fields in back] == [
        (OrderType.STOP, 60),
        (OrderType.TRAILING_STOP, 40),
    ]
    assert restorations([first], Side.SELL, D(0)) == []


def test_each_attempt_has_an_order_of_its_own() -> None:
    one = uuid.UUID(int=1)
    assert order_id_of_closing(one, 1) == order_id_of_closing(one, 1)
    assert order_id_of_closing(one, 1) != order_id_of_closing(one, 2)


def test_quantity_and_percent_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="only one of quantity and percent"):
        CloseFields(quantity=D(1), percent=D(1))
