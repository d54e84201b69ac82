"""Tables of `strategy_engine`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    func,
    text,
)

from libs.common.runtime.schema.base import Id, Instant, Json, Money, Price, table

WRITER = ("strategy_engine",)

strategies = table(
    "strategies",
    Column("id", Text, primary_key=True),
    Column("class_name", Text, nullable=False),
    Column("version_hash", Text, nullable=False),
    Column("params", Json, nullable=False),
    Column("universe", Json, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("weight", Numeric(8, 6), nullable=False, server_default="1"),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("mode", Text, nullable=False),
    # Its own limits: drawdown_max, daily_loss_max, faults_max.
    Column("limits", Json, nullable=False, server_default="{}"),
    # What it ran before the last swap: class_name, params, version_hash.
    Column("previous", Json),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    Column("updated_at", Instant, nullable=False, server_default=func.now()),
    writers=WRITER,
)

# Who runs a strategy: `epoch` rises whenever that changes, and `strategies_fence` refuses what an
# earlier holder writes. A replica whose `seen_at` is too old is dead, by the database's clock.
strategy_leases = table(
    "strategy_leases",
    Column("strategy_id", Text, ForeignKey("strategies.id"), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("replica", Text),
    Column("taken_at", Instant, nullable=False, server_default=func.now()),
    writers=WRITER,
)

engine_replicas = table(
    "engine_replicas",
    Column("replica", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("seen_at", Instant, nullable=False),
    writers=WRITER,
)

strategy_states = table(
    "strategy_states",
    Column("strategy_id", Text, ForeignKey("strategies.id"), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("as_of", Instant, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("layout_hash", Text, nullable=False),
    Column("version_hash", Text, nullable=False),
    Column("last_decision", Json),
    Column("bars", Numeric(20, 0), nullable=False, server_default="0"),
    PrimaryKeyConstraint("strategy_id", "symbol"),
    writers=WRITER,
)

# What a strategy has made of its executions, when it was last looked at; money in the account's
# currency. `peak` counts from when it went live, `opening` is the P&L at the begin of `day`.
strategy_performance = table(
    "strategy_performance",
    Column("strategy_id", Text, ForeignKey("strategies.id"), primary_key=True),
    Column("mode", Text, nullable=False),
    Column("executions", BigInteger, nullable=False),
    Column("trips", BigInteger, nullable=False),
    Column("hits", BigInteger, nullable=False),
    Column("realized", Money, nullable=False),
    Column("unrealized", Money, nullable=False),
    Column("costs", Money, nullable=False),
    Column("slippage", Money, nullable=False),
    Column("referred", Money, nullable=False),
    Column("pnl", Money, nullable=False),
    Column("peak", Money, nullable=False),
    Column("drawdown", Money, nullable=False),
    Column("day", Date, nullable=False),
    Column("opening", Money, nullable=False),
    Column("updated_at", Instant, nullable=False, server_default=func.now()),
    writers=WRITER,
)

signals = table(
    "signals",
    Column("id", Id, primary_key=True),
    Column("strategy_id", Text, ForeignKey("strategies.id"), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("bar_ts", Instant, nullable=False),
    Column("ts", Instant, nullable=False),
    Column("target", Float, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("reference_price", Price, nullable=False),
    Column("stop", Price),
    Column("take_profit", Price),
    Column("limit_price", Price),
    Column("mode", Text, nullable=False),
    Column("features", Json, nullable=False),
    Column("correlation_id", Id, nullable=False),
    Column("created_at", Instant, nullable=False, server_default=func.now()),
    UniqueConstraint("strategy_id", "symbol", "bar_ts"),
    Index("ix_signals_created_at", "created_at"),
    Index("ix_signals_correlation_id", "correlation_id"),
    writers=WRITER,
)
