"""Calls of an API that travelled in one message: a row for each, the one that a message of its own
would have become."""

from __future__ import annotations

import datetime as dt
from typing import Final
from uuid import UUID

import msgspec

from libs.common.contracts.channels import AUDIT_OPERATIONS
from libs.common.contracts.envelope import Header, Reader
from libs.common.contracts.messages import ApiCall, ApiCalls, AuditEvent
from libs.common.kernel.clock import from_ns, parse_ns
from libs.common.kernel.errors import ContractError, InvalidInputError
from services.audit.logic import Entry
from services.audit.masking import masked, name, plain
from services.audit.sealing import DataKey, sealed

TYPE: Final = ApiCalls.__name__
VERSION: Final = 1


class _Said(msgspec.Struct, frozen=True):
    """The envelope of a call's own message; the fields in the order of canonical details."""

    causation_id: None
    correlation_id: UUID
    id: UUID
    payload: AuditEvent
    source: str
    ts: str
    type: str
    version: int


_reader: Final = Reader(ApiCalls, VERSION)
_canonical: Final = msgspec.json.Encoder(order="sorted")


def entries_of_calls(
    data: bytes | str, header: Header, recorded_at: dt.datetime, key: DataKey | None
) -> list[Entry]:
    """Return the rows of a message of calls, whose header is `header`. Raises ContractError."""
    calls = _reader.read(data).payload.calls
    try:
        ts = from_ns(parse_ns(header.ts, "ts"))
    except InvalidInputError as error:
        raise ContractError(f"not an envelope: {error}") from error
    return [_entry(call, header, ts, recorded_at, key) for call in calls]


def _entry(
    call: ApiCall, header: Header, ts: dt.datetime, recorded_at: dt.datetime, key: DataKey | None
) -> Entry:
    details = sealed(masked(call.event.details), key)
    event = msgspec.structs.replace(call.event, details=details)
    said = _Said(
        None, call.correlation_id, call.id, event, header.source, header.ts,
        AuditEvent.__name__, VERSION,
    )  # fmt: skip
    return Entry(
        message_id=call.id,
        ts=ts,
        event_type=name(event.event_type or AuditEvent.__name__),
        actor=name(event.actor or header.source),
        action=name(event.action),
        resource=name(event.resource),
        outcome=name(event.outcome),
        channel=AUDIT_OPERATIONS.topic,
        correlation_id=call.correlation_id,
        recorded_at=recorded_at,
        ip=_detail(details, "ip"),
        user_agent=_detail(details, "user_agent"),
        details=_canonical.encode(said).decode(),
    )


def _detail(details: dict[str, str], field: str) -> str | None:
    value = details.get(field)
    return None if value is None else plain(value)
