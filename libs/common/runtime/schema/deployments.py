"""Which version of each service last ran with which settings."""

from __future__ import annotations

from sqlalchemy import Column, PrimaryKeyConstraint, Text

from libs.common.runtime.schema.base import Id, Instant, Json, table
from libs.common.runtime.schema.outbox import SERVICES

# `settings` has no secret in it, `fingerprint` is the SHA-256 of it: what the next start is
# compared with.
deployments = table(
    "deployments",
    Column("service", Text, nullable=False),
    Column("instance", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("settings", Json, nullable=False),
    Column("run", Id, nullable=False),
    Column("started_at", Instant, nullable=False),
    PrimaryKeyConstraint("service", "instance"),
    writers=SERVICES,
)
