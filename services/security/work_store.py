"""One transaction of `security` in PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict
from uuid import UUID

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from libs.common.contracts.channels import AUDIT_EVENTS, NOTIFICATIONS
from libs.common.contracts.messages import AuditEvent, Notification, Revocation
from libs.common.kernel.errors import ConflictError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.auth.tokens import ISSUER
from libs.common.runtime.bus import LogMessage
from libs.common.runtime.database import WriteSession
from libs.common.runtime.logging import correlation_id_var
from libs.common.runtime.outbox import Outbox
from libs.common.runtime.schema.security import (
    refresh_tokens,
    revocations,
    sessions,
    signing_keys,
    user_credentials,
    users,
    verification_keys,
)
from services.security.ports import (
    Credentials,
    KeyRow,
    Person,
    RefreshToken,
    Session,
    State,
    User,
)
from services.security.rows import (
    credentials_of,
    credentials_values,
    key_of,
    refresh_token_of,
    session_of,
    user_of,
    user_values,
)

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('security'), hashtext(:name))")
_ADMIN = "admin"


class PostgresWork:
    """See the port."""

    def __init__(self, tx: WriteSession, outbox: Outbox, ids: IdSource) -> None:
        self.tx = tx
        self._outbox = outbox
        self._correlation_id = correlation_id_var.get() or ids.new()
        self._told: list[LogMessage] = []
        self.revoked: list[Revocation] = []

    async def lock(self, name: str) -> None:
        """See the port."""
        await self.tx.execute(_LOCK, {"name": name})

    async def person(self, user_id: UUID) -> Person | None:
        """See the port."""
        row = await self.tx.row(
            select(users, user_credentials)
            .join(user_credentials, user_credentials.c.user_id == users.c.id)
            .where(users.c.id == user_id)
            .with_for_update()
        )
        return None if row is None else Person(user_of(row), credentials_of(row))

    async def users_exist(self) -> bool:
        """See the port."""
        return await self.tx.row(select(users.c.id).limit(1)) is not None

    async def add_person(self, person: Person) -> None:
        """See the port."""
        row = await self.tx.row(
            upsert(users)
            .values(**user_values(person.user))
            .on_conflict_do_nothing(index_elements=[users.c.name])
            .returning(users.c.id)
        )
        if row is None:
            raise ConflictError(f"there is a user called {person.user.name!r} already")
        await self.tx.execute(
            insert(user_credentials).values(**credentials_values(person.credentials))
        )

    async def save_user(self, user: User) -> None:
        """See the port."""
        await self.tx.execute(
            update(users).where(users.c.id == user.id).values(**user_values(user))
        )

    async def remove_person(self, user_id: UUID) -> None:
        """See the port."""
        await self.tx.execute(delete(users).where(users.c.id == user_id))

    async def save_credentials(self, credentials: Credentials) -> None:
        """See the port."""
        await self.tx.execute(
            update(user_credentials)
            .where(user_credentials.c.user_id == credentials.user_id)
            .values(**credentials_values(credentials))
        )

    async def administrators(self) -> Sequence[UUID]:
        """See the port."""
        rows = await self.tx.rows(
            select(users.c.id)
            .where(users.c.state == State.ACTIVE.value, users.c.roles.contains([_ADMIN]))
            .order_by(users.c.id)
        )
        return [row["id"] for row in rows]

    async def add_session(self, session: Session) -> None:
        """See the port."""
        await self.tx.execute(insert(sessions).values(**asdict(session)))

    async def session(self, session_id: UUID) -> Session | None:
        """See the port."""
        row = await self.tx.row(select(sessions).where(sessions.c.id == session_id))
        return None if row is None else session_of(row)

    async def save_session(self, session: Session) -> None:
        """See the port."""
        await self.tx.execute(
            update(sessions).where(sessions.c.id == session.id).values(**asdict(session))
        )

    async def live_sessions(self, user_id: UUID, now: dt.datetime) -> Sequence[Session]:
        """See the port."""
        rows = await self.tx.rows(
            select(sessions)
            .where(
                sessions.c.user_id == user_id,
                sessions.c.revoked_at.is_(None),
                sessions.c.expires_at > now,
            )
            .order_by(sessions.c.created_at, sessions.c.id)
        )
        return [session_of(row) for row in rows]

    async def refresh_token(self, hash_: bytes) -> RefreshToken | None:
        """See the port."""
        row = await self.tx.row(select(refresh_tokens).where(refresh_tokens.c.hash == hash_))
        return None if row is None else refresh_token_of(row)

    async def add_refresh_token(self, token: RefreshToken) -> None:
        """See the port."""
        await self.tx.execute(insert(refresh_tokens).values(**asdict(token)))

    async def use_refresh_token(self, hash_: bytes, now: dt.datetime) -> None:
        """See the port."""
        await self.tx.execute(
            update(refresh_tokens).where(refresh_tokens.c.hash == hash_).values(used_at=now)
        )

    async def revoke(self, subject: str, now: dt.datetime, expires_at: dt.datetime) -> None:
        """See the port."""
        values = {"revoked_at": now, "expires_at": expires_at}
        await self.tx.execute(
            upsert(revocations)
            .values(subject=subject, **values)
            .on_conflict_do_update(index_elements=[revocations.c.subject], set_=values)
        )
        self.revoked.append(Revocation(subject=subject, revoked_at=now, expires_at=expires_at))

    async def signing_keys(self) -> Sequence[KeyRow]:
        """See the port."""
        rows = await self.tx.rows(
            select(
                signing_keys.c.kid,
                signing_keys.c.private_key,
                signing_keys.c.created_at,
                signing_keys.c.retired_at,
                verification_keys.c.public_key,
                verification_keys.c.not_after,
            )
            .join(verification_keys, verification_keys.c.kid == signing_keys.c.kid)
            .order_by(
                signing_keys.c.created_at.desc(), signing_keys.c.retired_at.desc().nulls_first()
            )
        )
        return [key_of(row) for row in rows]

    async def add_key(self, key: KeyRow) -> None:
        """See the port."""
        await self.tx.execute(
            insert(verification_keys).values(
                kid=key.kid,
                issuer=ISSUER,
                public_key=key.public,
                created_at=key.created_at,
                not_after=key.not_after,
            )
        )
        await self.tx.execute(
            insert(signing_keys).values(
                kid=key.kid,
                private_key=key.private,
                created_at=key.created_at,
                retired_at=key.retired_at,
            )
        )

    async def retire_key(self, kid: str, now: dt.datetime, not_after: dt.datetime) -> None:
        """See the port."""
        await self.tx.execute(
            update(signing_keys).where(signing_keys.c.kid == kid).values(retired_at=now)
        )
        await self.tx.execute(
            update(verification_keys)
            .where(verification_keys.c.kid == kid)
            .values(not_after=not_after)
        )

    async def sweep(self, now: dt.datetime) -> None:
        """See the port."""
        over = select(verification_keys.c.kid).where(
            verification_keys.c.issuer == ISSUER, verification_keys.c.not_after <= now
        )
        await self.tx.execute(delete(signing_keys).where(signing_keys.c.kid.in_(over)))
        await self.tx.execute(
            delete(verification_keys).where(
                verification_keys.c.issuer == ISSUER, verification_keys.c.not_after <= now
            )
        )
        await self.tx.execute(delete(revocations).where(revocations.c.expires_at <= now))
        await self.tx.execute(delete(sessions).where(sessions.c.expires_at <= now))

    async def tell(self, event: AuditEvent | Notification) -> None:
        """See the port."""
        notice = isinstance(event, Notification)
        self._told.append(
            self._outbox.prepare(
                NOTIFICATIONS if notice else AUDIT_EVENTS,
                event,
                correlation_id=self._correlation_id,
                key="security" if notice else "",
            )
        )

    async def flush(self) -> None:
        """Store what was told, as the last thing of the transaction."""
        await self._outbox.store(self.tx, self._told)
