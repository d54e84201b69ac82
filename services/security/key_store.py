"""API keys in PostgreSQL; see the ports."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import RowMapping

from libs.common.contracts.messages import AuditEvent
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.security import api_key_uses, api_keys, users
from services.security.key_ports import Key
from services.security.ports import Person, User
from services.security.store import SecurityStore
from services.security.work_store import PostgresWork

_NOT_STORED = ("user", "last_used_at", "last_ip")
_KEYS = (
    select(
        api_keys, users.c.name.label("user"), api_key_uses.c.last_used_at, api_key_uses.c.last_ip
    )
    .join(users, users.c.id == api_keys.c.user_id)
    .outerjoin(api_key_uses, api_key_uses.c.key_id == api_keys.c.id)
)


class PostgresKeyWork:
    """See the port."""

    def __init__(self, work: PostgresWork) -> None:
        self._work = work
        self._tx = work.tx

    async def person(self, user_id: UUID) -> Person | None:
        """See the port."""
        return await self._work.person(user_id)

    async def live_keys(self, user_id: UUID, now: dt.datetime) -> int:
        """See the port."""
        row = await self._tx.row(
            select(func.count().label("live")).where(
                api_keys.c.user_id == user_id,
                api_keys.c.revoked_at.is_(None),
                api_keys.c.expires_at > now,
            )
        )
        return int(row["live"]) if row else 0

    async def add(self, key: Key, hash_: bytes) -> None:
        """See the port."""
        values = {name: value for name, value in asdict(key).items() if name not in _NOT_STORED}
        for name in ("permissions", "accounts", "networks"):
            values[name] = list(values[name])
        await self._tx.execute(insert(api_keys).values(hash=hash_, **values))

    async def key(self, key_id: str) -> Key | None:
        """See the port."""
        row = await self._tx.row(_KEYS.where(api_keys.c.id == key_id))
        return None if row is None else _key_of(row)

    async def revoke(self, key_id: str, now: dt.datetime, until: dt.datetime) -> None:
        """See the port."""
        await self._tx.execute(
            update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=now)
        )
        await self._work.revoke(f"key:{key_id}", now, until)

    async def tell(self, event: AuditEvent) -> None:
        """See the port."""
        await self._work.tell(event)


class PostgresKeyStore:
    """See the port."""

    def __init__(self, runtime: Runtime, store: SecurityStore) -> None:
        self._database = runtime.database
        self._store = store

    @asynccontextmanager
    async def work(self) -> AsyncIterator[PostgresKeyWork]:
        """See the port."""
        async with self._store.work() as work:
            yield PostgresKeyWork(work)

    async def user(self, user_id: UUID) -> User:
        """See the port."""
        return await self._store.user(user_id)

    async def key(self, key_id: str) -> Key | None:
        """See the port."""
        async with self._database.read() as tx:
            row = await tx.row(_KEYS.where(api_keys.c.id == key_id))
        return None if row is None else _key_of(row)

    async def keys(self, user_id: UUID | None, after: str, limit: int) -> Sequence[Key]:
        """See the port."""
        query = _KEYS.where(api_keys.c.id > after).order_by(api_keys.c.id).limit(limit)
        if user_id is not None:
            query = query.where(api_keys.c.user_id == user_id)
        async with self._database.read() as tx:
            return [_key_of(row) for row in await tx.rows(query)]

    async def used(self, key_id: str, at: dt.datetime, ip: str) -> None:
        """See the port."""
        known = select(
            api_keys.c.id, literal(at, api_key_uses.c.last_used_at.type), literal(ip or None)
        ).where(api_keys.c.id == key_id)
        statement = upsert(api_key_uses).from_select(["key_id", "last_used_at", "last_ip"], known)
        told: Any = statement.excluded
        async with self._database.write() as tx:
            await tx.execute(
                statement.on_conflict_do_update(
                    index_elements=[api_key_uses.c.key_id],
                    set_={"last_used_at": told.last_used_at, "last_ip": told.last_ip},
                    where=told.last_used_at > api_key_uses.c.last_used_at,
                )
            )


def _key_of(row: RowMapping) -> Key:
    values = {name: value for name, value in row.items() if name != "hash"}
    for name in ("permissions", "accounts", "networks"):
        values[name] = tuple(values[name])
    return Key(**values)
