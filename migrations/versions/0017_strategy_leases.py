"""Strategies are spread over replicas by leases; the fence refuses a former holder

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# Shared against the exclusive lock of a taking, which waits for what has passed the fence; a
# process that stops inside its transaction must not be waited for. VOLATILE: the look-up sees
# what was committed before it, not before the statement.
FENCE = """
CREATE FUNCTION strategies_fence(ids text[], epochs bigint[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    lost text;
BEGIN
    PERFORM set_config('idle_in_transaction_session_timeout', '5s', true);
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('strategy_lease:' || held.id, 0))
    FROM (SELECT u.id FROM unnest(ids) AS u(id) ORDER BY u.id) AS held;
    SELECT u.id INTO lost
    FROM unnest(ids, epochs) AS u(id, epoch)
    LEFT JOIN strategy_leases l ON l.strategy_id = u.id AND l.epoch = u.epoch
    WHERE l.strategy_id IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'strategy % is run by another replica by now', lost
            USING ERRCODE = 'TW001';
    END IF;
    RETURN true;
END $$
"""


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "strategy_leases",
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("replica", sa.Text()),
        sa.Column("taken_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("strategy_id", name=op.f("pk_strategy_leases")),
        sa.ForeignKeyConstraint(
            ["strategy_id"],
            ["strategies.id"],
            name=op.f("fk_strategy_leases_strategy_id_strategies"),
        ),
    )
    op.create_table(
        "engine_replicas",
        sa.Column("replica", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("seen_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("replica", name=op.f("pk_engine_replicas")),
    )
    op.execute(FENCE)


def downgrade() -> None:
    op.execute("DROP FUNCTION strategies_fence(text[], bigint[])")
    op.drop_table("engine_replicas")
    op.drop_table("strategy_leases")
