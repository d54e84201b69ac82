"""Protections that were asked for

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "protections",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(20, 8), nullable=True),
        sa.Column("stop_price", sa.Numeric(20, 8), nullable=False),
        sa.Column("take_profit_price", sa.Numeric(20, 8), nullable=True),
        sa.Column("entry_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "quantity IS NULL OR quantity > 0", name=op.f("ck_protections_quantity_positive")
        ),
        sa.CheckConstraint("stop_price > 0", name=op.f("ck_protections_stop_positive")),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["orders.id"], name=op.f("fk_protections_entry_id_orders")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_protections")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_protections_entry_id")),
    )
    op.create_index(
        "ix_protections_open",
        "protections",
        ["account_id", "symbol"],
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("protections")
