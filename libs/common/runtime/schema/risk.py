"""Tables of `risk_manager`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Text,
    func,
)

from libs.common.runtime.schema.base import Id, Instant, Json, Money, Price, Quantity, table

WRITER = ("risk_manager",)

risk_limits = table(
    "risk_limits",
    Column("account_id", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("scope_key", Text, nullable=False, server_default=""),
    Column("name", Text, nullable=False),
    Column("value", Numeric(28, 8), nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_at", Instant, nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("account_id", "scope", "scope_key", "name"),
    CheckConstraint("scope IN ('account', 'strategy', 'symbol', 'sector')", name="scope_known"),
    writers=WRITER,
)

risk_limits_history = table(
    "risk_limits_history",
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("scope_key", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("old_value", Numeric(28, 8)),
    Column("new_value", Numeric(28, 8)),
    Column("set_by", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("set_at", Instant, nullable=False, server_default=func.now()),
    writers=WRITER,
    append_only=True,
)

# One row an account: what the kill switch allows. `generation` rises with every halt and every
# resume, so that an approval given before can be told from one given after.
trading_state = table(
    "trading_state",
    Column("account_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_at", Instant, nullable=False, server_default=func.now()),
    # A halt that also closes every position.
    Column("flatten", Boolean, nullable=False, server_default="false"),
    CheckConstraint("state IN ('active', 'reducing', 'halted')", name="state_known"),
    CheckConstraint("generation >= 0", name="generation_not_negative"),
    writers=WRITER,
)

risk_assessments = table(
    "risk_assessments",
    Column("id", Id, primary_key=True),
    Column("signal_id", Id, unique=True),
    Column("request_id", Id, unique=True),
    Column("order_id", Id),
    Column("account_id", Text, nullable=False),
    Column("strategy_id", Text),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("code", Text),
    Column("quantity", Quantity, nullable=False),
    Column("reference_price", Price),
    Column("checks", Json, nullable=False),
    Column("order_spec", Json),
    # What the approval sets aside, as money, until its order ends: part of the book at restart.
    Column("hold", Money),
    # The decision's bar, for a signal: an older one that comes late is superseded.
    Column("bar_ts", Instant),
    Column("source", Text, nullable=False, server_default="signal"),
    # The order that this one would take the place of: an amendment.
    Column("replaces_id", Id),
    Column("generation", BigInteger, nullable=False),
    Column("latency_us", Integer, nullable=False),
    Column("correlation_id", Id, nullable=False),
    Column("expires_at", Instant),
    Column("ts", Instant, nullable=False, server_default=func.now()),
    CheckConstraint("(signal_id IS NULL) <> (request_id IS NULL)", name="one_origin"),
    CheckConstraint("verdict IN ('approved', 'denied')", name="verdict_known"),
    Index("ix_risk_assessments_ts", "ts"),
    Index("ix_risk_assessments_order_id", "order_id"),
    Index("ix_risk_assessments_strategy_id_symbol_bar_ts", "strategy_id", "symbol", "bar_ts"),
    Index("ix_risk_assessments_correlation_id", "correlation_id"),
    writers=WRITER,
)

risk_metrics = table(
    "risk_metrics",
    Column("account_id", Text, nullable=False),
    Column("ts", Instant, nullable=False),
    Column("equity", Money, nullable=False),
    Column("peak_equity", Money, nullable=False),
    Column("drawdown", Numeric(12, 8), nullable=False),
    Column("day_pnl", Money, nullable=False),
    Column("gross", Money, nullable=False),
    Column("net", Money, nullable=False),
    Column("leverage", Numeric(12, 6), nullable=False),
    PrimaryKeyConstraint("account_id", "ts"),
    writers=WRITER,
)
