"""The migrations give exactly the tables that the code describes, and hold what they promise."""

from __future__ import annotations

import psycopg
import pytest
from alembic import command
from sqlalchemy import create_engine

from infra.migrate import alembic_config, migrate
from tests.support.servers import ServerProcess


def test_migrated_schema_equals_the_described_one(database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    config = alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)
    engine.dispose()


def test_downgrade_to_nothing_and_up_again(pg_server: ServerProcess) -> None:
    with psycopg.connect(pg_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE updown")
    url = pg_server.url.rsplit("/", 1)[0] + "/updown"
    migrate(url)
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    config = alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()
    engine.dispose()
    with psycopg.connect(url) as connection:
        left = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert left == [("alembic_version",)]
    migrate(url)


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    migrate(database_url)
    migrate(database_url)


def test_partition_is_made_once_and_takes_its_month(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        for _ in range(2):
            made = connection.execute(
                "SELECT ensure_month_partition('market_quotes', '2019-03-15')"
            ).fetchone()
            assert made == ("market_quotes_p_2019_03",)
        connection.execute(
            "INSERT INTO market_quotes (symbol, ts, bid, ask, provider) "
            "VALUES ('AAPL', '2019-03-31T23:59:59Z', 1, 2, 'test')"
        )
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(
                "INSERT INTO market_quotes (symbol, ts, bid, ask, provider) "
                "VALUES ('AAPL', '2019-04-01T00:00:00Z', 1, 2, 'test')"
            )


def test_partition_function_refuses_other_tables(database_url: str) -> None:
    with (
        psycopg.connect(database_url) as connection,
        pytest.raises(psycopg.errors.RaiseException, match="not partitioned"),
    ):
        connection.execute("SELECT ensure_month_partition('orders', '2019-03-15')")


@pytest.mark.parametrize("verb", ["DELETE FROM", "TRUNCATE"])
def test_limit_history_cannot_be_removed_even_by_the_owner(database_url: str, verb: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO risk_limits_history (account_id, scope, scope_key, name, set_by) "
            "VALUES ('main', 'account', '', 'x', 'test')"
        )
        with pytest.raises(psycopg.errors.RestrictViolation, match="never changed"):
            connection.execute(f"{verb} risk_limits_history")
