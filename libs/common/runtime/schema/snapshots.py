"""Tables of `portfolio`."""

from __future__ import annotations

from sqlalchemy import Column, Date, PrimaryKeyConstraint, Text, func

from libs.common.runtime.schema.base import Instant, Json, Money, table

WRITER = ("portfolio",)

portfolio_snapshots = table(
    "portfolio_snapshots",
    Column("account_id", Text, nullable=False),
    Column("snapshot_date", Date, nullable=False),
    Column("total_value", Money, nullable=False),
    Column("cash_balance", Money, nullable=False),
    Column("invested_value", Money, nullable=False),
    Column("day_pnl", Money, nullable=False),
    Column("total_pnl", Money, nullable=False),
    Column("opening_value", Money, nullable=False),
    Column("performance_metrics", Json, nullable=False),
    Column("updated_at", Instant, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("account_id", "snapshot_date"),
    writers=WRITER,
)

portfolio_equity = table(
    "portfolio_equity",
    Column("account_id", Text, nullable=False),
    Column("ts", Instant, nullable=False),
    Column("equity", Money, nullable=False),
    Column("cash", Money, nullable=False),
    PrimaryKeyConstraint("account_id", "ts"),
    writers=WRITER,
)
