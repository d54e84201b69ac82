"""Executions are booked in any status; only the flag tells that something was odd."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from libs.common.domain.executions import Anomaly, Execution, Progress, take, unseen
from libs.common.domain.vocabulary import OrderStatus, Side
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.ids import BrokerOrderId, ExecutionId, Symbol

NOON = datetime(2022, 3, 1, 17, tzinfo=UTC)
S = OrderStatus


def execution(name: str, quantity: str = "10", *, price: str = "5", seconds: int = 0) -> Execution:
    return Execution(
        broker="alpaca",
        execution_id=ExecutionId(name),
        broker_order_id=BrokerOrderId("b-1"),
        symbol=Symbol("AAPL"),
        side=Side.BUY,
        quantity=Decimal(quantity),
        price=Decimal(price),
        executed_at=NOON + timedelta(seconds=seconds),
    )


def working(filled: str = "0", quantity: str | None = "30") -> Progress:
    return Progress(S.WORKING, Decimal(quantity) if quantity else None, Decimal(filled))


def test_part_fill_leaves_the_rest_open() -> None:
    taken = take(working(), execution("e1"))
    assert taken.progress.status is S.PARTIALLY_FILLED
    assert taken.progress.open_quantity == 20
    assert taken.anomaly is None


def test_last_part_completes_the_order() -> None:
    taken = take(working("20"), execution("e3"))
    assert taken.progress.status is S.FILLED
    assert taken.progress.open_quantity == 0
    assert taken.anomaly is None


def test_more_than_ordered_is_booked_and_flagged() -> None:
    taken = take(working("25"), execution("e3"))
    assert taken.progress.filled_quantity == 35
    assert taken.progress.status is S.FILLED
    assert taken.anomaly is Anomaly.OVERFILL


@pytest.mark.parametrize("end", [S.CANCELED, S.EXPIRED, S.REJECTED, S.REPLACED])
def test_execution_after_an_end_counts_and_is_flagged(end: OrderStatus) -> None:
    taken = take(Progress(end, Decimal(30), Decimal(10)), execution("e2"))
    assert taken.progress.filled_quantity == 20
    assert taken.progress.status is end
    assert taken.anomaly is Anomaly.AFTER_END


def test_cancel_pending_stays_pending_through_a_part_fill() -> None:
    taken = take(Progress(S.PENDING_CANCEL, Decimal(30)), execution("e1"))
    assert (taken.progress.status, taken.anomaly) == (S.PENDING_CANCEL, None)


def test_order_sized_by_money_is_never_complete_by_our_sum() -> None:
    taken = take(working(quantity=None), execution("e1", "1000"))
    assert (taken.progress.status, taken.anomaly) == (S.PARTIALLY_FILLED, None)


@pytest.mark.parametrize("status", list(S))
def test_no_status_refuses_an_execution(status: OrderStatus) -> None:
    taken = take(Progress(status, Decimal(30)), execution("e1"))
    assert taken.progress.filled_quantity == 10


def test_unseen_drops_known_and_repeated_and_sorts_by_time() -> None:
    late, early, known = execution("c", seconds=2), execution("b"), execution("a", seconds=1)
    assert unseen([late, known, early, late], {known.key}) == [early, late]


@pytest.mark.parametrize(
    ("quantity", "price"), [("0", "1"), ("-1", "1"), ("NaN", "1"), ("1", "-1")]
)
def test_what_cannot_be_a_trade_is_refused(quantity: str, price: str) -> None:
    with pytest.raises(InvalidInputError):
        execution("e1", quantity, price=price)
