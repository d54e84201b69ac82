"""The security service on test servers, quick to hash, with a clock that a test may move."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec
import psycopg
from fastapi import FastAPI

from libs.common.kernel.clock import ManualClock
from libs.common.runtime.secrets import new_key
from services.security.main import build
from services.security.settings import SecuritySettings
from tests.support.runtimes import ready, serving
from tests.support.tokens import bearer

AUTH: Final = "/api/v1/auth"
USERS: Final = "/api/v1/users"
PASSWORD: Final = "correct horse battery"
FIRST: Final = "the first of passwords"
_KEY: Final = new_key()


@dataclass(frozen=True)
class House:
    """A running security service, its client (who is the operator unless told otherwise), its
    clock."""

    app: FastAPI
    client: httpx.AsyncClient
    clock: ManualClock
    database_url: str

    async def login(self, name: str = "anna", password: str = PASSWORD, **more: Any) -> Any:
        """Log in; return the answer."""
        body = {"name": name, "password": password, **more}
        return await self.client.post(f"{AUTH}/login", json=body)

    async def tokens(self, name: str = "anna", password: str = PASSWORD, **more: Any) -> Any:
        """Log in; return the tokens."""
        answer = await self.login(name, password, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refresh(self, token: str) -> httpx.Response:
        """Use a refresh token."""
        return await self.client.post(f"{AUTH}/refresh", json={"refresh_token": token})

    async def me(self, tokens: Any) -> httpx.Response:
        """Ask who one is, with an access token."""
        return await self.client.get(f"{AUTH}/me", headers=bearer(tokens["access_token"]))

    async def post(self, path: str, tokens: Any, body: Any = None) -> httpx.Response:
        """Post as the user of `tokens`."""
        headers = bearer(tokens["access_token"])
        return await self.client.post(f"{AUTH}{path}", json=body, headers=headers)

    async def add(self, name: str = "anna", *roles: str, accounts: tuple[str, ...] = ()) -> Any:
        """Add a user whose password is PASSWORD and need not be changed; return the user."""
        given = f"{PASSWORD} at first"
        body = {
            "name": name,
            "roles": roles or ("viewer",),
            "accounts": accounts or ("*",),
            "password": given,
        }
        made = await self.client.post(USERS, json=body)
        assert made.status_code == 201, made.text
        tokens = await self.tokens(name, given)
        change = {"current_password": given, "new_password": PASSWORD}
        changed = await self.post("/password", tokens, change)
        assert changed.status_code == 200, changed.text
        return made.json()

    def told(self, channel: str = "audit.events") -> list[Any]:
        """Return what was stored for a channel, oldest first."""
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute(
                "SELECT message FROM outbox WHERE source = 'security' AND channel LIKE %s"
                " ORDER BY seq",
                (f"{channel}%",),
            ).fetchall()
        return [msgspec.json.decode(row[0])["payload"] for row in rows]

    def kinds(self) -> list[tuple[str, str]]:
        """Return event type and outcome of the service's own audit events."""
        events = [each for each in self.told() if each["event_type"].startswith("security.")]
        return [(each["event_type"], each["outcome"]) for each in events]


def settings_for(database_url: str, redis_url: str, **changes: Any) -> SecuritySettings:
    """Return settings that make tests quick."""
    return SecuritySettings.model_validate(
        {
            "database_url": database_url,
            "redis_url": redis_url,
            "encryption_keys": _KEY,
            "heartbeat_s": 0.5,
            "outbox_sweep_s": 0.1,
            "password_time_cost": 1,
            "password_memory_kib": 8,
            "refusal_s": 0.01,
            "refusal_s_max": 0.01,
            "logins_per_minute_user": 1000,
            "logins_per_minute_address": 1000,
            "first_password": FIRST,
            **changes,
        }
    )


@asynccontextmanager
async def house(database_url: str, redis_url: str, **changes: Any) -> AsyncIterator[House]:
    """Run the service."""
    clock = ManualClock(dt.datetime.now(dt.UTC))
    app = build(settings_for(database_url, redis_url, **changes), clock)
    async with serving(app) as client:
        await ready(client)
        yield House(app, client, clock, database_url)
