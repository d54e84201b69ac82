"""Execution: balances follow from transfers, orders and executions are written by one call

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"

FUNCTIONS = (
    "executor_write(jsonb, boolean)",
    "executor_add_lines(ledger_transfers[])",
    "executor_release(orders, jsonb, uuid, timestamptz)",
    "ledger_line(uuid, uuid, uuid, text, numeric, text, uuid, text, uuid, uuid, uuid, timestamptz)",
    "executor_standing(orders)",
    "executor_order_event(orders, order_events)",
    "executor_envelope(uuid, text, text, text, uuid, uuid, json)",
    "rfc3339(timestamptz)",
    "divide_half_even(numeric, numeric, integer)",
    "half_even(numeric, integer)",
)


def upgrade() -> None:
    for name in ("0002_ledger.sql", "0002_executor.sql"):
        statement = (SQL / name).read_text(encoding="utf-8")
        op.get_bind().exec_driver_sql(statement.replace("%", "%%"))


def downgrade() -> None:
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    op.execute("DROP TRIGGER ledger_apply ON ledger_transfers")
    op.execute("DROP FUNCTION ledger_apply()")
