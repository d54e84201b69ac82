"""Busts, corrections, corporate actions; records that nobody can change

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"
STAMP = sa.DateTime(timezone=True)
NOW = sa.text("now()")
AMOUNT, PRICE, MONEY = sa.Numeric(20, 8), sa.Numeric(20, 8), sa.Numeric(20, 4)
RECORDS = ("trade_reversals", "account_activities", "position_changes")
ADDED = (
    "executor_restate(jsonb)",
    "executor_activity(jsonb)",
    "strategy_parts(text, text, numeric)",
    "executor_reverse(jsonb, ledger_transfers[])",
    "position_replay(portfolio_positions, uuid, trades, position_changes)",
    "position_moved(portfolio_positions, position_changes)",
    "position_fill(portfolio_positions, text, numeric, numeric)",
)
# Executions that were booked before count in the order of their ledger lines. What a position
# began with is its opening transfer; its cost is known where nothing was traded since, and taken
# from the first execution otherwise.
NUMBER_TRADES = """
    ALTER TABLE trades DISABLE TRIGGER trades_rows_stand;
    UPDATE trades SET entry = numbered.entry FROM (
        SELECT t.id, row_number() OVER (
            PARTITION BY t.account_id, t.symbol
            ORDER BY (SELECT min(l.seq) FROM ledger_transfers l WHERE l.trade_id = t.id), t.id
        ) AS entry FROM trades t
    ) numbered WHERE numbered.id = trades.id;
    ALTER TABLE trades ENABLE TRIGGER trades_rows_stand;
    UPDATE portfolio_positions p SET last_entry = counted.entries FROM (
        SELECT account_id, symbol, count(*) AS entries FROM trades GROUP BY account_id, symbol
    ) counted WHERE counted.account_id = p.account_id AND counted.symbol = p.symbol;
    INSERT INTO position_changes (
        id, account_id, symbol, after_entry, kind, quantity, cost, shares, effective_at, booked_at)
    SELECT l.id, a.owner, l.ledger, 0, 'opening',
           CASE WHEN l.credit_account = a.id THEN l.amount ELSE -l.amount END,
           coalesce((SELECT t.executed_price FROM trades t
                     WHERE t.account_id = a.owner AND t.symbol = l.ledger
                     ORDER BY t.entry LIMIT 1),
                    (SELECT p.avg_cost FROM portfolio_positions p
                     WHERE p.account_id = a.owner AND p.symbol = l.ledger), 0),
           jsonb_build_array(jsonb_build_object(
               'strategy_id', NULL,
               'quantity', CASE WHEN l.credit_account = a.id THEN l.amount ELSE -l.amount END)),
           l.ts, l.ts
    FROM ledger_transfers l
    JOIN ledger_accounts a ON a.id IN (l.debit_account, l.credit_account) AND a.code = 'position'
    WHERE l.code = 'opening';
"""


def upgrade() -> None:
    op.add_column("portfolio_positions", _count("last_entry"))
    op.add_column("trades", sa.Column("entry", sa.Integer(), nullable=True))
    op.add_column("trades", sa.Column("replaces", sa.Uuid(), nullable=True))
    op.create_unique_constraint(op.f("uq_trades_replaces"), "trades", ["replaces"])
    op.create_foreign_key(
        op.f("fk_trades_replaces_trades"), "trades", "trades", ["replaces"], ["id"]
    )
    op.create_index("ix_trades_position", "trades", ["account_id", "symbol", "entry"])
    _records()
    op.execute(NUMBER_TRADES)
    op.alter_column("trades", "entry", nullable=False)
    for name in RECORDS:
        op.execute(
            f"CREATE TRIGGER {name}_rows_stand BEFORE UPDATE OR DELETE ON {name} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {name}_table_stands BEFORE TRUNCATE ON {name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    _run("0009_executor.sql")


def downgrade() -> None:
    _run("0006_executor_write.sql")
    for function in ADDED:
        op.execute(f"DROP FUNCTION {function}")
    op.execute("DROP VIEW strategy_positions")
    op.execute("DROP TYPE executor_step")
    for name in ("position_changes", "account_activities", "trade_reversals"):
        op.drop_table(name)
    op.drop_index("ix_trades_position", table_name="trades")
    op.drop_column("trades", "replaces")
    op.drop_column("trades", "entry")
    op.drop_column("portfolio_positions", "last_entry")


def _run(name: str) -> None:
    statement = (SQL / name).read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(statement.replace("%", "%%"))


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default="0", nullable=False)


def _records() -> None:
    op.create_table(
        "trade_reversals",
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("trade_id", sa.Uuid(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=True),
        sa.Column("reversed_at", STAMP, nullable=False),
        sa.Column("realized_pnl", MONEY, nullable=False),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.Column("booked_at", STAMP, server_default=NOW, nullable=False),
        sa.CheckConstraint(
            "kind IN ('bust', 'correction')", name=op.f("ck_trade_reversals_kind_known")
        ),
        sa.ForeignKeyConstraint(
            ["trade_id"], ["trades.id"], name=op.f("fk_trade_reversals_trade_id_trades")
        ),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("fk_trade_reversals_order_id_orders")
        ),
        sa.PrimaryKeyConstraint("broker", "execution_id", name=op.f("pk_trade_reversals")),
        sa.UniqueConstraint("id", name=op.f("uq_trade_reversals_id")),
        sa.UniqueConstraint("trade_id", name=op.f("uq_trade_reversals_trade_id")),
    )
    op.create_index("ix_trade_reversals_order_id", "trade_reversals", ["order_id"])
    op.create_index("ix_trade_reversals_booked_at", "trade_reversals", ["booked_at"])
    op.create_table(
        "account_activities",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("activity_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), server_default="", nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        sa.Column("quantity", AMOUNT, nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("executed_at", STAMP, nullable=False),
        sa.Column("booked_at", STAMP, server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_activities")),
        sa.UniqueConstraint(
            "broker", "activity_id", name=op.f("uq_account_activities_broker_activity_id")
        ),
    )
    op.create_index(
        "ix_account_activities_executed_at", "account_activities", ["account_id", "executed_at"]
    )
    op.create_table(
        "position_changes",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("after_entry", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("quantity", AMOUNT, nullable=False),
        sa.Column("cost", PRICE, server_default="0", nullable=False),
        sa.Column("amount", MONEY, server_default="0", nullable=False),
        sa.Column("realized_pnl", MONEY, server_default="0", nullable=False),
        sa.Column("shares", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("activity_id", sa.Uuid(), nullable=True),
        sa.Column("effective_at", STAMP, nullable=False),
        sa.Column("booked_at", STAMP, server_default=NOW, nullable=False),
        sa.CheckConstraint(
            "kind IN ('opening', 'split', 'cash_in_lieu', 'transfer')",
            name=op.f("ck_position_changes_kind_known"),
        ),
        sa.CheckConstraint("quantity <> 0", name=op.f("ck_position_changes_moves_shares")),
        sa.ForeignKeyConstraint(
            ["activity_id"],
            ["account_activities.id"],
            name=op.f("fk_position_changes_activity_id_account_activities"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_position_changes")),
        sa.UniqueConstraint("seq", name=op.f("uq_position_changes_seq")),
    )
    op.create_index(
        "ix_position_changes_position",
        "position_changes",
        ["account_id", "symbol", "after_entry", "seq"],
    )
