"""Pure decisions when our books are compared with the broker's: what is the same, what changed."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

import msgspec

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.executions import Execution
from libs.common.domain.vocabulary import OrderType
from libs.common.kernel.ids import ExecutionId, OrderId
from services.trade_executor.model import Order

Source = Literal["stream", "activities"]

TWIN_TIME: Final = dt.timedelta(seconds=1)
_TERMS: Final = ("quantity", "limit_price", "stop_price", "trail_price")


def restated(ours: OrderSpec, theirs: OrderSpec) -> OrderSpec | None:
    """Return our terms as the venue has changed them, None if it changed nothing.

    Only what both sides name is compared. The stop of a trailing order moves by its nature.
    """
    names = [name for name in _TERMS if None not in (getattr(ours, name), getattr(theirs, name))]
    if ours.order_type is OrderType.TRAILING_STOP:
        names = [name for name in names if name != "stop_price"]
    changes = {
        name: getattr(theirs, name)
        for name in names
        if getattr(ours, name) != getattr(theirs, name)
    }
    return msgspec.structs.replace(ours, **changes) if changes else None


def same_execution(one: Execution, other: Execution) -> bool:
    """Tell whether two executions of one order differ in nothing but their names."""
    alike = (one.side, one.quantity, one.price) == (other.side, other.quantity, other.price)
    return alike and abs(one.executed_at - other.executed_at) <= TWIN_TIME


class Names:
    """Which source gave which name to an execution.

    A stream and an activity list may name one execution differently. Same side, quantity and
    price within a second is the same execution, unless who tells of it has told of the booked one
    too, by that or another name: nobody gives one execution two names. Kept are the last
    `kept_max` names of each source; a process that begins knows none and decides anew.
    """

    def __init__(self, kept_max: int = 10_000) -> None:
        self._told: dict[Source, OrderedDict[ExecutionId, ExecutionId]] = {
            "stream": OrderedDict(),
            "activities": OrderedDict(),
        }
        self._kept_max = kept_max

    def note(self, source: Source, name: ExecutionId, booked: ExecutionId) -> None:
        """Note that `source` calls the execution booked as `booked` by `name`."""
        names = self._told[source]
        names[name] = booked
        if len(names) > self._kept_max:
            names.popitem(last=False)

    def twin(
        self,
        source: Source,
        new: Execution,
        booked: Iterable[Execution],
        named: Container[ExecutionId],
    ) -> Execution | None:
        """Return the booked execution that `new` is another name of, None if there is none.

        `named`: names that the source uses at present.
        """
        told = self._told[source]
        before = told.pop(new.execution_id, None)
        taken = set(told.values())
        fitting = [
            one
            for one in booked
            if same_execution(new, one)
            and one.execution_id not in named
            and one.execution_id not in told
            and one.execution_id not in taken
        ]
        fitting.sort(key=lambda one: one.execution_id != before)
        if fitting:
            self.note(source, new.execution_id, fitting[0].execution_id)
            return fitting[0]
        return None


def has_room(order: Order, execution: Execution, sum_there: Decimal) -> bool:
    """Tell whether the venue's own sum of the order's executions leaves room for one more."""
    return order.filled_quantity + execution.quantity <= sum_there


@dataclass
class Twice:
    """Odd looks at orders: one proves nothing. A second one counts when it comes a settle time
    later and nothing has happened to the order in between."""

    settle_s: float
    _first: dict[OrderId, tuple[int, float]] = field(default_factory=dict)

    def again(self, order: Order, now_s: float) -> bool:
        """Note an odd look at `order` and tell whether it is the proving one."""
        seq, first_s = self._first.get(order.id, (order.event_seq, now_s))
        if seq != order.event_seq:
            first_s = now_s
        self._first[order.id] = (order.event_seq, first_s)
        return now_s - first_s >= self.settle_s

    def forget(self, order_id: OrderId) -> None:
        """The order looked as it should."""
        self._first.pop(order_id, None)

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._first

    def __len__(self) -> int:
        return len(self._first)
