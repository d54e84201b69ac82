"""The database of one set of books: made on first use, brought up to date by `infra.migrate`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

import psycopg
from psycopg import sql

from infra.embedded.errors import EmbeddedError
from infra.embedded.logs import LogFiles
from infra.embedded.postgres import Cluster
from infra.routes import ROOT

MIGRATE_TIMEOUT_S = 120.0
LOG = "migrate"


async def bring_up_to_date(
    cluster: Cluster,
    database: str,
    passwords: Mapping[str, str],
    seeds: Mapping[str, str],
    logs: LogFiles,
) -> None:
    """Make `database` if it is missing and migrate it, roles, rights and public keys included.

    Raises EmbeddedError with the end of the migration's log.
    """
    await _create(cluster, database)
    roles = {f"TRADEWIND_ROLE_PASSWORD_{name.upper()}": value for name, value in passwords.items()}
    keys = {f"TRADEWIND_SERVICE_KEY_{name.upper()}": value for name, value in seeds.items()}
    log = logs.open(LOG)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "infra.migrate",
            env={**os.environ, **roles, **keys, "TRADEWIND_DATABASE_URL": cluster.url(database)},
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    finally:
        os.close(log)
    try:
        async with asyncio.timeout(MIGRATE_TIMEOUT_S):
            code = await process.wait()
    except TimeoutError as error:
        raise EmbeddedError(
            f"the migrations did not end within {MIGRATE_TIMEOUT_S:g} s", _hint(logs)
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        raise EmbeddedError(f"the migrations failed (exit code {code})", _hint(logs))


def _hint(logs: LogFiles) -> str:
    return f"the end of {logs.path(LOG)}:\n{logs.tail(LOG, 15)}"


async def _create(cluster: Cluster, database: str) -> None:
    try:
        async with await psycopg.AsyncConnection.connect(
            cluster.url(), autocommit=True, connect_timeout=5
        ) as connection:
            found = await connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (database,)
            )
            if await found.fetchone() is None:
                await connection.execute(
                    sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database))
                )
    except psycopg.Error as error:
        raise EmbeddedError(f"the database {database} could not be made: {error}") from error
