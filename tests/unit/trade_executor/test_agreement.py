"""The rules by which our books and the broker's are the same: names, terms, second looks."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace
from decimal import Decimal

import msgspec

from libs.common.domain.executions import Execution
from libs.common.domain.vocabulary import OrderType
from libs.common.kernel.ids import ClientOrderId, OrderId
from services.trade_executor.agreement import Names, Twice, restated
from services.trade_executor.model import Order
from tests.support.executor_orders import NOON, execution, spec


def twin(names: Names, source: str, new: Execution, *booked: Execution, named: str = "") -> object:
    found = names.twin(source, new, booked, named.split())  # type: ignore[arg-type]
    return found and found.execution_id


def test_the_same_trade_under_another_name_is_known() -> None:
    late = NOON + dt.timedelta(milliseconds=900)
    assert twin(Names(), "activities", execution("x-a", at=late), execution("a")) == "a"


def test_another_quantity_price_side_or_second_is_another_trade() -> None:
    booked = execution("a")
    others = (
        execution("b", quantity="11"),
        execution("b", price="6"),
        execution("b", side="sell"),
        execution("b", at=NOON + dt.timedelta(seconds=2)),
    )
    assert [twin(Names(), "activities", one, booked) for one in others] == [None] * 4


def test_a_list_that_names_both_means_two_trades() -> None:
    assert twin(Names(), "activities", execution("b"), execution("a"), named="a b") is None


def test_what_the_stream_told_of_by_name_gets_no_second_name_from_it() -> None:
    names = Names()
    names.note("stream", execution("a").execution_id, execution("a").execution_id)
    assert twin(names, "stream", execution("b"), execution("a")) is None
    assert twin(names, "activities", execution("x-a"), execution("a")) == "a"


def test_two_alike_are_paired_one_to_one_and_again_the_same_way() -> None:
    names, booked = Names(), (execution("a"), execution("b"))
    pairs = [twin(names, "activities", execution(f"x-{name}"), *booked) for name in "pqpq"]
    assert pairs == ["a", "b", "a", "b"]
    assert twin(names, "activities", execution("x-r"), *booked) is None


def test_a_list_that_was_late_corrects_its_pair() -> None:
    names, booked = Names(), execution("a")
    assert twin(names, "activities", execution("b"), booked, named="b") == "a"
    assert twin(names, "activities", execution("b"), booked, named="a b") is None


def test_a_split_changes_quantity_and_price() -> None:
    ours, theirs = spec("sell", "10", limit="640"), spec("sell", "70", limit="91.43")
    assert restated(ours, theirs) == theirs
    assert restated(ours, spec("sell", "10.0", limit="640.00")) is None


def test_what_one_side_does_not_name_is_not_compared() -> None:
    assert restated(spec(quantity="10"), spec(quantity=None)) is None
    trailing = msgspec.structs.replace(
        spec("sell", stop_price=Decimal(8)), order_type=OrderType.TRAILING_STOP
    )
    moved = msgspec.structs.replace(trailing, stop_price=Decimal(9))
    assert restated(trailing, moved) is None


def test_an_odd_look_counts_the_second_time_if_nothing_happened_in_between() -> None:
    order = Order(
        id=OrderId(uuid.uuid4()),
        client_order_id=ClientOrderId("tw-1"),
        broker="alpaca",
        account_id="main",
        spec=spec(),
        correlation_id=uuid.uuid4(),
        created_at=NOON,
    )
    odd = Twice(5.0)
    assert not odd.again(order, 100.0)
    assert not odd.again(order, 104.9)
    assert odd.again(order, 105.0)
    happened = replace(order, event_seq=order.event_seq + 1)
    assert not odd.again(happened, 106.0)
    assert odd.again(happened, 111.0)
