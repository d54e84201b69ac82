"""What requests about API keys carry and answers show; unknown fields are refused."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from libs.common.runtime.auth.roles import ROLES
from services.security.bodies import Accounts, Body, Text
from services.security.key_ports import Key

PERMISSIONS = frozenset().union(*ROLES.values())


def _known_permission(permission: str) -> str:
    if permission not in PERMISSIONS:
        raise ValueError(f"no permission is called {permission!r}")
    return permission


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("names one twice")
    return values


Permission = Annotated[str, Field(max_length=64), AfterValidator(_known_permission)]
Permissions = Annotated[
    tuple[Permission, ...], Field(min_length=1, max_length=64), AfterValidator(_unique)
]
Network = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Fa-f.:/]+$")]
Networks = Annotated[tuple[Network, ...], Field(max_length=32), AfterValidator(_unique)]


class KeyBody(Body):
    """A key to be made. No `accounts` are all of its owner's, no `networks` any; `user_id` makes it
    another user's, which takes an administrator."""

    name: Text
    permissions: Permissions
    accounts: Annotated[Accounts, AfterValidator(_unique)] = ()
    networks: Networks = ()
    expires_at: AwareDatetime
    rate_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    may_step_up: bool = False
    user_id: UUID | None = None


class KeysQuery(BaseModel):
    """Whose keys; `after` is the `next` of the page before."""

    model_config = ConfigDict(extra="forbid")

    user_id: UUID | None = None
    everybody: bool = False
    after: Annotated[str, Field(max_length=64, pattern=r"^[a-z2-7]*$")] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 50


def key_view(key: Key) -> dict[str, Any]:
    """Return a key as the API shows it."""
    return asdict(key)
