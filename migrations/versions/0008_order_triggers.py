"""Orders kept back until their price is met

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "order_triggers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column(
            "request", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("above", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("below", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("valid_until", moment, nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("firing", sa.Integer(), server_default="0", nullable=False),
        sa.Column("met_price", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("met_at", moment, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("correlation_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(above IS NULL) <> (below IS NULL)", name=op.f("ck_order_triggers_one_price")
        ),
        sa.CheckConstraint(
            "status IN ('waiting', 'firing', 'fired', 'canceled', 'expired')",
            name=op.f("ck_order_triggers_status_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_triggers")),
        sa.UniqueConstraint(
            "account_id",
            "idempotency_key",
            name=op.f("uq_order_triggers_account_id_idempotency_key"),
        ),
    )
    op.create_index("ix_order_triggers_created_at", "order_triggers", ["created_at", "id"])
    op.create_index(
        "ix_order_triggers_standing",
        "order_triggers",
        ["account_id"],
        postgresql_where="status IN ('waiting', 'firing')",
    )


def downgrade() -> None:
    op.drop_table("order_triggers")
