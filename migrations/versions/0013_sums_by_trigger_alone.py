"""The sums of ledger accounts are written by the trigger on transfers alone

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # It runs with its owner's rights, so that who adds transfers needs none on the sums.
    op.execute("ALTER FUNCTION ledger_apply() SECURITY DEFINER SET search_path = public, pg_temp")


def downgrade() -> None:
    op.execute("ALTER FUNCTION ledger_apply() SECURITY INVOKER RESET search_path")
