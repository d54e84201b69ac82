"""What strategies have made, and their own limits

Revision ID: 0018
Revises: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    moment = sa.DateTime(timezone=True)
    money = sa.Numeric(20, 4)
    op.add_column("strategies", sa.Column("limits", json, server_default="{}", nullable=False))
    op.create_table(
        "strategy_performance",
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("executions", "trips", "hits")
        ),
        *(
            sa.Column(name, money, nullable=False)
            for name in (
                "realized",
                "unrealized",
                "costs",
                "slippage",
                "referred",
                "pnl",
                "peak",
                "drawdown",
            )
        ),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("opening", money, nullable=False),
        sa.Column("updated_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("strategy_id", name=op.f("pk_strategy_performance")),
        sa.ForeignKeyConstraint(
            ["strategy_id"],
            ["strategies.id"],
            name=op.f("fk_strategy_performance_strategy_id_strategies"),
        ),
    )


def downgrade() -> None:
    op.drop_table("strategy_performance")
    op.drop_column("strategies", "limits")
