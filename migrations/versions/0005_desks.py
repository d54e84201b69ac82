"""One process works for an account: desks, and the fence that refuses a former holder

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Exclusive against the fence's shared lock: a take-over waits for what has passed the fence.
TAKE = """
CREATE FUNCTION desk_take(taken text, account text, holder text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    mine bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('desk_fence:' || taken || ':' || account, 0));
    INSERT INTO desks (service, account_id, epoch, instance, taken_at)
    VALUES (taken, account, 1, holder, clock_timestamp())
    ON CONFLICT (service, account_id) DO UPDATE SET
        epoch = desks.epoch + 1, instance = excluded.instance, taken_at = excluded.taken_at
    RETURNING epoch INTO mine;
    RETURN mine;
END $$
"""
# VOLATILE: each query inside sees what was committed before it, not before the statement.
FENCE = """
CREATE FUNCTION desk_fence(held text, account text, mine bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF mine IS NULL THEN
        RETURN true;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(
        hashtextextended('desk_fence:' || held || ':' || account, 0));
    PERFORM 1 FROM desks d WHERE d.service = held AND d.account_id = account AND d.epoch = mine;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'desk % of account % is no longer held by epoch %', held, account, mine
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN true;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "desks",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column(
            "taken_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("service", "account_id", name=op.f("pk_desks")),
    )
    op.execute(TAKE)
    op.execute(FENCE)


def downgrade() -> None:
    op.execute("DROP FUNCTION desk_fence(text, text, bigint)")
    op.execute("DROP FUNCTION desk_take(text, text, text)")
    op.drop_table("desks")
