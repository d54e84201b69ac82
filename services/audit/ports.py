"""What audit's handlers need of the outside world."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from services.audit.logic import Entry, Head, Row
from services.audit.story import Step


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it lies on a stream."""

    stream: str
    entry_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that cannot be recorded, and why."""

    delivery: Delivery
    error: str


@dataclass(frozen=True, slots=True)
class Appended:
    """The outcome of an append: new rows, messages that were known already, the head before it and
    after."""

    rows: int
    duplicates: int
    before: Head
    head: Head


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows to list; every field that is set must match."""

    event_type: str | None = None
    actor: str | None = None
    action: str | None = None
    resource: str | None = None
    outcome: str | None = None
    channel: str | None = None
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    message_id: UUID | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    recorded_since: dt.datetime | None = None
    recorded_until: dt.datetime | None = None
    text: str | None = None
    """Words that stand in the details, as they are written there."""
    ip: Sequence[str] | None = None
    """The tokens that the address may have."""
    user_agent: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, newest first, and after which one to go on (None: there are no more)."""

    rows: Sequence[Row]
    next: int | None


class AuditLog(Protocol):
    """The append-only table."""

    async def append(self, entries: Sequence[Entry]) -> Appended:
        """Link and store what is new, in one transaction and in the given order."""
        ...

    async def page(self, filters: Filters, after: int | None, limit: int) -> Page:
        """Return rows with `seq` below `after`, newest first. Where only reading row by row tells
        whether one matches, a page ends after so many rows read, with what was found by then."""
        ...

    async def holds(self, head: Head) -> bool:
        """Tell whether the row at `head` is still the one we know."""
        ...


class Stories(Protocol):
    """Where the steps of a story stand: in the audit log and in the tables of the path."""

    async def steps(self, story_id: UUID) -> list[Step]:
        """Return all steps that belong to a correlation, message, signal, order or trade."""
        ...
