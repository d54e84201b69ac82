"""Who works for an account: one process of each of the services that decide for it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Text, func

from libs.common.runtime.schema.base import Instant, table

# `epoch` rises with every taking; what a former holder writes is refused by it (`desk_fence`).
# `seen_at` is written by the holder once a second: one that stands still does not.
desks = table(
    "desks",
    Column("service", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("instance", Text, nullable=False),
    Column("taken_at", Instant, nullable=False, server_default=func.now()),
    Column("seen_at", Instant, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("service", "account_id"),
    writers=("risk_manager", "trade_executor"),
)
