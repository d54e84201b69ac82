"""What audit's routes answer with, as OpenAPI tells it."""

from __future__ import annotations

import datetime as dt
from typing import Any, TypedDict
from uuid import UUID

from services.audit.logic import Break, Head


class EventShape(TypedDict):
    """A row of the record."""

    seq: int
    message_id: UUID
    ts: dt.datetime
    event_type: str
    actor: str
    action: str
    resource: str
    outcome: str
    channel: str
    correlation_id: UUID
    causation_id: UUID | None
    details: Any
    recorded_at: dt.datetime
    ip: str | None
    user_agent: str | None
    prev_hash: str
    hash: str


class VerificationShape(TypedDict):
    """How much of the chain fits, and how many anchors hold, the last of them up to which row."""

    valid: bool
    rows: int
    head: Head
    broken: Break | None
    anchors: int
    anchored_seq: int
