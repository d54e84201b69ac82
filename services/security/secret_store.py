"""Stored secrets and encrypted columns in PostgreSQL; see the ports."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Column, Text, cast, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from libs.common.contracts.messages import AuditEvent
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.base import metadata
from libs.common.runtime.schema.security import stored_secrets
from libs.common.runtime.secrets import EncryptedColumn
from services.security.secret_ports import StoredSecret
from services.security.store import SecurityStore
from services.security.work_store import PostgresWork


class PostgresSecretWork:
    """See the port."""

    def __init__(self, work: PostgresWork) -> None:
        self._work = work
        self._tx = work.tx

    async def put(self, name: str, token: str, now: dt.datetime) -> None:
        """See the port."""
        values = {"ciphertext": token, "updated_at": now}
        await self._tx.execute(
            upsert(stored_secrets)
            .values(name=name, **values)
            .on_conflict_do_update(index_elements=[stored_secrets.c.name], set_=values)
        )

    async def remove(self, name: str) -> bool:
        """See the port."""
        row = await self._tx.row(
            delete(stored_secrets)
            .where(stored_secrets.c.name == name)
            .returning(stored_secrets.c.name)
        )
        return row is not None

    async def tokens(
        self, column: EncryptedColumn, after: str, limit: int
    ) -> Sequence[tuple[str, str]]:
        """See the port."""
        key, token = _columns(column)
        rows = await self._tx.rows(
            select(key.label("key"), token.label("token"))
            .where(key > after, token.is_not(None))
            .order_by(key)
            .limit(limit)
            .with_for_update()
        )
        return [(row["key"], row["token"]) for row in rows]

    async def replace(self, column: EncryptedColumn, tokens: Mapping[str, str]) -> None:
        """See the port."""
        key, token = _columns(column)
        for row, new in tokens.items():
            await self._tx.execute(
                update(metadata.tables[column.table]).where(key == row).values({token: new})
            )

    async def tell(self, event: AuditEvent) -> None:
        """See the port."""
        await self._work.tell(event)


class PostgresSecretStore:
    """See the port."""

    def __init__(self, runtime: Runtime, store: SecurityStore) -> None:
        self._database = runtime.database
        self._store = store

    @asynccontextmanager
    async def work(self) -> AsyncIterator[PostgresSecretWork]:
        """See the port."""
        async with self._store.work() as work:
            yield PostgresSecretWork(work)

    async def secrets(self) -> Sequence[StoredSecret]:
        """See the port."""
        query = select(stored_secrets.c.name, stored_secrets.c.updated_at)
        async with self._database.read() as tx:
            rows = await tx.rows(query.order_by(stored_secrets.c.name))
        return [StoredSecret(row["name"], row["updated_at"]) for row in rows]


def _columns(column: EncryptedColumn) -> tuple[Any, Column[Any]]:
    """Return the key as text, in an order that no locale changes, and the column."""
    table = metadata.tables[column.table]
    return cast(table.c[column.key], Text).collate("C"), table.c[column.column]
