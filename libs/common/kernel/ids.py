"""Identifiers: one type each, so that an order id cannot be passed as a signal id."""

from __future__ import annotations

import hashlib
import uuid
from typing import Final, NewType, Protocol

OrderId = NewType("OrderId", uuid.UUID)
SignalId = NewType("SignalId", uuid.UUID)
RequestId = NewType("RequestId", uuid.UUID)
AssessmentId = NewType("AssessmentId", uuid.UUID)
TradeId = NewType("TradeId", uuid.UUID)
TransferId = NewType("TransferId", uuid.UUID)
MessageId = NewType("MessageId", uuid.UUID)
CorrelationId = NewType("CorrelationId", uuid.UUID)
ClientOrderId = NewType("ClientOrderId", str)
BrokerOrderId = NewType("BrokerOrderId", str)
ExecutionId = NewType("ExecutionId", str)
StrategyId = NewType("StrategyId", str)
AccountId = NewType("AccountId", str)
Symbol = NewType("Symbol", str)

NAMESPACE: Final = uuid.UUID("7b1c5f0e-54a2-5d6b-9c57-0d7472616465")
_NAMESPACE: Final = NAMESPACE.bytes
_VERSION_7: Final = (0x7 << 76) | (0b10 << 62)


class IdSource(Protocol):
    """Makes fresh time-ordered ids; the runtime gives UUIDv7, tests a counter."""

    def new(self) -> uuid.UUID:
        """Return an id never returned before."""
        ...


class SequentialIds:
    """Ids that count up: 00000000-0000-7000-8000-000000000001, …; for tests and simulations."""

    def __init__(self, start: int = 1) -> None:
        self._next = start

    def new(self) -> uuid.UUID:
        """Return the next id of the sequence."""
        value = self._next
        self._next += 1
        return uuid.UUID(int=_VERSION_7 + value)


def derived_id(kind: str, *names: str) -> uuid.UUID:
    """Return the UUIDv5 of a thing that is named by other things.

    The same kind and names give the same id always, which makes redelivery meet the same row:
    `derived_id("order", str(signal_id))`.
    """
    named = _NAMESPACE + "\x1f".join((kind, *names)).encode()
    return uuid.UUID(bytes=hashlib.sha1(named, usedforsecurity=False).digest()[:16], version=5)


def order_id_of(signal_id: SignalId) -> OrderId:
    """Return the id of the one order that a signal may become."""
    return OrderId(derived_id("order", str(signal_id)))


def client_order_id(order_id: OrderId, attempt: int) -> ClientOrderId:
    """Return what the broker knows an attempt to send an order by: `tw-<order id>-<attempt>`."""
    return ClientOrderId(f"tw-{order_id}-{attempt}")


def order_id_from_client(client_id: str) -> tuple[OrderId, int] | None:
    """Read `client_order_id` backwards; None if the id was not made by us."""
    if not client_id.startswith("tw-"):
        return None
    head, _, attempt = client_id[3:].rpartition("-")
    try:
        return OrderId(uuid.UUID(head)), int(attempt)
    except ValueError:
        return None
