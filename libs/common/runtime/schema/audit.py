"""Tables of `audit`: the hash-chained record."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text

from libs.common.runtime.schema.base import Id, Instant, table

WRITER = ("audit",)

audit_log = table(
    "audit_log",
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("message_id", Id, nullable=False, unique=True),
    Column("ts", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("ip", Text),
    Column("user_agent", Text),
    Column("channel", Text, nullable=False),
    Column("correlation_id", Id, nullable=False),
    Column("causation_id", Id),
    # Text, not JSONB: the hash is taken over these very bytes, and JSONB rewrites numbers.
    Column("details", Text, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index("ix_audit_log_correlation_id", "correlation_id"),
    Index("ix_audit_log_event_type_ts", "event_type", "ts"),
    Index("ix_audit_log_resource", "resource"),
    writers=WRITER,
    append_only=True,
)
