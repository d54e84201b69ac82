"""Amendments: an order may take the place of another, and its hold with it

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"
HEAD = "CREATE FUNCTION executor_write"


def upgrade() -> None:
    succession = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    op.add_column("orders", sa.Column("succession", succession, nullable=True))
    op.add_column("risk_assessments", sa.Column("replaces_id", sa.Uuid(), nullable=True))
    _run((SQL / "0006_executor_write.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    before = (SQL / "0002_executor.sql").read_text(encoding="utf-8")
    before = before[before.index(HEAD) :].replace(HEAD, "CREATE OR REPLACE FUNCTION executor_write")
    _run(before)
    op.drop_column("risk_assessments", "replaces_id")
    op.drop_column("orders", "succession")


def _run(statement: str) -> None:
    op.get_bind().exec_driver_sql(statement.replace("%", "%%"))
