"""Records are never edited, whatever a session's replication role; what the audit log needs to
grow old: checkpoints, keys of periods; which version of a service ran with which settings

Revision ID: 0022
Revises: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# Among those of 0001. ALWAYS: also for a superuser who sets session_replication_role.
IMMUTABLE = ("ledger_transfers", "trades", "order_events", "audit_log", "risk_limits_history")

# A row of the audit log may go once a checkpoint covers it, and none may ever be changed.
REFUSE_AUDIT_CHANGE = """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.seq <= (SELECT max(seq) FROM audit_checkpoints) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION '% of % is refused: its rows are never changed or deleted', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$
"""


def upgrade() -> None:
    op.create_table(
        "audit_checkpoints",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column(
            "made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_checkpoints")),
    )
    op.create_table(
        "audit_keys",
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("period", name=op.f("pk_audit_keys")),
    )
    op.create_table(
        "deployments",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column(
            "settings",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column("run", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("service", "instance", name=op.f("pk_deployments")),
    )
    op.execute(REFUSE_AUDIT_CHANGE)
    op.execute("DROP TRIGGER audit_log_rows_stand ON audit_log")
    op.execute(
        "CREATE TRIGGER audit_log_rows_stand BEFORE UPDATE OR DELETE ON audit_log "
        "FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()"
    )
    op.execute(
        "CREATE TRIGGER audit_checkpoints_rows_stand BEFORE UPDATE OR DELETE ON audit_checkpoints "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER audit_checkpoints_table_stands BEFORE TRUNCATE ON audit_checkpoints "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    for name in (*IMMUTABLE, "audit_checkpoints"):
        op.execute(f"ALTER TABLE {name} ENABLE ALWAYS TRIGGER {name}_rows_stand")
        op.execute(f"ALTER TABLE {name} ENABLE ALWAYS TRIGGER {name}_table_stands")


def downgrade() -> None:
    for name in IMMUTABLE:
        op.execute(f"ALTER TABLE {name} ENABLE TRIGGER {name}_rows_stand")
        op.execute(f"ALTER TABLE {name} ENABLE TRIGGER {name}_table_stands")
    op.execute("DROP TRIGGER audit_log_rows_stand ON audit_log")
    op.execute(
        "CREATE TRIGGER audit_log_rows_stand BEFORE UPDATE OR DELETE ON audit_log "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute("DROP FUNCTION refuse_audit_change()")
    op.drop_table("deployments")
    op.drop_table("audit_keys")
    op.drop_table("audit_checkpoints")
