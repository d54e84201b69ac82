"""The outbox: messages that are committed with the rows they speak of."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Identity, Index, LargeBinary, Text, func

from libs.common.runtime.schema.base import Id, Instant, table

SERVICES: Final = (
    "data_collector",
    "strategy_engine",
    "risk_manager",
    "trade_executor",
    "portfolio",
    "monitoring",
    "audit",
    "backtester",
    "security",
)

# `seq` gives the order of publishing within a source. `epoch` names the Redis life in which the
# row was last published; `stream_id` where it stands there; `confirmed_at` is set once every
# acting consumer group has acknowledged it.
outbox = table(
    "outbox",
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("id", Id, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("message", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    Column("published_at", Instant),
    Column("epoch", Text),
    Column("stream_id", Text),
    Column("confirmed_at", Instant),
    Index(
        "ix_outbox_unconfirmed",
        "source",
        "seq",
        postgresql_where="confirmed_at IS NULL",
    ),
    writers=SERVICES,
)
