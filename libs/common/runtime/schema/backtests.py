"""Tables of `backtester`."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, Text, func, text

from libs.common.runtime.schema.base import Id, Instant, Json, table

WRITER = ("backtester",)

backtests = table(
    "backtests",
    Column("id", Id, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("request", Json, nullable=False),
    Column("request_key", Text, unique=True),
    Column("request_hash", Text, nullable=False),
    Column("instance", Text),
    Column("progress", Json),
    Column("result", Json),
    Column("error", Text),
    Column("artefacts", Json, nullable=False, server_default=text("'[]'::jsonb")),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("submitted_at", Instant, nullable=False, server_default=func.now()),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    CheckConstraint(
        "status IN ('queued', 'running', 'done', 'failed', 'cancelled', 'interrupted')",
        name="status_known",
    ),
    Index("ix_backtests_status_submitted_at", "status", "submitted_at"),
    writers=WRITER,
)
