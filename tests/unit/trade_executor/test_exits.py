"""Which orders guard a position now."""

from __future__ import annotations

import uuid
from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest

from libs.common.domain.protection import Standing
from libs.common.domain.vocabulary import OrderClass, OrderStatus, OrderType
from libs.common.kernel.ids import ClientOrderId, OrderId
from services.trade_executor.exits import by_group, groups_of, widowed
from services.trade_executor.model import Order
from services.trade_executor.protection_exits import traded_groups
from tests.support.executor_orders import NOON, spec

S = OrderStatus


def order(
    kind: OrderType, status: OrderStatus, *, parent: Order | None = None, filled: int = 0,
    group: OrderClass = OrderClass.SIMPLE, side: str = "sell",
) -> Order:  # fmt: skip
    identity = OrderId(uuid.uuid4())
    return Order(
        id=identity,
        client_order_id=ClientOrderId(str(identity)),
        broker="alpaca",
        account_id="main",
        spec=msgspec.structs.replace(spec(side, "10"), order_type=kind, order_class=group),
        correlation_id=identity,
        created_at=NOON,
        status=status,
        parent_id=parent.id if parent else None,
        filled_quantity=Decimal(filled),
    )


def standings(*orders: Order, entry: Order | None = None) -> list[tuple[Standing, Decimal]]:
    found = groups_of(orders, entry=entry, owner=None, ours=True)
    return [(one.standing, one.open_quantity) for one in found]


@pytest.mark.parametrize(
    ("status", "standing"),
    [
        (S.WORKING, Standing.ACTIVE),
        (S.ACCEPTED, Standing.ACTIVE),
        (S.PENDING_REPLACE, Standing.ACTIVE),
        (S.PENDING_CANCEL, Standing.MOVING),
        (S.OUTCOME_UNKNOWN, Standing.MOVING),
        (S.HELD, Standing.IDLE),
    ],
)
def test_a_stop_guards_by_its_status(status: OrderStatus, standing: Standing) -> None:
    assert standings(order(OrderType.STOP, status)) == [(standing, Decimal(10))]


def test_what_has_ended_guards_nothing_and_a_limit_alone_guards_nothing() -> None:
    assert standings(order(OrderType.STOP, S.FILLED), order(OrderType.STOP, S.REJECTED)) == []
    assert standings(order(OrderType.LIMIT, S.WORKING)) == [(Standing.IDLE, Decimal(10))]


def test_the_two_of_a_pair_guard_the_same_shares_once() -> None:
    root = order(OrderType.LIMIT, S.WORKING, group=OrderClass.OCO)
    stop = order(OrderType.STOP, S.HELD, parent=root, group=OrderClass.OCO, filled=4)
    assert standings(root) == [(Standing.ACTIVE, Decimal(10))]
    assert standings(root, stop) == [(Standing.ACTIVE, Decimal(6))]
    assert standings(replace(root, status=S.PENDING_CANCEL), stop)[0][0] is Standing.MOVING


def test_exits_of_an_entry_guard_when_it_is_complete() -> None:
    entry = order(OrderType.LIMIT, S.PARTIALLY_FILLED, group=OrderClass.BRACKET, side="buy")
    profit = order(OrderType.LIMIT, S.WORKING, parent=entry, group=OrderClass.BRACKET)
    stop = order(OrderType.STOP, S.HELD, parent=entry, group=OrderClass.BRACKET)
    assert standings(profit, stop, entry=entry)[0][0] is Standing.IDLE
    done = replace(entry, status=S.FILLED)
    assert standings(profit, stop, entry=done) == [(Standing.ACTIVE, Decimal(10))]


def test_a_pair_whose_stop_has_ended_guards_nothing_and_its_rest_goes() -> None:
    root = order(OrderType.LIMIT, S.WORKING, group=OrderClass.OCO)
    stop = order(OrderType.STOP, S.HELD, parent=root, group=OrderClass.OCO)
    assert widowed([root, stop]) == widowed([root]) == []
    gone = replace(stop, status=S.CANCELED)
    assert standings(root, gone) == [(Standing.IDLE, Decimal(10))]
    assert widowed([root, gone]) == [root]
    # What stands in the place of a replaced one may not be known yet.
    assert widowed([root, replace(stop, status=S.REPLACED)]) == []


def test_an_exit_that_took_anothers_place_belongs_to_its_group() -> None:
    root = order(OrderType.LIMIT, S.REPLACED, group=OrderClass.OCO, filled=3)
    stop = order(OrderType.STOP, S.HELD, parent=root, group=OrderClass.OCO)
    heir = order(OrderType.LIMIT, S.WORKING, group=OrderClass.OCO, filled=1)
    heir = replace(
        heir, replaces_id=root.id, spec=msgspec.structs.replace(heir.spec, quantity=Decimal(7))
    )
    assert by_group([stop, heir, root]) == {root.id: [root, stop, heir]}
    assert standings(root, heir, stop) == [(Standing.ACTIVE, Decimal(10))]
    assert widowed([root, heir, replace(stop, status=S.CANCELED)]) == [heir]
    ((group, total, filled),) = traded_groups(None, [root, heir, stop])
    # Seven were asked for after three had traded.
    assert (group, total, sum(filled)) == (root.id, Decimal(10), Decimal(4))
