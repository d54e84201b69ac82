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


class ReversalKind(StrEnum):
    """What a venue does to an execution it had told of: takes it back, or changes it."""

    BUST = "bust"
    CORRECTION = "correction"


@dataclass(frozen=True, slots=True)
class Reversal:
    """The venue takes the execution `original` back; a correction puts `replacement` in its place.

    `record_id` is the venue's own id of the act, empty where it names none. `reversed_at` market
    time.
    """

    broker: str
    original: ExecutionId
    broker_order_id: BrokerOrderId
    symbol: Symbol
    reversed_at: datetime
    record_id: str = ""
    replacement: Execution | None = None

    def __post_init__(self) -> None:
        """Refuse what names no execution, or replaces one by itself; raises InvalidInputError."""
        if not self.original:
            raise InvalidInputError(f"original: is empty in the reversal {self.record_id!r}")
        if self.replacement is not None and self.replacement.execution_id == self.original:
            raise InvalidInputError(f"replacement: {self.original} is to replace itself")

    @property
    def kind(self) -> ReversalKind:
        """A correction where something stands in its place, else a bust."""
        return ReversalKind.BUST if self.replacement is None else ReversalKind.CORRECTION

    @property
    def key(self) -> ExecutionKey:
        """The execution that no longer stands; it can be taken back once."""
        return ExecutionKey(self.broker, self.original)


class Anomaly(StrEnum):
    """Why an execution needs a person's eye. It is booked all the same."""

    AFTER_END = "execution_after_end"
    OVERFILL = "overfill"
    REVERSED_AFTER_END = "execution_reversed_after_end"


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


def take_back(progress: Progress, quantity: Decimal) -> Taken:
    """Return the order after one of its executions was taken back.

    Its status stays: what ended stays ended unless a look-up finds it live, what is open has the
    shares to trade again. An order that had ended is flagged, for it now has less than it told.
    """
    left = replace(progress, filled_quantity=progress.filled_quantity - quantity)
    return Taken(left, Anomaly.REVERSED_AFTER_END if progress.status.is_terminal else None)


def unseen(executions: Iterable[Execution], seen: Set[ExecutionKey]) -> list[Execution]:
    """Return those not booked yet, each key once, in the order of market time and id."""
    fresh = {execution.key: execution for execution in executions if execution.key not in seen}
    return sorted(fresh.values(), key=lambda one: (one.executed_at, one.execution_id))
