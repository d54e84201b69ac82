"""What the routes of API keys and stored secrets answer with, as OpenAPI tells it."""

from __future__ import annotations

import datetime as dt
from typing import TypedDict
from uuid import UUID


class KeyShape(TypedDict):
    """An API key without its secret, with its last use."""

    id: str
    user_id: UUID
    user: str
    name: str
    permissions: list[str]
    accounts: list[str]
    networks: list[str]
    rate_per_minute: int
    may_step_up: bool
    created_at: dt.datetime
    expires_at: dt.datetime
    revoked_at: dt.datetime | None
    last_used_at: dt.datetime | None
    last_ip: str | None


class NewKeyShape(KeyShape):
    """An API key that has just been made; `key` is shown this once."""

    key: str


class SecretShape(TypedDict):
    """That there is a secret of this name, and since when."""

    name: str
    updated_at: dt.datetime


class BatchShape(TypedDict):
    """What became of some rows of a column; `next` is where to go on, None at the end."""

    column: str
    rows: int
    rotated: int
    unreadable: list[str]
    next: str | None
