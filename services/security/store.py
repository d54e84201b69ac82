"""Users, sessions and keys in PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.engine import RowMapping

from libs.common.contracts.channels import SECURITY_REVOCATIONS
from libs.common.contracts.envelope import seal
from libs.common.contracts.messages import Revocation
from libs.common.kernel.errors import NotFoundError, UnavailableError
from libs.common.runtime.auth.tokens import ISSUER
from libs.common.runtime.logging import get_logger
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.security import (
    sessions,
    user_credentials,
    users,
    verification_keys,
)
from services.security.metrics import REVOCATIONS
from services.security.ports import Credentials, Person, Session, User
from services.security.rows import credentials_of, session_of, user_of
from services.security.work_store import PostgresWork

_log = get_logger(__name__)


class SecurityStore:
    """The security service's part of one database; see the port."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._database = runtime.database

    @asynccontextmanager
    async def work(self) -> AsyncIterator[PostgresWork]:
        """Open a transaction; what it revokes is broadcast after its commit."""
        async with self._database.write() as tx:
            work = PostgresWork(tx, self._runtime.outbox, self._runtime.ids)
            yield work
            await work.flush()
        for revocation in work.revoked:
            await self._broadcast(revocation)

    async def find(self, name: str) -> Person | None:
        """Return the user called `name`."""
        row = await self._one(
            select(users, user_credentials)
            .join(user_credentials, user_credentials.c.user_id == users.c.id)
            .where(users.c.name == name)
        )
        return None if row is None else Person(user_of(row), credentials_of(row))

    async def user(self, user_id: UUID) -> User:
        """Return a user. Raises NotFoundError."""
        row = await self._one(select(users).where(users.c.id == user_id))
        if row is None:
            raise NotFoundError(f"there is no user {user_id}")
        return user_of(row)

    async def credentials(self, user_id: UUID) -> Credentials:
        """Return a user's credentials. Raises NotFoundError."""
        row = await self._one(select(user_credentials).where(user_credentials.c.user_id == user_id))
        if row is None:
            raise NotFoundError(f"there is no user {user_id}")
        return credentials_of(row)

    async def users(self, after: str, limit: int) -> Sequence[User]:
        """Return users by name."""
        query = select(users).where(users.c.name > after).order_by(users.c.name).limit(limit)
        async with self._database.read() as session:
            return [user_of(row) for row in await session.rows(query)]

    async def sessions(
        self, user_id: UUID | None, now: dt.datetime, limit: int
    ) -> Sequence[Session]:
        """Return live sessions, newest first."""
        query = (
            select(sessions)
            .where(sessions.c.revoked_at.is_(None), sessions.c.expires_at > now)
            .order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
            .limit(limit)
        )
        if user_id is not None:
            query = query.where(sessions.c.user_id == user_id)
        async with self._database.read() as session:
            return [session_of(row) for row in await session.rows(query)]

    async def verification_keys(self, now: dt.datetime) -> Sequence[tuple[str, bytes]]:
        """Return kid and public key of every key that our tokens may be signed with."""
        query = (
            select(verification_keys.c.kid, verification_keys.c.public_key)
            .where(
                verification_keys.c.issuer == ISSUER,
                or_(verification_keys.c.not_after.is_(None), verification_keys.c.not_after > now),
            )
            .order_by(verification_keys.c.created_at.desc(), verification_keys.c.kid)
        )
        async with self._database.read() as session:
            return [(row["kid"], row["public_key"]) for row in await session.rows(query)]

    async def _one(self, query: Any) -> RowMapping | None:
        async with self._database.read() as session:
            return await session.row(query)

    async def _broadcast(self, revocation: Revocation) -> None:
        runtime = self._runtime
        envelope = seal(
            revocation,
            message_id=runtime.ids.new(),
            ts_ns=runtime.clock.now_ns(),
            source=runtime.name,
            correlation_id=runtime.ids.new(),
        )
        try:
            await runtime.bus.broadcast(SECURITY_REVOCATIONS, envelope)
        except UnavailableError as error:
            # The table is the truth, and every service reads it again within seconds.
            _log.warning("revocation_not_broadcast", error=str(error))
        REVOCATIONS.inc()
