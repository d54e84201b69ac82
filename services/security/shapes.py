"""What the routes of `security` answer with, as OpenAPI tells it."""

from __future__ import annotations

import datetime as dt
from typing import Literal, NotRequired, TypedDict
from uuid import UUID


class UserShape(TypedDict):
    """A user."""

    id: UUID
    name: str
    display_name: str
    roles: list[str]
    accounts: list[str]
    state: Literal["active", "disabled"]
    must_change_password: bool
    totp_enabled: bool
    created_at: dt.datetime
    updated_at: dt.datetime
    password_changed_at: dt.datetime


class UserDetailShape(UserShape):
    """A user, and until when they are locked out."""

    locked_until: dt.datetime | None


class NewUserShape(UserShape):
    """A user who has just been made, with the password where one was made for them."""

    password: str | None


class SessionShape(TypedDict):
    """A session; `current` is the one that asks."""

    id: UUID
    user_id: UUID
    created_at: dt.datetime
    last_used_at: dt.datetime
    expires_at: dt.datetime
    ip: str | None
    user_agent: str | None
    stepped_up_at: dt.datetime | None
    current: bool


class AccessShape(TypedDict):
    """An access token; it expires after `expires_in` seconds."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int


class SteppedUpShape(AccessShape):
    """An access token that says when its user last proved who they are."""

    stepped_up_at: dt.datetime


class GrantShape(AccessShape):
    """What a login and a refresh give: `refresh_token`, or `csrf_token` beside a cookie."""

    user: UserShape
    session_id: UUID
    refresh_expires_at: dt.datetime
    refresh_token: NotRequired[str]
    csrf_token: NotRequired[str]


class MeShape(TypedDict):
    """Who asks; `user` is None of a service."""

    kind: Literal["user", "service", "key"]
    name: str
    roles: list[str]
    permissions: list[str]
    accounts: list[str]
    session_id: str | None
    expires_at: dt.datetime
    stepped_up_at: dt.datetime | None
    user: UserShape | None


class JwkShape(TypedDict):
    """A public key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    alg: Literal["EdDSA"]
    use: Literal["sig"]
    kid: str
    x: str


class JwksShape(TypedDict):
    """Public keys (RFC 7517)."""

    keys: list[JwkShape]


class EndedShape(TypedDict):
    """How many sessions were ended."""

    ended: int


class EnrolmentShape(TypedDict):
    """A secret of one-time codes that waits to be confirmed."""

    secret: str
    uri: str


class RecoveryCodesShape(TypedDict):
    """Recovery codes, shown once."""

    recovery_codes: list[str]


class PasswordShape(TypedDict):
    """A password, shown once."""

    password: str


class SigningKeyShape(TypedDict):
    """A new signing key, and from when on it signs."""

    kid: str
    signs_from: dt.datetime
