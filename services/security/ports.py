"""What the handlers of `security` need of the outside world."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from libs.common.contracts.messages import AuditEvent, Notification

ALL_ACCOUNTS: Final = "*"


class State(StrEnum):
    """Whether a user may come in."""

    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody; what may be shown to administrators."""

    id: UUID
    name: str
    display_name: str
    roles: tuple[str, ...]
    accounts: tuple[str, ...]
    state: State
    must_change_password: bool
    totp_enabled: bool
    created_at: dt.datetime
    updated_at: dt.datetime
    password_changed_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves that it is them, and how often that went wrong; never shown.

    `totp_secret` is encrypted; without `User.totp_enabled` it waits to be confirmed.
    """

    user_id: UUID
    password_hash: str
    totp_secret: str | None = None
    totp_last_step: int | None = None
    recovery_hashes: tuple[str, ...] = ()
    failures: int = 0
    last_failure_at: dt.datetime | None = None
    locked_until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """A user with their credentials."""

    user: User
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Session:
    """One login and the family of refresh tokens that came of it."""

    id: UUID
    user_id: UUID
    created_at: dt.datetime
    last_used_at: dt.datetime
    expires_at: dt.datetime
    ip: str | None = None
    user_agent: str | None = None
    stepped_up_at: dt.datetime | None = None
    revoked_at: dt.datetime | None = None
    revoked_reason: str | None = None


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One refresh token, by its hash."""

    hash: bytes
    session_id: UUID
    issued_at: dt.datetime
    expires_at: dt.datetime
    used_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A signing key; `private` is encrypted. From `retired_at` on it signs no more."""

    kid: str
    private: str
    public: bytes
    created_at: dt.datetime
    retired_at: dt.datetime | None = None
    not_after: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request came from."""

    ip: str
    user_agent: str


class Work(Protocol):
    """One transaction; what it tells is published, and what it revokes broadcast, if it commits.

    Who changes anything of a user, sessions and tokens too, holds the user (`person`) first.
    """

    async def lock(self, name: str) -> None:
        """Let nobody else into the part of the work called `name` until the end."""
        ...

    async def person(self, user_id: UUID) -> Person | None:
        """Return a user, held until the end."""
        ...

    async def users_exist(self) -> bool:
        """Tell whether there is any user."""
        ...

    async def add_person(self, person: Person) -> None:
        """Add a user. Raises ConflictError if the name is taken."""
        ...

    async def save_user(self, user: User) -> None:
        """Replace a user."""
        ...

    async def remove_person(self, user_id: UUID) -> None:
        """Delete a user with all that hangs on them: credentials, sessions, tokens, API keys."""
        ...

    async def save_credentials(self, credentials: Credentials) -> None:
        """Replace a user's credentials."""
        ...

    async def administrators(self) -> Sequence[UUID]:
        """Return the active administrators."""
        ...

    async def add_session(self, session: Session) -> None:
        """Add a session."""
        ...

    async def session(self, session_id: UUID) -> Session | None:
        """Return a session."""
        ...

    async def save_session(self, session: Session) -> None:
        """Replace a session."""
        ...

    async def live_sessions(self, user_id: UUID, now: dt.datetime) -> Sequence[Session]:
        """Return a user's sessions that are neither ended nor expired, oldest first."""
        ...

    async def refresh_token(self, hash_: bytes) -> RefreshToken | None:
        """Return a refresh token."""
        ...

    async def add_refresh_token(self, token: RefreshToken) -> None:
        """Add a refresh token."""
        ...

    async def use_refresh_token(self, hash_: bytes, now: dt.datetime) -> None:
        """Mark a refresh token as used."""
        ...

    async def revoke(self, subject: str, now: dt.datetime, expires_at: dt.datetime) -> None:
        """Admit `subject` no more, here and in every service."""
        ...

    async def signing_keys(self) -> Sequence[KeyRow]:
        """Return all signing keys, newest first."""
        ...

    async def add_key(self, key: KeyRow) -> None:
        """Add a signing key and publish its public half."""
        ...

    async def retire_key(self, kid: str, now: dt.datetime, not_after: dt.datetime) -> None:
        """Sign no more with a key; its tokens are good until `not_after`."""
        ...

    async def sweep(self, now: dt.datetime) -> None:
        """Forget keys, revocations, tokens and sessions whose time is over."""
        ...

    async def tell(self, event: AuditEvent | Notification) -> None:
        """Store a message for the audit log or for people."""
        ...


class Store(Protocol):
    """The security service's part of the database. All methods raise UnavailableError."""

    def work(self) -> AbstractAsyncContextManager[Work]:
        """Open a transaction."""
        ...

    async def find(self, name: str) -> Person | None:
        """Return the user called `name`."""
        ...

    async def user(self, user_id: UUID) -> User:
        """Return a user. Raises NotFoundError."""
        ...

    async def credentials(self, user_id: UUID) -> Credentials:
        """Return a user's credentials. Raises NotFoundError."""
        ...

    async def users(self, after: str, limit: int) -> Sequence[User]:
        """Return users by name, those after `after`."""
        ...

    async def sessions(
        self, user_id: UUID | None, now: dt.datetime, limit: int
    ) -> Sequence[Session]:
        """Return live sessions, of one user or of all, newest first."""
        ...

    async def verification_keys(self, now: dt.datetime) -> Sequence[tuple[str, bytes]]:
        """Return kid and public key of every key that our tokens may be signed with."""
        ...
