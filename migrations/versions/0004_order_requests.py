"""Orders keep the request that their idempotency key stands for

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    request = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    op.add_column("orders", sa.Column("request", request, nullable=True))


def downgrade() -> None:
    op.drop_column("orders", "request")
