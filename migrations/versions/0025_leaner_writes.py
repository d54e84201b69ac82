"""What an order waits for, with fewer statements and expressions

Revision ID: 0025
Revises: 0024
"""

from __future__ import annotations

import re
from pathlib import Path

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"
BEFORE = {
    "executor_write": "0009_executor.sql",
    "executor_envelope": "0002_executor.sql",
    "ledger_line": "0002_executor.sql",
}


def upgrade() -> None:
    _run((SQL / "0025_leaner_writes.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    for function, file in BEFORE.items():
        written = (SQL / file).read_text(encoding="utf-8")
        found = re.search(
            rf"CREATE (?:OR REPLACE )?(FUNCTION {function}\(.*?\n(?:END )?\$\$;)",
            written,
            re.DOTALL,
        )
        assert found is not None, function
        _run(f"CREATE OR REPLACE {found.group(1)}")


def _run(statement: str) -> None:
    op.get_bind().exec_driver_sql(statement.replace("%", "%%"))
