"""Positions are closed on record, and a halt may order it for all

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    quantity = sa.Numeric(precision=20, scale=8)
    op.create_table(
        "closings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column(
            "request", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("quantity", quantity, nullable=True),
        sa.Column("percent", quantity, nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("exits", sa.ARRAY(sa.Uuid()), server_default="{}", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("order_quantity", quantity, nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('open', 'closed', 'failed')", name=op.f("ck_closings_status_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_closings")),
    )
    op.create_index(
        "ix_closings_open", "closings", ["account_id"], postgresql_where="status = 'open'"
    )
    op.create_index("ix_closings_created_at", "closings", ["created_at", "id"])
    op.add_column(
        "trading_state",
        sa.Column("flatten", sa.Boolean(), server_default="false", nullable=False),
    )


def downgrade() -> None:
    op.drop_column("trading_state", "flatten")
    op.drop_table("closings")
