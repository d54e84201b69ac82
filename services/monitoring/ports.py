"""What monitoring's handlers need of the outside world."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from libs.common.domain.vocabulary import Level
from services.monitoring.alerts import AlertState, Known, Raise


@dataclass(frozen=True, slots=True)
class Noted:
    """What became of an occurrence.

    `known` is the open alert as it was before, None if this one opened it; `repeated` tells that
    the very message had been counted before.
    """

    alert_id: UUID | None
    known: Known | None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """A stored alert."""

    id: UUID
    level: Level
    source: str
    fingerprint: str
    title: str
    message: str
    context: dict[str, str]
    state: AlertState
    count: int
    first_at: dt.datetime
    last_at: dt.datetime
    acknowledged_by: str | None
    acknowledged_at: dt.datetime | None
    resolved_at: dt.datetime | None
    escalations: list[dict[str, str]]


class Outcome(StrEnum):
    """How a delivery ended: taken by the channel, refused or given up, or never tried because
    the queue was full."""

    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Parcel:
    """Something to tell people."""

    message_id: UUID
    fingerprint: str
    level: Level
    title: str
    message: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The end of one delivery."""

    parcel: Parcel
    channel: str
    outcome: Outcome
    attempts: int
    error: str | None
    ts: dt.datetime


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A line of the delivery log."""

    id: int
    message_id: UUID
    channel: str
    level: Level
    title: str
    outcome: Outcome
    attempts: int
    error: str | None
    ts: dt.datetime


class Alerts(Protocol):
    """The alerts and the delivery log."""

    async def note(self, raised: Raise, *, announce: bool = False) -> Noted:
        """Open an alert or join the open one; `announce` publishes it as a Notification too."""
        ...

    async def settle(self, raised: Raise, *, announce: bool = False) -> bool:
        """Resolve the open alert of a fingerprint, if any; tell whether there was one."""
        ...

    async def receipt(self, receipt: Receipt) -> None:
        """Add to the delivery log; a delivered parcel marks its alert as told."""
        ...

    async def untold(self) -> Sequence[Parcel]:
        """Return the firing alerts of ERROR and above that nobody was told of yet."""
        ...

    async def open_levels(self) -> dict[Level, int]:
        """Return how many alerts are open, by level."""
        ...

    async def page(
        self, state: AlertState | None, level: Level | None, before: UUID | None, limit: int
    ) -> list[Alert]:
        """Return alerts, newest first."""
        ...

    async def acknowledge(self, alert_id: UUID, by: str) -> Alert:
        """Mark as seen. Raises NotFoundError, ConflictError if it is resolved."""
        ...

    async def resolve(self, alert_id: UUID) -> Alert:
        """Close. Raises NotFoundError, ConflictError if it is resolved already."""
        ...

    async def deliveries(self, before: int | None, limit: int) -> list[DeliveryRow]:
        """Return the delivery log, newest first."""
        ...


class Messenger(Protocol):
    """A channel to people."""

    @property
    def name(self) -> str:
        """What the delivery log calls it."""
        ...

    async def send(self, parcel: Parcel) -> None:
        """Deliver. Raises UnavailableError to be tried again, InvalidInputError if refused."""
        ...
