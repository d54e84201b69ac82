"""Discrepancies are acknowledged and resolved by people, who say why

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = ("acknowledged_by", "acknowledgement", "resolved_by")


def upgrade() -> None:
    op.add_column("discrepancies", sa.Column("acknowledged_at", sa.DateTime(timezone=True)))
    for column in COLUMNS:
        op.add_column("discrepancies", sa.Column(column, sa.Text()))


def downgrade() -> None:
    for column in (*COLUMNS, "acknowledged_at"):
        op.drop_column("discrepancies", column)
