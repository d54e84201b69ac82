"""Alpaca's JSON, as documented and as it may surprise."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderClass, OrderType, Side
from services.trade_executor.adapters.alpaca_words import (
    EVENT_WORDS,
    STATUS_WORDS,
    activity_from,
    amends,
    execution_from,
    order_from,
    position_from,
    reversal_from,
    update_from,
)

ORDER: dict[str, Any] = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
    "client_order_id": "eb9e2aaa-f71a-4f51-b5b4-52a6c565dad4",
    "created_at": "2021-03-16T18:38:01.942282Z",
    "submitted_at": "2021-03-16T18:38:01.937734Z",
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
    "status": "accepted",
    "extended_hours": False,
    "legs": None,
}


def test_an_order_is_read() -> None:
    order = order_from(ORDER)
    assert order.event is OrderEvent.ACCEPTED
    assert (order.spec.order_type, order.spec.order_class) == (OrderType.MARKET, OrderClass.SIMPLE)
    assert order.filled_quantity == 5
    assert order.submitted_at == dt.datetime(2021, 3, 16, 18, 38, 1, 937734, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("change", "event"),
    [
        ({"status": "pending_quantum"}, OrderEvent.UNRECOGNISED),
        ({"type": "hologram", "order_class": "mleg"}, OrderEvent.ACCEPTED),
        ({"surprise": {"deep": [1]}}, OrderEvent.ACCEPTED),
        ({"filled_avg_price": ""}, OrderEvent.ACCEPTED),
    ],
)
def test_surprises_do_not_break_reading(change: dict[str, Any], event: OrderEvent) -> None:
    assert order_from({**ORDER, **change}).event is event


@pytest.mark.parametrize("missing", ["id", "symbol", "side"])
def test_what_an_order_cannot_be_without_is_insisted_on(missing: str) -> None:
    body = {name: value for name, value in ORDER.items() if name != missing}
    with pytest.raises((KeyError, ValueError)):
        order_from(body)


def test_stream_and_activity_name_the_same_execution() -> None:
    moment = "2021-03-16T18:38:02.123456Z"
    update = update_from(
        {
            "event": "partial_fill",
            "execution_id": "2f63ea93-423d-4169-b3f6-3fdafc10c418",
            "timestamp": moment,
            "price": "100.1",
            "qty": "5",
            "position_qty": "5",
            "order": ORDER,
        }
    )
    activity = execution_from(
        {
            "id": "20210316183802123::2f63ea93-423d-4169-b3f6-3fdafc10c418",
            "activity_type": "FILL",
            "transaction_time": moment,
            "type": "partial_fill",
            "price": "100.1",
            "qty": "5",
            "side": "buy",
            "symbol": "AAPL",
            "order_id": ORDER["id"],
        }
    )
    assert update.execution == activity


def test_an_unknown_event_is_still_an_update() -> None:
    update = update_from({"event": "teleported", "order": ORDER})
    assert (update.event, update.event_word) == (OrderEvent.UNRECOGNISED, "teleported")
    assert update.execution is None


def test_a_short_position_is_negative_however_it_is_written() -> None:
    body = {"symbol": "KO", "avg_entry_price": "50.5"}
    for quantity in ("-3", "3"):
        held = position_from({**body, "qty": quantity, "side": "short"})
        assert held.quantity == Decimal(-3)


def test_a_short_sale_is_a_sale() -> None:
    body = {
        "id": "20210316183802123::x", "transaction_time": "2021-03-16T18:38:02Z", "price": 1.5,
        "qty": 2, "side": "sell_short", "symbol": "KO", "order_id": "o",
    }  # fmt: skip
    execution = execution_from(body)
    assert (execution.side, execution.price) == (Side.SELL, Decimal("1.5"))


def test_a_fee_is_read_with_its_sign_and_time() -> None:
    activity = activity_from(
        {"id": "20210316000000000::f", "activity_type": "FEE", "net_amount": "-0.03"}
    )
    assert activity.amount == Decimal("-0.03")
    assert activity.executed_at == dt.datetime(2021, 3, 16, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("word", "event"),
    [
        ("stopped", OrderEvent.WORKING),
        ("calculated", OrderEvent.DONE_FOR_DAY),
        ("restated", OrderEvent.RESTATED),
    ],
)
def test_a_rare_word_is_understood(word: str, event: OrderEvent) -> None:
    update = update_from({"event": word, "order": ORDER})
    assert (update.event, update.execution, update.amends) == (event, None, None)


def test_a_bust_names_what_it_takes_back_and_executes_nothing() -> None:
    update = update_from(
        {
            "event": "trade_bust", "execution_id": "b", "previous_execution_id": "a",
            "timestamp": "2021-03-16T18:38:02Z", "price": "100.1", "qty": "5",
            "reason": "TRADE_BUST", "order": ORDER,
        }
    )  # fmt: skip
    assert (update.event, update.amends, update.execution) == (OrderEvent.BUSTED, "a", None)
    assert update.reason == "TRADE_BUST"


def test_a_correction_carries_the_execution_as_it_stands_now() -> None:
    update = update_from(
        {
            "event": "trade_correct", "execution_id": "b", "previous_execution_id": "a",
            "timestamp": "2021-03-16T18:38:02Z", "price": "100.2", "qty": "4", "order": ORDER,
        }
    )  # fmt: skip
    assert (update.event, update.amends) == (OrderEvent.CORRECTED, "a")
    assert update.execution is not None
    assert (update.execution.execution_id, update.execution.quantity) == ("b", 4)


def test_the_librarys_words_are_all_decided() -> None:
    """Words of alpaca-py 0.44."""
    from alpaca.trading.enums import OrderStatus, TradeEvent

    assert {word.value for word in OrderStatus} <= STATUS_WORDS.keys()
    assert {word.value for word in TradeEvent} <= EVENT_WORDS.keys()


FILL: dict[str, Any] = {
    "id": "20210316183801123::x-2",
    "activity_type": "FILL",
    "type": "trade_correct",
    "transaction_time": "2021-03-16T18:38:01.123Z",
    "order_id": "b-1",
    "symbol": "AAPL",
    "side": "buy",
    "qty": "4",
    "price": "100.5",
    "previous_execution_id": "x-1",
}


def test_a_listed_correction_names_both_executions() -> None:
    assert amends(FILL)
    reversal = reversal_from(FILL)
    assert (reversal.kind, reversal.original) == ("correction", "x-1")
    assert reversal.replacement is not None
    assert (reversal.replacement.execution_id, reversal.replacement.quantity) == ("x-2", 4)


def test_a_listed_bust_replaces_nothing() -> None:
    reversal = reversal_from({**FILL, "type": "trade_bust"})
    assert (reversal.kind, reversal.replacement, reversal.record_id) == ("bust", None, "x-2")


def test_a_fill_amends_nothing() -> None:
    assert not amends({**FILL, "type": "partial_fill"})


def test_a_split_tells_the_shares_that_it_gave() -> None:
    split = activity_from(
        {"id": "20210316000000000::s", "activity_type": "SPLIT", "symbol": "AAPL",
         "net_amount": "0", "qty": "100"}
    )  # fmt: skip
    assert (split.change, split.quantity, split.amount) == ("split", 100, 0)
    paid = activity_from(
        {"id": "20210316000000000::d", "activity_type": "DIV", "symbol": "AAPL",
         "net_amount": "22.5", "qty": "100"}
    )  # fmt: skip
    assert (paid.change, paid.code, paid.meaning) == (None, "dividend", "income")
