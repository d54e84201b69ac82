"""What the audit log says about a message: who, what, to what, with which outcome.

Nothing that is an envelope is refused: a type that this version does not know is recorded
under its own name, so a newer producer never goes unrecorded.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from libs.common.contracts.envelope import Header, read_header
from libs.common.kernel.clock import from_ns, parse_ns
from libs.common.kernel.errors import ContractError, InvalidInputError
from services.audit import calls
from services.audit.logic import Entry, canonical_details
from services.audit.masking import masked, name, plain
from services.audit.sealing import DataKey, sealed

RESOURCE_KINDS: Final = ("signal", "assessment", "order", "trade", "request")
"""Kinds of resource whose name is `kind:uuid`; `trace` looks them up by the bare id."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """How one payload type becomes the columns of a row."""

    action: str
    resource: Callable[[dict[str, Any]], str]
    outcome: Callable[[dict[str, Any]], str]


def _named(kind: str, field: str) -> Callable[[dict[str, Any]], str]:
    return lambda payload: f"{kind}:{payload.get(field, '')}"


def _value(field: str) -> Callable[[dict[str, Any]], str]:
    return lambda payload: str(payload.get(field, ""))


def _always(word: str) -> Callable[[dict[str, Any]], str]:
    return lambda payload: word


_READINGS: Final[dict[str, _Reading]] = {
    "Signal": _Reading("decide", _named("signal", "signal_id"), _value("mode")),
    "RiskAssessment": _Reading("judge", _named("assessment", "assessment_id"), _value("verdict")),
    "ApprovedOrder": _Reading("approve", _named("order", "order_id"), _always("approved")),
    "OrderEvent": _Reading("change", _named("order", "order_id"), _value("to_status")),
    "Trade": _Reading("execute", _named("trade", "trade_id"), _always("booked")),
    "TradeReversed": _Reading("reverse", _named("trade", "trade_id"), _value("kind")),
    "PositionChanged": _Reading("adjust", _named("activity", "activity_id"), _value("kind")),
    "PortfolioUpdate": _Reading("value", _named("account", "account_id"), _always("published")),
    "RiskAlert": _Reading("alert", _named("account", "account_id"), _value("code")),
    "Notification": _Reading("notify", _named("notification", "fingerprint"), _value("level")),
}
_UNKNOWN: Final = _Reading("publish", _always("message"), _always("published"))
_TELLING: Final = frozenset({"AuditEvent", "Command", calls.TYPE})
"""Types that may tell secrets and personal details; calls of a version that is not known yet."""
_decoder: Final = msgspec.json.Decoder(dict[str, Any])


def entry_of(
    data: bytes | str, channel: str, recorded_at: dt.datetime, key: DataKey | None = None
) -> Entry:
    """Return the row for the encoded envelope `data` that came on `channel`, personal details
    sealed with `key` (hidden without).

    Raises ContractError for what is no envelope.
    """
    return _entry_of(data, read_header(data), channel, recorded_at, key)


def entries_of(
    data: bytes | str, channel: str, recorded_at: dt.datetime, key: DataKey | None = None
) -> list[Entry]:
    """Return the rows for an encoded envelope: as `entry_of`, of calls of an API one for each.

    Raises ContractError for what is no envelope.
    """
    header = read_header(data)
    if header.type == calls.TYPE and header.version == calls.VERSION:
        return calls.entries_of_calls(data, header, recorded_at, key)
    return [_entry_of(data, header, channel, recorded_at, key)]


def _entry_of(
    data: bytes | str,
    header: Header,
    channel: str,
    recorded_at: dt.datetime,
    key: DataKey | None,
) -> Entry:
    try:
        envelope = _decoder.decode(data)
        ts = from_ns(parse_ns(header.ts, "ts"))
    except (msgspec.MsgspecError, InvalidInputError) as error:
        raise ContractError(f"not an envelope: {error}") from error
    kind, payload = header.type, envelope["payload"]
    if not isinstance(payload, dict):
        raise ContractError(f"{kind}: the payload is no object")
    if kind in _TELLING:
        envelope["payload"] = payload = sealed(masked(payload), key)
    event_type, actor, action, resource, outcome = _columns(kind, header.source, payload)
    return Entry(
        message_id=header.id,
        ts=ts,
        event_type=name(event_type),
        actor=name(actor),
        action=name(action),
        resource=name(resource),
        outcome=name(outcome),
        channel=channel,
        correlation_id=header.correlation_id,
        causation_id=header.causation_id,
        recorded_at=recorded_at,
        ip=_detail(payload, "ip"),
        user_agent=_detail(payload, "user_agent"),
        details=canonical_details(envelope),
    )


def _columns(kind: str, source: str, payload: dict[str, Any]) -> tuple[str, str, str, str, str]:
    if kind == "AuditEvent":
        names = ("event_type", "actor", "action", "resource", "outcome")
        event_type, actor, action, resource, outcome = (str(payload.get(n, "")) for n in names)
        return event_type or kind, actor or source, action, resource, outcome
    if kind == "Command":
        actor = str(payload.get("actor") or source)
        return kind, actor, str(payload.get("command", "")), "command", "sent"
    reading = _READINGS.get(kind, _UNKNOWN)
    return kind, source, reading.action, reading.resource(payload), reading.outcome(payload)


def _detail(payload: dict[str, Any], name: str) -> str | None:
    details = payload.get("details")
    value = details.get(name) if isinstance(details, dict) else None
    return None if value is None else plain(str(value))
