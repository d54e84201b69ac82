"""API keys as the security service keeps them, and what their handlers need of the store."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from libs.common.contracts.messages import AuditEvent
from services.security.ports import Person, User


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it may be shown to its owner; its secret is known to nobody."""

    id: str
    user_id: UUID
    user: str
    name: str
    permissions: tuple[str, ...]
    accounts: tuple[str, ...]
    networks: tuple[str, ...]
    rate_per_minute: int
    may_step_up: bool
    created_at: dt.datetime
    expires_at: dt.datetime
    revoked_at: dt.datetime | None = None
    last_used_at: dt.datetime | None = None
    last_ip: str | None = None


class KeyWork(Protocol):
    """One transaction; what it tells is published, and what it revokes broadcast, if it commits."""

    async def person(self, user_id: UUID) -> Person | None:
        """Return a user, held until the end."""
        ...

    async def live_keys(self, user_id: UUID, now: dt.datetime) -> int:
        """Return how many keys of a user are good."""
        ...

    async def add(self, key: Key, hash_: bytes) -> None:
        """Add a key."""
        ...

    async def key(self, key_id: str) -> Key | None:
        """Return a key."""
        ...

    async def revoke(self, key_id: str, now: dt.datetime, until: dt.datetime) -> None:
        """Admit a key no more, here and in every service."""
        ...

    async def tell(self, event: AuditEvent) -> None:
        """Store a message for the audit log."""
        ...


class KeyStore(Protocol):
    """The keys' part of the database. All methods raise UnavailableError."""

    def work(self) -> AbstractAsyncContextManager[KeyWork]:
        """Open a transaction."""
        ...

    async def user(self, user_id: UUID) -> User:
        """Return a user. Raises NotFoundError."""
        ...

    async def key(self, key_id: str) -> Key | None:
        """Return a key with its last use."""
        ...

    async def keys(self, user_id: UUID | None, after: str, limit: int) -> Sequence[Key]:
        """Return keys by id, of one user or of all, those after `after`."""
        ...

    async def used(self, key_id: str, at: dt.datetime, ip: str) -> None:
        """Keep the last use of a key; an unknown one is passed over."""
        ...
