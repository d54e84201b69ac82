"""Orders that the executor keeps back until their price is met."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    func,
)

from libs.common.runtime.schema.base import Id, Instant, Json, Price, table

order_triggers = table(
    "order_triggers",
    Column("id", Id, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    # What was asked for, its order included, in canonical form.
    Column("request", Json, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("above", Price),
    Column("below", Price),
    # Market time.
    Column("valid_until", Instant),
    Column("status", Text, nullable=False),
    # How often its price was met: part of the id of the order that it sends.
    Column("firing", Integer, nullable=False, server_default="0"),
    Column("met_price", Price),
    Column("met_at", Instant),
    Column("reason", Text),
    Column("correlation_id", Id, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    Column("updated_at", Instant, nullable=False, server_default=func.now()),
    CheckConstraint("(above IS NULL) <> (below IS NULL)", name="one_price"),
    CheckConstraint(
        "status IN ('waiting', 'firing', 'fired', 'canceled', 'expired')", name="status_known"
    ),
    UniqueConstraint("account_id", "idempotency_key"),
    Index("ix_order_triggers_created_at", "created_at", "id"),
    Index(
        "ix_order_triggers_standing",
        "account_id",
        postgresql_where="status IN ('waiting', 'firing')",
    ),
    writers=("trade_executor",),
)
