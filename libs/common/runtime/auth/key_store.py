"""What the database says about API keys and their owners."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.auth.clients import Network, networks_of
from libs.common.runtime.database import Database
from libs.common.runtime.logging import get_logger
from libs.common.runtime.schema.security import api_keys, users

_log = get_logger(__name__)

REMEMBERED: Final = dt.timedelta(days=30)
"""How long after its end a key is told that it has expired; then nobody knows it any more."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key and what its owner may now."""

    id: str
    hash: bytes
    permissions: frozenset[str]
    accounts: frozenset[str]
    networks: tuple[Network, ...]
    rate_per_minute: int
    may_step_up: bool
    expires_at: dt.datetime
    revoked_at: dt.datetime | None
    owner_id: str
    owner: str
    owner_roles: tuple[str, ...]
    owner_accounts: frozenset[str]
    owner_active: bool


async def read_keys(database: Database) -> Mapping[str, ApiKey]:
    """Return all keys by id, but those that expired long ago. Raises UnavailableError."""
    owners = (
        users.c.name.label("owner"),
        users.c.roles,
        users.c.state,
        users.c.must_change_password,
    )
    statement = (
        select(api_keys, *owners, users.c.accounts.label("owner_accounts"))
        .join(users, users.c.id == api_keys.c.user_id)
        .where(api_keys.c.expires_at > func.now() - REMEMBERED)
    )
    async with database.read() as tx:
        rows = await tx.rows(statement)
    found = {}
    for row in rows:
        try:
            networks = networks_of(row["networks"], f"API key {row['id']}")
        except InvalidInputError as error:
            # Never admitted: what somebody wrote past the service that checks it means nothing.
            _log.error("api_key_malformed", error=str(error))
            continue
        found[row["id"]] = ApiKey(
            id=row["id"],
            hash=row["hash"],
            permissions=frozenset(row["permissions"]),
            accounts=frozenset(row["accounts"]),
            networks=networks,
            rate_per_minute=row["rate_per_minute"],
            may_step_up=row["may_step_up"],
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
            owner_id=str(row["user_id"]),
            owner=row["owner"],
            # Who must change the password may do nothing else, and neither may their keys.
            owner_roles=() if row["must_change_password"] else tuple(row["roles"]),
            owner_accounts=frozenset(row["owner_accounts"]),
            owner_active=row["state"] == "active",
        )
    return found
