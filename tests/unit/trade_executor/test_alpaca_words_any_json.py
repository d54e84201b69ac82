"""Whatever JSON the broker sends, in whatever field: a domain object, or an error that names the
field. Never another exception, and never a value that the books could not hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.money import MONEY_LIMIT
from services.trade_executor.adapters.alpaca_words import (
    activity_from,
    amends,
    cash_from,
    execution_from,
    order_from,
    position_from,
    reversal_from,
    update_from,
)

ORDER: dict[str, Any] = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
    "client_order_id": "eb9e2aaa-f71a-4f51-b5b4-52a6c565dad4",
    "submitted_at": "2021-03-16T18:38:01.937734Z",
    "updated_at": "2021-03-16T18:38:01.937734Z",
    "symbol": "AAPL",
    "notional": None,
    "qty": "15",
    "filled_qty": "5",
    "filled_avg_price": "100.1",
    "order_class": "",
    "type": "market",
    "side": "buy",
    "time_in_force": "day",
    "limit_price": None,
    "stop_price": None,
    "trail_price": None,
    "trail_percent": None,
    "status": "accepted",
    "extended_hours": False,
    "replaces": None,
    "replaced_by": None,
    "reject_reason": None,
    "legs": None,
}
UPDATE: dict[str, Any] = {
    "event": "fill",
    "execution_id": "2f63ea93-423d-4169-b3f6-3fdafc10c418",
    "previous_execution_id": None,
    "order": ORDER,
    "price": "100.10",
    "qty": "5",
    "position_qty": "5",
    "timestamp": "2021-03-16T18:38:01.942282Z",
    "reason": None,
}
FILL: dict[str, Any] = {
    "id": "20210316183801942::2f63ea93-423d-4169-b3f6-3fdafc10c418",
    "activity_type": "FILL",
    "order_id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
    "price": "100.10",
    "qty": "5",
    "side": "sell_short",
    "symbol": "AAPL",
    "transaction_time": "2021-03-16T18:38:01.942282Z",
}
BUST: dict[str, Any] = {
    **FILL, "type": "trade_bust", "previous_execution_id": "8efc7b9a-8b2b-4000-9955-d36e7db0df74"
}  # fmt: skip
FEE: dict[str, Any] = {
    "id": "20210316183801942::2f63ea93-423d-4169-b3f6-3fdafc10c418",
    "activity_type": "FEE",
    "net_amount": "-1.25",
    "symbol": "AAPL",
}
POSITION: dict[str, Any] = {
    "symbol": "AAPL", "qty": "-5", "side": "short", "avg_entry_price": "100.1"
}  # fmt: skip
READERS: list[tuple[str, Callable[[object], Any], dict[str, Any]]] = [
    ("order", order_from, ORDER),
    ("update", update_from, UPDATE),
    ("activity", execution_from, FILL),
    ("activity", activity_from, FEE),
    ("activity", reversal_from, BUST),
    ("activity", amends, BUST),
    ("position", position_from, POSITION),
    ("account", cash_from, {"cash": "100.00", "status": "ACTIVE"}),
]
NASTY = [
    None, True, False, 0, -1, 10**40, 10**400, 1e308, 1e-320, float("inf"), float("nan"), "", " ",
    "NaN", "Infinity", "-0", "1e999999", "1e-999999", "1_000", "١٢", "0x10", "\x00", "a\x00b",
    "\ud800", "x" * 200_000, [], {}, [None], [[]], [{}], {"id": 1}, "buy", "sell", "9999-12-31",
    "9999-12-31T23:59:59.999999999-23:59", "0001-01-01T00:00:00+23:59", "2021-02-30T00:00:00Z",
]  # fmt: skip
NUMBERS = st.integers(-(10**30), 10**30) | st.floats()
ANY_JSON = st.recursive(
    st.sampled_from(NASTY) | NUMBERS | st.text(st.characters(), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def bookable(value: Any) -> None:
    """Fail where an object carries what the database would refuse."""
    if isinstance(value, Decimal):
        assert value.is_finite()
        assert abs(value) < MONEY_LIMIT
    elif isinstance(value, str):
        value.encode()
        assert "\x00" not in value
        assert len(value) <= 500
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            bookable(getattr(value, name))
    elif hasattr(value, "__struct_fields__"):
        for name in value.__struct_fields__:
            bookable(getattr(value, name))
    elif isinstance(value, tuple):
        for one in value:
            bookable(one)


def try_to_read(what: str, reader: Callable[[object], Any], body: object, *fields: str) -> None:
    try:
        bookable(reader(body))
        return
    except InvalidInputError as error:
        text = str(error)
    assert text.startswith(what)
    assert not fields or any(f".{field}" in text for field in fields)
    assert len(text) < 300
    text.encode()


@pytest.mark.parametrize(("what", "reader", "body"), READERS)
def test_every_good_body_is_read(what: str, reader: Callable[[object], Any], body: Any) -> None:
    bookable(reader(json.loads(json.dumps(body))))


@pytest.mark.parametrize(("what", "reader", "body"), READERS)
def test_every_nasty_value_in_every_field(
    what: str, reader: Callable[[object], Any], body: dict[str, Any]
) -> None:
    for field in body:
        for value in NASTY:
            try_to_read(what, reader, {**body, field: value}, field)
        try_to_read(what, reader, {k: v for k, v in body.items() if k != field}, field)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(READERS), st.data(), ANY_JSON)
def test_any_json_in_any_field(
    case: tuple[str, Callable[[object], Any], dict[str, Any]], data: st.DataObject, value: Any
) -> None:
    what, reader, body = case
    field = data.draw(st.sampled_from(sorted(body)))
    try_to_read(what, reader, {**body, field: value}, field)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(READERS), ANY_JSON)
def test_any_json_instead_of_the_object(
    case: tuple[str, Callable[[object], Any], dict[str, Any]], value: Any
) -> None:
    what, reader, _ = case
    try_to_read(what, reader, value)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(ORDER)), ANY_JSON)
def test_any_json_in_a_field_of_a_leg(field: str, value: Any) -> None:
    body = {**ORDER, "legs": [ORDER, {**ORDER, field: value}]}
    try_to_read("order.legs[1]", order_from, body, field)


def test_the_error_names_object_field_and_value() -> None:
    with pytest.raises(InvalidInputError, match=r"update\.order\.side: expected one of buy, sell"):
        update_from({**UPDATE, "order": {**ORDER, "side": "up"}})
    with pytest.raises(InvalidInputError, match=r"update\.qty: expected a number above zero"):
        update_from({**UPDATE, "qty": "-5"})
    with pytest.raises(InvalidInputError, match=r"order\.legs\[0\]: expected an object, got 5"):
        order_from({**ORDER, "legs": [5]})


def test_legs_of_legs_are_not_followed() -> None:
    body: dict[str, Any] = dict(ORDER)
    for _ in range(500):
        body = {**ORDER, "legs": [body]}
    assert [leg.legs for leg in order_from(body).legs] == [()]
