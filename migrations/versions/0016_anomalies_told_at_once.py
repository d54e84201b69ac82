"""An order's anomaly opens its discrepancy, with the alert, in the transaction that writes it

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql" / "0016_anomalies.sql"


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SQL.read_text(encoding="utf-8").replace("%", "%%"))


def downgrade() -> None:
    op.execute("DROP TRIGGER order_turns_odd ON orders")
    op.execute("DROP TRIGGER order_begins_odd ON orders")
    op.execute("DROP FUNCTION order_anomaly_is_told()")
