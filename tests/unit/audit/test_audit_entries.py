"""What a message becomes in the audit log."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import (
    ApiCall,
    ApiCalls,
    AuditEvent,
    Command,
    Payload,
    Signal,
)
from libs.common.domain.vocabulary import StrategyMode
from libs.common.kernel.errors import ContractError
from services.audit.entries import entries_of, entry_of
from services.audit.sealing import DataKey

NOW = dt.datetime(2026, 11, 20, 15, 30, tzinfo=dt.UTC)
SIGNAL_ID = uuid.UUID(int=5)


def sealed(payload: Payload) -> bytes:
    return encode(
        seal(
            payload,
            message_id=uuid.UUID(int=1),
            ts_ns=1_700_000_000_123_456_789,
            source="strategy_engine",
            correlation_id=uuid.UUID(int=2),
            causation_id=uuid.UUID(int=3),
        )
    )


def signal() -> Signal:
    return Signal(
        signal_id=SIGNAL_ID,
        strategy_id="sma_cross",
        symbol="AAPL",
        timeframe="1m",
        bar_ts=NOW,
        ts_event=NOW,
        target=1.0,
        confidence=1.0,
        reference_price=Decimal("150.10"),
        mode=StrategyMode.LIVE,
    )


def test_signal_names_its_resource_and_keeps_the_whole_envelope() -> None:
    entry = entry_of(sealed(signal()), "log:signals", NOW)
    assert (entry.event_type, entry.actor) == ("Signal", "strategy_engine")
    assert (entry.action, entry.resource, entry.outcome) == (
        "decide",
        f"signal:{SIGNAL_ID}",
        "live",
    )
    assert (entry.channel, entry.recorded_at) == ("log:signals", NOW)
    assert (entry.message_id, entry.correlation_id, entry.causation_id) == tuple(
        uuid.UUID(int=n) for n in (1, 2, 3)
    )
    details = json.loads(entry.details)
    assert details["ts"] == "2023-11-14T22:13:20.123456789Z"
    assert details["payload"]["reference_price"] == "150.10"


def test_audit_event_speaks_for_itself_and_its_secrets_are_masked() -> None:
    event = AuditEvent(
        event_type="login",
        actor="ann",
        action="login",
        resource="user:ann",
        outcome="refused",
        ts=NOW,
        details={"ip": "10.0.0.9", "user_agent": "curl", "password": "hunter2", "api_token": "t"},
    )
    entry = entry_of(sealed(event), "log:audit.events", NOW)
    assert (entry.event_type, entry.actor, entry.outcome) == ("login", "ann", "refused")
    assert (entry.ip, entry.user_agent) == ("***", "***")
    assert "hunter2" not in entry.details
    key = DataKey("2026-11", bytes(64))
    entry = entry_of(sealed(event), "log:audit.events", NOW, key)
    assert (key.open("ip", entry.ip or ""), key.open("user_agent", entry.user_agent or "")) == (
        "10.0.0.9",
        "curl",
    )
    assert "10.0.0.9" not in entry.details
    assert json.loads(entry.details)["payload"]["details"]["api_token"] == "***"


def test_command_is_its_actors_act() -> None:
    command = Command(command="reconcile", actor="scheduler", ts=NOW)
    entry = entry_of(sealed(command), "log:commands", NOW)
    assert (entry.actor, entry.action) == ("scheduler", "reconcile")


def test_unknown_type_is_recorded_under_its_own_name() -> None:
    envelope = json.loads(sealed(signal())) | {"type": "Prophecy", "version": 9}
    entry = entry_of(json.dumps(envelope), "log:signals", NOW)
    assert (entry.event_type, entry.action) == ("Prophecy", "publish")


def test_nul_in_a_column_is_replaced_because_postgresql_text_has_none() -> None:
    event = AuditEvent(event_type="x", actor="a\x00b", action="", resource="", outcome="", ts=NOW)
    entry = entry_of(sealed(event), "log:audit.events", NOW)
    assert entry.actor == "a\ufffdb"
    assert "\x00" not in entry.details


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"[]",
        b"{",
        b'{"id":1}',
        b'{"id":"nonsense","payload":{},"correlation_id":"","ts":"","type":"","source":""}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_envelope_is_refused(broken: bytes) -> None:
    with pytest.raises(ContractError):
        entry_of(broken, "log:signals", NOW)


@pytest.mark.parametrize(("field", "value"), [("payload", [1]), ("ts", "yesterday"), ("id", 5)])
def test_broken_field_is_refused(field: str, value: Any) -> None:
    envelope = json.loads(sealed(signal())) | {field: value}
    with pytest.raises(ContractError):
        entry_of(json.dumps(envelope), "log:signals", NOW)


def test_a_call_in_a_message_of_many_is_the_row_that_a_message_of_its_own_would_be() -> None:
    details = {
        "service": "portfolio", "path": "/a\x00b", "status": "200", "ip": "10.0.0.9",
        "user_agent": 'odd "\u00fc" \\ \x00', "api_key": "hunter2", "email": "",
    }  # fmt: skip
    events = [
        AuditEvent(
            event_type=kind, actor=actor, action="GET", resource="r" * 600, outcome="ok",
            ts=NOW + dt.timedelta(microseconds=7), details=details if actor else {},
        )
        for kind, actor in (("ApiCall", "user:ada"), ("", ""), ("PermissionDenied", "\x00"))
    ]  # fmt: skip
    common = {"ts_ns": 1_700_000_000_123_456_789, "source": "portfolio"}
    ids = [uuid.UUID(int=n) for n in range(3)]
    alone = [
        encode(seal(event, message_id=one, correlation_id=uuid.UUID(int=9), **common))  # type: ignore[arg-type]
        for one, event in zip(ids, events, strict=True)
    ]
    calls = [
        ApiCall(id=one, correlation_id=uuid.UUID(int=9), event=event)
        for one, event in zip(ids, events, strict=True)
    ]
    together = encode(
        seal(
            ApiCalls(calls=calls), message_id=uuid.UUID(int=8), correlation_id=uuid.UUID(int=7),
            **common,  # type: ignore[arg-type]
        )
    )  # fmt: skip
    for key in (None, DataKey("2026-11", bytes(64))):
        rows = entries_of(together, "audit.calls", NOW, key)
        assert rows == [entry_of(one, "audit.operations", NOW, key) for one in alone]
        assert "hunter2" not in rows[0].details
        assert entries_of(alone[0], "audit.operations", NOW, key) == rows[:1]


def test_calls_without_a_time_or_an_id_are_no_envelope() -> None:
    good = sealed(ApiCalls(calls=[]))
    assert entries_of(good, "audit.calls", NOW) == []
    for broken in (
        good.replace(b"2023-11-14T", b"yesterday "),
        good.replace(b'"calls":[]', b'"calls":[{"id":7}]'),
        good.replace(b'"calls":[]', b'"more":[]'),
    ):
        with pytest.raises(ContractError):
            entries_of(broken, "audit.calls", NOW)
