"""Stored secrets and the rotation of keys: what their handlers need of the store."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from libs.common.contracts.messages import AuditEvent
from libs.common.runtime.secrets import EncryptedColumn


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """That there is a secret of this name, not what it is."""

    name: str
    updated_at: dt.datetime


class SecretWork(Protocol):
    """One transaction; what it tells is published if it commits."""

    async def put(self, name: str, token: str, now: dt.datetime) -> None:
        """Keep an encrypted value."""
        ...

    async def remove(self, name: str) -> bool:
        """Forget a value; tell whether there was one."""
        ...

    async def tokens(
        self, column: EncryptedColumn, after: str, limit: int
    ) -> Sequence[tuple[str, str]]:
        """Return key and token of rows that have one, by key as text, held until the end."""
        ...

    async def replace(self, column: EncryptedColumn, tokens: Mapping[str, str]) -> None:
        """Replace the tokens of rows that were returned by `tokens`."""
        ...

    async def tell(self, event: AuditEvent) -> None:
        """Store a message for the audit log."""
        ...


class SecretStore(Protocol):
    """The stored secrets' part of the database. All methods raise UnavailableError."""

    def work(self) -> AbstractAsyncContextManager[SecretWork]:
        """Open a transaction."""
        ...

    async def secrets(self) -> Sequence[StoredSecret]:
        """Return what is stored, by name."""
        ...
