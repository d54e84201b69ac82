"""Alembic's environment: online only, over psycopg, against the metadata of all services."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text

from libs.common.runtime.schema import metadata

LOCK = 0x7472616465  # "trade": one migration at a time


def database_url() -> str:
    """Return the URL to migrate: Alembic's own setting, else TRADEWIND_DATABASE_URL."""
    url = context.config.get_main_option("sqlalchemy.url") or os.environ.get(
        "TRADEWIND_DATABASE_URL", ""
    )
    if not url:
        raise SystemExit("TRADEWIND_DATABASE_URL is not set: which database is to be migrated?")
    scheme, _, rest = url.partition("://")
    return f"{scheme.split('+')[0]}+psycopg://{rest}"


def include_name(name: str | None, kind: str, parents: object) -> bool:
    """Leave the monthly partitions out of the comparison; they are data, not schema."""
    del parents
    return not (kind == "table" and name is not None and "_p_" in name)


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction under an advisory lock."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_name=include_name,
        compare_type=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    engine = create_engine(database_url(), poolclass=pool.NullPool)
    with engine.connect() as opened:
        migrate(opened)
        opened.commit()
