"""Tables of `monitoring`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    Text,
    func,
    text,
)

from libs.common.runtime.schema.base import Id, Instant, Json, table

WRITER = ("monitoring",)

alerts = table(
    "alerts",
    Column("id", Id, primary_key=True),
    Column("level", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("context", Json, nullable=False, server_default=text("'{}'::jsonb")),
    Column("state", Text, nullable=False),
    Column("count", Integer, nullable=False, server_default="1"),
    Column("first_at", Instant, nullable=False, server_default=func.now()),
    Column("last_at", Instant, nullable=False, server_default=func.now()),
    Column("last_message_id", Id),
    Column("acknowledged_by", Text),
    Column("acknowledged_at", Instant),
    Column("resolved_at", Instant),
    Column("escalations", Json, nullable=False, server_default=text("'[]'::jsonb")),
    CheckConstraint("state IN ('firing', 'acknowledged', 'resolved')", name="state_known"),
    Index(
        "uq_alerts_open",
        "fingerprint",
        unique=True,
        postgresql_where="state <> 'resolved'",
    ),
    writers=WRITER,
)

notification_deliveries = table(
    "notification_deliveries",
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_id", Id, nullable=False),
    Column("channel", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("ts", Instant, nullable=False, server_default=func.now()),
    writers=WRITER,
)
