"""Bring a database up to date: schema, roles and rights, partitions.

`python -m infra.migrate` reads TRADEWIND_DATABASE_URL (an owner's URL). A service's role is named
after the service; its password comes from TRADEWIND_ROLE_PASSWORD_<SERVICE> (or the file that
TRADEWIND_ROLE_PASSWORD_<SERVICE>_FILE names). A role without a password is made but cannot log in.
TRADEWIND_SERVICE_KEY_<SERVICE>[_FILE] is the seed of the key that a service signs with (64 hex
digits; also of `operator`, the person at the machine): its public half is made known to all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from psycopg import sql
from sqlalchemy import create_engine, pool
from sqlalchemy.exc import OperationalError

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.auth.roles import SERVICES as IDENTITIES
from libs.common.runtime.auth.tokens import SERVICE_PREFIX, key_of_seed, kid_of
from libs.common.runtime.schema import WRITERS
from libs.common.runtime.schema.base import APPEND_ONLY, COLUMNS, DEFINERS, PRIVATE, TEMPORARY

ROOT = Path(__file__).resolve().parents[1]
SERVICES = tuple(sorted({service for services in WRITERS.values() for service in services}))
ROLE_CONNECTIONS = 80  # of a server's 100 or 200: nobody shuts the others out
POWERS = ("SUPERUSER", "CREATEROLE", "CREATEDB", "BYPASSRLS", "REPLICATION")
ROLE_LOCK = 0x726F6C6573  # "roles": roles belong to the cluster, one job at a time


def alembic_config() -> Config:
    """Return Alembic's configuration, independent of the working directory."""
    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return config


def migrate(
    url: str,
    passwords: Mapping[str, str] | None = None,
    seeds: Mapping[str, str] | None = None,
) -> None:
    """Upgrade the schema at `url` to the newest revision, provision the services' roles and make
    the public keys of `seeds` known. Raises InvalidInputError for a seed that is none."""
    scheme, _, rest = url.partition("://")
    engine = create_engine(f"{scheme.split('+')[0]}+psycopg://{rest}", poolclass=pool.NullPool)
    config = alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    engine.dispose()
    with psycopg.connect(url) as connection:
        provision_roles(connection, passwords or {})
        provision_keys(connection, seeds or {})


def provision_roles(connection: psycopg.Connection, passwords: Mapping[str, str]) -> None:
    """Make one role a service and grant it: read all but what is private to others, write its
    own tables only.

    Append-only tables are granted INSERT alone, some tables certain columns only. Rights and powers
    that are not due are revoked, from everybody else too: nobody but the services (and whoever owns
    the database) gets in, makes temporary tables or calls our functions.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (ROLE_LOCK,))
    _close_to_everybody(connection)
    known = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    functions = _functions(connection)
    for service in SERVICES:
        role = sql.Identifier(service)
        if service not in known:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
        _without_powers(connection, service)
        if service in passwords:
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                    role, sql.Literal(passwords[service])
                )
            )
        _enter(connection, service)
        for table, writers in WRITERS.items():
            if service not in (*PRIVATE.get(table, (service,)), *writers):
                connection.execute(
                    sql.SQL("REVOKE SELECT ON {} FROM {}").format(sql.Identifier(table), role)
                )
            if service in writers:
                connection.execute(
                    sql.SQL("GRANT {} ON {} TO {}").format(
                        _rights(table), sql.Identifier(table), role
                    )
                )
        for name, signature, definer in functions:
            if not definer or service in DEFINERS[name]:
                connection.execute(
                    sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(sql.SQL(signature), role)
                )


def _close_to_everybody(connection: psycopg.Connection) -> None:
    """Take from PUBLIC what PostgreSQL gives to every role of the cluster."""
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    for _, signature, _ in _functions(connection):
        connection.execute(
            sql.SQL("REVOKE ALL ON FUNCTION {} FROM PUBLIC").format(sql.SQL(signature))
        )


def _enter(connection: psycopg.Connection, service: str) -> None:
    """Let a service's role into the database, to read, and take back whatever else it had."""
    role, database = sql.Identifier(service), sql.Identifier(connection.info.dbname)
    rights = "CONNECT, TEMPORARY" if service in TEMPORARY else "CONNECT"
    for statement in (
        sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(database, role),
        sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(rights), database, role),
        sql.SQL("REVOKE ALL ON SCHEMA public FROM {}").format(role),
        sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role),
        sql.SQL("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {}").format(role),
        sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(role),
        sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(role),
    ):
        connection.execute(statement)


def _without_powers(connection: psycopg.Connection, service: str) -> None:
    """Take a role's powers over the cluster, and bound how many connections it may hold."""
    role = sql.Identifier(service)
    has = connection.execute(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication, rolconnlimit"
        " FROM pg_roles WHERE rolname = %s",
        (service,),
    ).fetchone()
    assert has is not None
    # Said only where something is to change: a superuser alone may touch some of these.
    for power, held in zip(POWERS, has[:-1], strict=True):
        if held:
            connection.execute(sql.SQL("ALTER ROLE {} {}").format(role, sql.SQL(f"NO{power}")))
    if has[-1] != ROLE_CONNECTIONS:
        connection.execute(
            sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(role, sql.Literal(ROLE_CONNECTIONS))
        )


def _functions(connection: psycopg.Connection) -> list[tuple[str, str, bool]]:
    """Return name, signature and "runs with its owner's rights" of the functions of the schema."""
    return connection.execute(
        """
        SELECT p.proname, p.oid::regprocedure::text, p.prosecdef FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f' AND NOT EXISTS (
            SELECT 1 FROM pg_depend d
            WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
        """
    ).fetchall()


def provision_keys(connection: psycopg.Connection, seeds: Mapping[str, str]) -> None:
    """Make the public key of each service known; a former one is forgotten."""
    for service, seed in seeds.items():
        public = key_of_seed(seed, f"the key of {service}").public_key()
        issuer, kid = f"{SERVICE_PREFIX}{service}", kid_of(public)
        connection.execute(
            "DELETE FROM verification_keys WHERE issuer = %s AND kid <> %s", (issuer, kid)
        )
        connection.execute(
            "INSERT INTO verification_keys (kid, issuer, public_key) VALUES (%s, %s, %s)"
            " ON CONFLICT (kid) DO NOTHING",
            (kid, issuer, public.public_bytes_raw()),
        )


def _rights(table: str) -> sql.Composable:
    """Return what the writers of a table may do to it."""
    if table in COLUMNS:
        inserted, updated = (
            sql.SQL(", ").join(map(sql.Identifier, names)) for names in COLUMNS[table]
        )
        return sql.SQL("INSERT ({}), UPDATE ({})").format(inserted, updated)
    return sql.SQL("INSERT" if table in APPEND_ONLY else "INSERT, UPDATE, DELETE")


def passwords_from(environment: Mapping[str, str]) -> dict[str, str]:
    """Read the roles' passwords from TRADEWIND_ROLE_PASSWORD_<SERVICE>[_FILE]."""
    return _named(environment, "TRADEWIND_ROLE_PASSWORD", SERVICES)


def seeds_from(environment: Mapping[str, str]) -> dict[str, str]:
    """Read the seeds of the services' keys from TRADEWIND_SERVICE_KEY_<SERVICE>[_FILE]."""
    return _named(environment, "TRADEWIND_SERVICE_KEY", tuple(IDENTITIES))


def _named(
    environment: Mapping[str, str], prefix: str, services: tuple[str, ...]
) -> dict[str, str]:
    found = {}
    for service in services:
        variable = f"{prefix}_{service.upper()}"
        if variable in environment:
            found[service] = environment[variable]
        elif f"{variable}_FILE" in environment:
            found[service] = Path(environment[f"{variable}_FILE"]).read_text().rstrip("\n")
    return found


def main() -> None:
    """Migrate the database of TRADEWIND_DATABASE_URL[_FILE]."""
    url = os.environ.get("TRADEWIND_DATABASE_URL", "")
    if not url and "TRADEWIND_DATABASE_URL_FILE" in os.environ:
        url = Path(os.environ["TRADEWIND_DATABASE_URL_FILE"]).read_text().rstrip("\n")
    if not url:
        sys.exit("TRADEWIND_DATABASE_URL is not set: which database is to be migrated?")
    try:
        migrate(url, passwords_from(os.environ), seeds_from(os.environ))
    except (psycopg.OperationalError, OperationalError) as error:
        sys.exit(f"migrate: the database cannot be reached: {str(error).splitlines()[0]}")
    except (CommandError, InvalidInputError) as error:
        sys.exit(f"migrate: {error}")
    print("migrated")


if __name__ == "__main__":
    main()
