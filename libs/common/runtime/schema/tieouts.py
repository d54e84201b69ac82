"""Market days tied out with the broker: one row per attempt, none is ever changed."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    func,
)

from libs.common.runtime.schema.base import Id, Instant, Json, table

# `looked_at` is market time. `ours` and `theirs` are the figures of both sides; `movement` our cash
# from the tie-out of the day before to this one; `moved` what each code has moved of it since the
# books began, where the next day's movement starts.
ledger_tieouts = table(
    "ledger_tieouts",
    Column("id", Id, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("result", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("looked_at", Instant, nullable=False),
    Column("ours", Json, nullable=False),
    Column("theirs", Json, nullable=False),
    Column("movement", Json, nullable=False),
    Column("moved", Json, nullable=False),
    Column("differences", Json, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    UniqueConstraint("account_id", "day", "seq"),
    CheckConstraint("result IN ('agrees', 'differs')", name="result_known"),
    Index("ix_ledger_tieouts_created_at", "created_at", "id"),
    writers=("trade_executor",),
    append_only=True,
)
