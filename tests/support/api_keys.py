"""API keys of a test, put where the services read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import psycopg

from libs.common.runtime.auth.key_text import new_api_key
from tests.support.people import Person
from tests.support.tokens import bearer


def add_key(
    database_url: str,
    owner: Person,
    permissions: Sequence[str],
    *,
    accounts: Sequence[str] = ("*",),
    networks: Sequence[str] = (),
    rate_per_minute: int = 1_000_000,
    may_step_up: bool = True,
    expires_in: dt.timedelta = dt.timedelta(hours=1),
    revoked: bool = False,
) -> str:
    """Return the text of a new key of somebody who is enrolled."""
    made = new_api_key()
    now = dt.datetime.now(dt.UTC)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO api_keys (id, user_id, name, hash, permissions, accounts, networks,"
            " rate_per_minute, may_step_up, created_at, expires_at, revoked_at)"
            " VALUES (%s, %s, 'of a test', %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (made.id, owner.id, made.hash, list(permissions), list(accounts), list(networks),
             rate_per_minute, may_step_up, now, now + expires_in, now if revoked else None),
        )  # fmt: skip
    return made.text


def with_key(text: str) -> dict[str, str]:
    """Return the header of a request with a key."""
    return bearer(text)
