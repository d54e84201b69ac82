"""Tables of `audit`: the hash-chained record."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text, func

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
    private=True,
)

# Behind a checkpoint rows were dropped after their export. `statement` is the signed line that
# stands among the anchors too: the chain goes on after row `seq`, whose hash it names.
audit_checkpoints = table(
    "audit_checkpoints",
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("statement", Text, nullable=False),
    Column("made_at", Instant, nullable=False, server_default=func.now()),
    writers=WRITER,
    append_only=True,
)

# The keys that a month's personal data are encrypted with, themselves encrypted. Without its key
# (`wrapped` null) what was encrypted in that month can be read no more, and the chain stands.
audit_keys = table(
    "audit_keys",
    Column("period", Text, primary_key=True),
    Column("wrapped", Text),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    Column("erased_at", Instant),
    writers=WRITER,
    private=True,
)
