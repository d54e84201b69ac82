"""Executions: what really traded. A set keyed by (broker, execution id), kept apart from the
order's status; a new one is taken in any status, because the shares have moved whatever we think.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from libs.common.domain.orders import OrderEvent, apply
from libs.common.domain.vocabulary import OrderStatus, Side
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.ids import BrokerOrderId, ExecutionId, Symbol
from libs.common.kernel.money import ZERO, notional


class ExecutionKey(NamedTuple):
    """What makes an execution the same execution, by whichever way it arrives."""

    broker: str
    execution_id: ExecutionId


@dataclass(frozen=True, slots=True)
class Execution:
    """One trade as the broker reports it.

    quantity > 0 in shares, price >= 0 in money per share, fee >= 0 in money (ours to pay),
    executed_at market time.
    """

    broker: str
    execution_id: ExecutionId
    broker_order_id: BrokerOrderId
    symbol: Symbol
    side: Side
    quantity: Decimal
    price: Decimal
    executed_at: datetime
    fee: Decimal = ZERO

    def __post_init__(self) -> None:
        """Refuse what cannot be a trade; raises InvalidInputError naming the field."""
        if not self.execution_id:
            raise InvalidInputError("execution_id: is empty")
        if not (self.quantity.is_finite() and self.quantity > 0):
            raise InvalidInputError(f"quantity: {self.quantity} of {self.execution_id} is not > 0")
        for name, value in (("price", self.price), ("fee", self.fee)):
            if not (value.is_finite() and value >= 0):
                raise InvalidInputError(f"{name}: {value} of {self.execution_id} is not >= 0")

    @property
    def key(self) -> ExecutionKey:
        """The identity of the trade."""
        return ExecutionKey(self.broker, self.execution_id)

    @property
    def amount(self) -> Decimal:
        """Quantity times price as money, without the fee: 3 x 10.12345 -> 30.3704."""
        return notional(self.quantity, self.price)


class Anomaly(StrEnum):
    """Why an execution needs a person's eye. It is booked all the same."""

    AFTER_END = "execution_after_end"
    OVERFILL = "overfill"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an order has come. `quantity` is None for an order sized by money (notional),
    which is complete only when the venue says so."""

    status: OrderStatus
    quantity: Decimal | None
    filled_quantity: Decimal = ZERO

    @property
    def open_quantity(self) -> Decimal | None:
        """What may still trade; 0 after an end or an over-fill, None if sized by money."""
        if self.status.is_terminal:
            return ZERO
        if self.quantity is None:
            return None
        return max(ZERO, self.quantity - self.filled_quantity)


class Taken(NamedTuple):
    """The order after an execution, and what was odd about it."""

    progress: Progress
    anomaly: Anomaly | None


def take(progress: Progress, execution: Execution) -> Taken:
    """Return the order after a *new* execution; never refuses it.

    The sum decides between `partly_filled` and `filled`; the state table decides where that
    leads. Of two reasons for a flag the over-fill is named.
    """
    filled = progress.filled_quantity + execution.quantity
    complete = progress.quantity is not None and filled >= progress.quantity
    step = apply(progress.status, OrderEvent.FILLED if complete else OrderEvent.PARTLY_FILLED)
    anomaly = None
    if progress.quantity is not None and filled > progress.quantity:
        anomaly = Anomaly.OVERFILL
    elif step.anomaly:
        anomaly = Anomaly.AFTER_END
    return Taken(replace(progress, status=step.status, filled_quantity=filled), anomaly)


def unseen(executions: Iterable[Execution], seen: Set[ExecutionKey]) -> list[Execution]:
    """Return those not booked yet, each key once, in the order of market time and id."""
    fresh = {execution.key: execution for execution in executions if execution.key not in seen}
    return sorted(fresh.values(), key=lambda one: (one.executed_at, one.execution_id))
