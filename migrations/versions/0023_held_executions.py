"""Executions of the opening balance that the venue takes back afterwards

Revision ID: 0023
Revises: 0022
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql" / "0023_held_executions.sql"


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SQL.read_text(encoding="utf-8").replace("%", "%%"))


def downgrade() -> None:
    op.execute("DROP FUNCTION executor_reverse(jsonb, ledger_transfers[])")
    op.execute("DROP FUNCTION executor_reverse_held(jsonb)")
    op.execute(
        "ALTER FUNCTION executor_reverse_booked(jsonb, ledger_transfers[])"
        " RENAME TO executor_reverse"
    )
