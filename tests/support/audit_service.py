"""The audit service on real servers, and what a test asks of its table."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

import psycopg
from fastapi import FastAPI

from libs.common.contracts.channels import AUDIT_EVENTS
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import AuditEvent
from libs.common.runtime.bus import Bus, LogMessage
from libs.common.runtime.database import Database
from services.audit.adapters.chain_scan import verify_chain
from services.audit.entries import entry_of
from services.audit.main import build
from services.audit.settings import AuditSettings
from services.audit.store import AuditStore
from tests.support.runtimes import eventually

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)


def audit_settings(database_url: str, redis_url: str, **changes: Any) -> AuditSettings:
    return AuditSettings.model_validate(
        {
            "database_url": database_url,
            "redis_url": redis_url,
            "outbox_sweep_s": 0.1,
            "claim_idle_s": 1.0,
            "audit_block_ms": 50,
            "audit_lag_s": 0.1,
            **changes,
        }
    )


def audit_service(database_url: str, redis_url: str, **changes: Any) -> FastAPI:
    return build(audit_settings(database_url, redis_url, **changes))


def event(number: int, channel: str = "log:audit.events") -> LogMessage:
    payload = AuditEvent(
        event_type="test", actor="ann", action="click", resource=f"button:{number}",
        outcome="done", ts=NOW, details={"n": str(number), "odd": 'tab\t "quote" \\ ü \n'},
    )  # fmt: skip
    envelope = seal(
        payload,
        message_id=uuid.uuid4(),
        ts_ns=1_700_000_000_000_000_000 + number,
        source="test",
        correlation_id=uuid.uuid4(),
    )
    return LogMessage(envelope.id, AUDIT_EVENTS.name(), channel, encode(envelope))


async def send(redis_url: str, messages: Sequence[LogMessage]) -> None:
    bus = Bus(redis_url, timeout_s=5, name="test")
    await bus.append(messages)
    await bus.close()


# What the service says of itself: its calls, starts, jobs.
OWN = "('ApiCall', 'JobRun', 'ServiceStarted', 'ServiceStopped')"
OTHERS = f"SELECT count(*) FROM audit_log WHERE event_type NOT IN {OWN}"


def whole(database_url: str) -> int:
    """Return how many rows others caused, in a chain that is whole."""
    assert verify_chain(database_url).valid
    return count(database_url)


def count(database_url: str, query: str = OTHERS) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


async def recorded(database_url: str, rows: int) -> None:
    await eventually(lambda: count(database_url) >= rows, what=f"{rows} rows recorded")


async def fill(database_url: str, rows: int) -> None:
    store = AuditStore(Database(database_url, pool_size=1, timeout_s=5, name="test"))
    await store.append([entry_of(event(n).data, "audit.events", NOW) for n in range(rows)])


def as_audit(database_url: str) -> str:
    """Return the URL with which the service's own role logs in."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("ALTER ROLE audit LOGIN PASSWORD 'audit-test'")
    url = database_url.replace("postgres:test-only@", "audit:audit-test@")
    assert url != database_url
    return url
