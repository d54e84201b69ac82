"""Since when, in market time, the prices of a protection are meant as they are

Revision ID: 0026
Revises: 0025
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("protections", sa.Column("priced_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("protections", "priced_at")
