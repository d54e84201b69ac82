"""Market days are tied out with the broker

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    json = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    op.create_table(
        "ledger_tieouts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("looked_at", moment, nullable=False),
        sa.Column("ours", json, nullable=False),
        sa.Column("theirs", json, nullable=False),
        sa.Column("movement", json, nullable=False),
        sa.Column("moved", json, nullable=False),
        sa.Column("differences", json, nullable=False),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "result IN ('agrees', 'differs')", name=op.f("ck_ledger_tieouts_result_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_tieouts")),
        sa.UniqueConstraint(
            "account_id", "day", "seq", name=op.f("uq_ledger_tieouts_account_id_day_seq")
        ),
    )
    op.create_index("ix_ledger_tieouts_created_at", "ledger_tieouts", ["created_at", "id"])


def downgrade() -> None:
    op.drop_table("ledger_tieouts")
