"""First light: all tables of the trading path

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# Records are never edited: a correction is a new row. The trigger holds for owner and superuser.
REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: its rows are never changed or deleted', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$
"""
IMMUTABLE = (
    "ledger_transfers", "trades", "order_events", "audit_log", "risk_limits_history",
)  # fmt: skip

# The collector makes the month's partition when the first row of a month is near. It owns nothing,
# so the function runs with its owner's rights, for these two tables only.
ENSURE_PARTITION = """
CREATE FUNCTION ensure_month_partition(parent text, month date) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first_day date := date_trunc('month', month);
    partition text := format('%s_p_%s', parent, to_char(first_day, 'YYYY_MM'));
BEGIN
    IF parent NOT IN ('market_quotes', 'market_ohlcv') THEN
        RAISE EXCEPTION '% is not partitioned by month', parent;
    END IF;
    IF to_regclass('public.' || quote_ident(partition)) IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext(partition));
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
            partition, parent,
            first_day::timestamp AT TIME ZONE 'UTC',
            (first_day + interval '1 month')::timestamp AT TIME ZONE 'UTC');
    END IF;
    RETURN partition;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column(
            "context",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "first_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "last_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("last_message_id", sa.Uuid(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "escalations",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('firing', 'acknowledged', 'resolved')", name=op.f("ck_alerts_state_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index(
        "uq_alerts_open",
        "alerts",
        ["fingerprint"],
        unique=True,
        postgresql_where="state <> 'resolved'",
    )
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.Column("causation_id", sa.Uuid(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_log")),
        sa.UniqueConstraint("message_id", name=op.f("uq_audit_log_message_id")),
    )
    op.create_index("ix_audit_log_correlation_id", "audit_log", ["correlation_id"], unique=False)
    op.create_index("ix_audit_log_event_type_ts", "audit_log", ["event_type", "ts"], unique=False)
    op.create_index("ix_audit_log_resource", "audit_log", ["resource"], unique=False)
    op.create_table(
        "data_quality",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("score", sa.Numeric(precision=5, scale=4), nullable=False),
        sa.Column("completeness", sa.Numeric(precision=5, scale=4), nullable=False),
        sa.Column("timeliness", sa.Numeric(precision=5, scale=4), nullable=False),
        sa.Column("validity", sa.Numeric(precision=5, scale=4), nullable=False),
        sa.Column("consistency", sa.Numeric(precision=5, scale=4), nullable=False),
        sa.Column("uniqueness", sa.Numeric(precision=5, scale=4), nullable=False),
        sa.Column("ticks", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "symbol", "day", name=op.f("pk_data_quality")),
    )
    op.create_table(
        "discrepancies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ours", sa.Text(), nullable=False),
        sa.Column("theirs", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discrepancies")),
    )
    op.create_index(
        "uq_discrepancies_open",
        "discrepancies",
        ["account_id", "symbol", "kind"],
        unique=True,
        postgresql_where="resolved_at IS NULL",
    )
    op.create_table(
        "instruments",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("asset_class", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("tick_size", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("lot_size", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("sector", sa.Text(), server_default="unknown", nullable=False),
        sa.Column("tradable", sa.Boolean(), nullable=False),
        sa.Column("shortable", sa.Boolean(), nullable=False),
        sa.Column("fractionable", sa.Boolean(), nullable=False),
        sa.Column("restricted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "provider_symbols",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "valid_from",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("lot_size > 0", name=op.f("ck_instruments_lot_size_positive")),
        sa.CheckConstraint("tick_size > 0", name=op.f("ck_instruments_tick_size_positive")),
        sa.PrimaryKeyConstraint("symbol", name=op.f("pk_instruments")),
    )
    op.create_table(
        "ledger_accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("ledger", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("no_overdraft", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "debits_pending", sa.Numeric(precision=20, scale=8), server_default="0", nullable=False
        ),
        sa.Column(
            "debits_posted", sa.Numeric(precision=20, scale=8), server_default="0", nullable=False
        ),
        sa.Column(
            "credits_pending", sa.Numeric(precision=20, scale=8), server_default="0", nullable=False
        ),
        sa.Column(
            "credits_posted", sa.Numeric(precision=20, scale=8), server_default="0", nullable=False
        ),
        sa.CheckConstraint(
            "NOT no_overdraft OR debits_pending + debits_posted <= credits_posted",
            name=op.f("ck_ledger_accounts_no_overdraft"),
        ),
        sa.CheckConstraint(
            "debits_pending >= 0 AND debits_posted >= 0 AND credits_pending >= 0 AND credits_posted >= 0",
            name=op.f("ck_ledger_accounts_not_negative"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_accounts")),
        sa.UniqueConstraint(
            "owner", "ledger", "code", name=op.f("uq_ledger_accounts_owner_ledger_code")
        ),
    )
    op.create_table(
        "market_ohlcv",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("high", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("low", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("close", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("volume", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("vwap", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("trades", sa.BigInteger(), nullable=True),
        sa.Column("adjusted_close", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "timeframe", "ts", name=op.f("pk_market_ohlcv")),
        postgresql_partition_by="RANGE (ts)",
    )
    op.create_table(
        "market_quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "tick", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_market_quarantine")),
    )
    op.create_index(
        "ix_market_quarantine_symbol_received_at",
        "market_quarantine",
        ["symbol", "received_at"],
        unique=False,
    )
    op.create_table(
        "market_quotes",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bid", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("ask", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("bid_size", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("ask_size", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("last_price", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("volume", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("quality", sa.Numeric(precision=4, scale=3), nullable=True),
        postgresql_partition_by="RANGE (ts)",
    )
    op.create_index("ix_market_quotes_symbol_ts", "market_quotes", ["symbol", "ts"], unique=False)
    op.create_table(
        "notification_deliveries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column(
            "ts", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_deliveries")),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("broker_order_id", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column("order_class", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("replaces_id", sa.Uuid(), nullable=True),
        sa.Column("quantity", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("notional", sa.Numeric(precision=20, scale=4), nullable=True),
        sa.Column(
            "filled_quantity", sa.Numeric(precision=20, scale=8), server_default="0", nullable=False
        ),
        sa.Column(
            "filled_value", sa.Numeric(precision=20, scale=4), server_default="0", nullable=False
        ),
        sa.Column("limit_price", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("stop_price", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("trail_price", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("trail_percent", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column(
            "legs", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("time_in_force", sa.Text(), nullable=False),
        sa.Column("extended_hours", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("anomaly", sa.Text(), nullable=True),
        sa.Column("external", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("protective", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("reducing", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("strategy_id", sa.Text(), nullable=True),
        sa.Column("signal_id", sa.Uuid(), nullable=True),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("risk_assessment_id", sa.Uuid(), nullable=True),
        sa.Column("algo_id", sa.Uuid(), nullable=True),
        sa.Column("generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.Column("event_seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column("hold_id", sa.Uuid(), nullable=True),
        sa.Column("hold_amount", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reject_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("filled_quantity >= 0", name=op.f("ck_orders_filled_not_negative")),
        sa.CheckConstraint(
            "quantity IS NULL OR quantity > 0", name=op.f("ck_orders_quantity_positive")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["orders.id"], name=op.f("fk_orders_parent_id_orders")
        ),
        sa.ForeignKeyConstraint(
            ["replaces_id"], ["orders.id"], name=op.f("fk_orders_replaces_id_orders")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint(
            "account_id", "idempotency_key", name=op.f("uq_orders_account_id_idempotency_key")
        ),
        sa.UniqueConstraint(
            "broker", "broker_order_id", name=op.f("uq_orders_broker_broker_order_id")
        ),
        sa.UniqueConstraint("client_order_id", name=op.f("uq_orders_client_order_id")),
    )
    op.create_index("ix_orders_correlation_id", "orders", ["correlation_id"], unique=False)
    op.create_index("ix_orders_created_at", "orders", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_orders_open",
        "orders",
        ["account_id", "symbol"],
        unique=False,
        postgresql_where="status NOT IN ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced')",
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("epoch", sa.Text(), nullable=True),
        sa.Column("stream_id", sa.Text(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_outbox")),
        sa.UniqueConstraint("id", name=op.f("uq_outbox_id")),
    )
    op.create_index(
        "ix_outbox_unconfirmed",
        "outbox",
        ["source", "seq"],
        unique=False,
        postgresql_where="confirmed_at IS NULL",
    )
    op.create_table(
        "portfolio_equity",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("equity", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("cash", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "ts", name=op.f("pk_portfolio_equity")),
    )
    op.create_table(
        "portfolio_positions",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("avg_cost", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("realized_pnl", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("account_id", "symbol", name=op.f("pk_portfolio_positions")),
    )
    op.create_table(
        "portfolio_snapshots",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("snapshot_date", sa.Date(), nullable=False),
        sa.Column("total_value", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("cash_balance", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("invested_value", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("day_pnl", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("total_pnl", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("opening_value", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column(
            "performance_metrics",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("account_id", "snapshot_date", name=op.f("pk_portfolio_snapshots")),
    )
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("watermark", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "findings", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliations")),
    )
    op.create_index(
        "ix_reconciliations_account_id",
        "reconciliations",
        ["account_id", "finished_at"],
        unique=False,
    )
    op.create_table(
        "risk_assessments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("signal_id", sa.Uuid(), nullable=True),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Text(), nullable=True),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("reference_price", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column(
            "checks", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "order_spec", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("hold", sa.Numeric(precision=20, scale=4), nullable=True),
        sa.Column("bar_ts", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", sa.Text(), server_default="signal", nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("latency_us", sa.Integer(), nullable=False),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "ts", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "verdict IN ('approved', 'denied')", name=op.f("ck_risk_assessments_verdict_known")
        ),
        sa.CheckConstraint(
            "(signal_id IS NULL) <> (request_id IS NULL)",
            name=op.f("ck_risk_assessments_one_origin"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_risk_assessments")),
        sa.UniqueConstraint("request_id", name=op.f("uq_risk_assessments_request_id")),
        sa.UniqueConstraint("signal_id", name=op.f("uq_risk_assessments_signal_id")),
    )
    op.create_index(
        "ix_risk_assessments_correlation_id", "risk_assessments", ["correlation_id"], unique=False
    )
    op.create_index("ix_risk_assessments_order_id", "risk_assessments", ["order_id"], unique=False)
    op.create_index(
        "ix_risk_assessments_strategy_id_symbol_bar_ts",
        "risk_assessments",
        ["strategy_id", "symbol", "bar_ts"],
        unique=False,
    )
    op.create_index("ix_risk_assessments_ts", "risk_assessments", ["ts"], unique=False)
    op.create_table(
        "risk_limits",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("scope_key", sa.Text(), server_default="", nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Numeric(precision=28, scale=8), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column(
            "set_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "scope IN ('account', 'strategy', 'symbol', 'sector')",
            name=op.f("ck_risk_limits_scope_known"),
        ),
        sa.PrimaryKeyConstraint(
            "account_id", "scope", "scope_key", "name", name=op.f("pk_risk_limits")
        ),
    )
    op.create_table(
        "risk_limits_history",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("scope_key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("old_value", sa.Numeric(precision=28, scale=8), nullable=True),
        sa.Column("new_value", sa.Numeric(precision=28, scale=8), nullable=True),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "set_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_risk_limits_history")),
    )
    op.create_table(
        "risk_metrics",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("equity", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("peak_equity", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("drawdown", sa.Numeric(precision=12, scale=8), nullable=False),
        sa.Column("day_pnl", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("gross", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("net", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("leverage", sa.Numeric(precision=12, scale=6), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "ts", name=op.f("pk_risk_metrics")),
    )
    op.create_table(
        "strategies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("class_name", sa.Text(), nullable=False),
        sa.Column("version_hash", sa.Text(), nullable=False),
        sa.Column(
            "params", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "universe", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column("weight", sa.Numeric(precision=8, scale=6), server_default="1", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strategies")),
    )
    op.create_table(
        "trading_state",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column(
            "set_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "state IN ('active', 'reducing', 'halted')", name=op.f("ck_trading_state_state_known")
        ),
        sa.CheckConstraint(
            "generation >= 0", name=op.f("ck_trading_state_generation_not_negative")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_trading_state")),
    )
    op.create_table(
        "ledger_transfers",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("debit_account", sa.Uuid(), nullable=False),
        sa.Column("credit_account", sa.Uuid(), nullable=False),
        sa.Column("ledger", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("pending_id", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("trade_id", sa.Uuid(), nullable=True),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.Column(
            "ts", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "(kind IN ('post', 'void')) = (pending_id IS NOT NULL)",
            name=op.f("ck_ledger_transfers_pending_named"),
        ),
        sa.CheckConstraint(
            "kind IN ('direct', 'pending', 'post', 'void')",
            name=op.f("ck_ledger_transfers_kind_known"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_ledger_transfers_amount_positive")),
        sa.CheckConstraint(
            "debit_account <> credit_account", name=op.f("ck_ledger_transfers_two_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["credit_account"],
            ["ledger_accounts.id"],
            name=op.f("fk_ledger_transfers_credit_account_ledger_accounts"),
        ),
        sa.ForeignKeyConstraint(
            ["debit_account"],
            ["ledger_accounts.id"],
            name=op.f("fk_ledger_transfers_debit_account_ledger_accounts"),
        ),
        sa.ForeignKeyConstraint(
            ["pending_id"],
            ["ledger_transfers.id"],
            name=op.f("fk_ledger_transfers_pending_id_ledger_transfers"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_transfers")),
        sa.UniqueConstraint("seq", name=op.f("uq_ledger_transfers_seq")),
    )
    op.create_index("ix_ledger_transfers_order_id", "ledger_transfers", ["order_id"], unique=False)
    op.create_index("ix_ledger_transfers_trade_id", "ledger_transfers", ["trade_id"], unique=False)
    op.create_index(
        "uq_ledger_transfers_pending_id",
        "ledger_transfers",
        ["pending_id"],
        unique=True,
        postgresql_where="pending_id IS NOT NULL",
    )
    op.create_table(
        "order_events",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("from_status", sa.Text(), nullable=True),
        sa.Column("to_status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "ts", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("fk_order_events_order_id_orders")
        ),
        sa.PrimaryKeyConstraint("order_id", "seq", name=op.f("pk_order_events")),
    )
    op.create_table(
        "signals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column("bar_ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("target", sa.Float(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("reference_price", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("stop", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("take_profit", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("limit_price", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column(
            "features", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["strategy_id"], ["strategies.id"], name=op.f("fk_signals_strategy_id_strategies")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signals")),
        sa.UniqueConstraint(
            "strategy_id", "symbol", "bar_ts", name=op.f("uq_signals_strategy_id_symbol_bar_ts")
        ),
    )
    op.create_index("ix_signals_correlation_id", "signals", ["correlation_id"], unique=False)
    op.create_index("ix_signals_created_at", "signals", ["created_at"], unique=False)
    op.create_table(
        "strategy_states",
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("layout_hash", sa.Text(), nullable=False),
        sa.Column("version_hash", sa.Text(), nullable=False),
        sa.Column(
            "last_decision",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=True,
        ),
        sa.Column("bars", sa.Numeric(precision=20, scale=0), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["strategy_id"],
            ["strategies.id"],
            name=op.f("fk_strategy_states_strategy_id_strategies"),
        ),
        sa.PrimaryKeyConstraint("strategy_id", "symbol", name=op.f("pk_strategy_states")),
    )
    op.create_table(
        "trades",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("executed_price", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("commission", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("fees", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("venue", sa.Text(), nullable=True),
        sa.Column("liquidity", sa.Text(), nullable=True),
        sa.Column("strategy_id", sa.Text(), nullable=True),
        sa.Column("signal_id", sa.Uuid(), nullable=True),
        sa.Column("realized_pnl", sa.Numeric(precision=20, scale=4), nullable=False),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.Column(
            "booked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint("executed_price >= 0", name=op.f("ck_trades_price_not_negative")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_trades_quantity_positive")),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("fk_trades_order_id_orders")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trades")),
        sa.UniqueConstraint("broker", "execution_id", name=op.f("uq_trades_broker_execution_id")),
    )
    op.create_index("ix_trades_booked_at", "trades", ["booked_at", "id"], unique=False)
    op.create_index("ix_trades_correlation_id", "trades", ["correlation_id"], unique=False)
    op.create_index("ix_trades_order_id", "trades", ["order_id"], unique=False)
    op.execute(REFUSE_CHANGE)
    for name in IMMUTABLE:
        op.execute(
            f"CREATE TRIGGER {name}_rows_stand BEFORE UPDATE OR DELETE ON {name} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {name}_table_stands BEFORE TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(ENSURE_PARTITION)


def downgrade() -> None:
    op.execute("DROP FUNCTION ensure_month_partition(text, date)")
    op.drop_index("ix_trades_order_id", table_name="trades")
    op.drop_index("ix_trades_correlation_id", table_name="trades")
    op.drop_index("ix_trades_booked_at", table_name="trades")
    op.drop_table("trades")
    op.drop_table("strategy_states")
    op.drop_index("ix_signals_created_at", table_name="signals")
    op.drop_index("ix_signals_correlation_id", table_name="signals")
    op.drop_table("signals")
    op.drop_table("order_events")
    op.drop_index(
        "uq_ledger_transfers_pending_id",
        table_name="ledger_transfers",
        postgresql_where="pending_id IS NOT NULL",
    )
    op.drop_index("ix_ledger_transfers_trade_id", table_name="ledger_transfers")
    op.drop_index("ix_ledger_transfers_order_id", table_name="ledger_transfers")
    op.drop_table("ledger_transfers")
    op.drop_table("trading_state")
    op.drop_table("strategies")
    op.drop_table("risk_metrics")
    op.drop_table("risk_limits_history")
    op.drop_table("risk_limits")
    op.drop_index("ix_risk_assessments_ts", table_name="risk_assessments")
    op.drop_index("ix_risk_assessments_strategy_id_symbol_bar_ts", table_name="risk_assessments")
    op.drop_index("ix_risk_assessments_order_id", table_name="risk_assessments")
    op.drop_index("ix_risk_assessments_correlation_id", table_name="risk_assessments")
    op.drop_table("risk_assessments")
    op.drop_index("ix_reconciliations_account_id", table_name="reconciliations")
    op.drop_table("reconciliations")
    op.drop_table("portfolio_snapshots")
    op.drop_table("portfolio_positions")
    op.drop_table("portfolio_equity")
    op.drop_index(
        "ix_outbox_unconfirmed", table_name="outbox", postgresql_where="confirmed_at IS NULL"
    )
    op.drop_table("outbox")
    op.drop_index(
        "ix_orders_open",
        table_name="orders",
        postgresql_where="status NOT IN ('denied', 'filled', 'canceled', 'expired', 'rejected', 'replaced')",
    )
    op.drop_index("ix_orders_created_at", table_name="orders")
    op.drop_index("ix_orders_correlation_id", table_name="orders")
    op.drop_table("orders")
    op.drop_table("notification_deliveries")
    op.drop_index("ix_market_quotes_symbol_ts", table_name="market_quotes")
    op.drop_table("market_quotes")
    op.drop_index("ix_market_quarantine_symbol_received_at", table_name="market_quarantine")
    op.drop_table("market_quarantine")
    op.drop_table("market_ohlcv")
    op.drop_table("ledger_accounts")
    op.drop_table("instruments")
    op.drop_index(
        "uq_discrepancies_open", table_name="discrepancies", postgresql_where="resolved_at IS NULL"
    )
    op.drop_table("discrepancies")
    op.drop_table("data_quality")
    op.drop_index("ix_audit_log_resource", table_name="audit_log")
    op.drop_index("ix_audit_log_event_type_ts", table_name="audit_log")
    op.drop_index("ix_audit_log_correlation_id", table_name="audit_log")
    op.drop_table("audit_log")
    op.drop_index("uq_alerts_open", table_name="alerts", postgresql_where="state <> 'resolved'")
    op.drop_table("alerts")
    op.execute("DROP FUNCTION refuse_change()")
