"""Access tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037), written and read.

A user's token comes from the security service; a service signs its own with its own key, and no
token is valid for longer than its kind allows. `kid` names the key; which issuer may use a key is
decided by the key's entry, never by the token.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import uuid
from collections.abc import Iterable
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.auth.errors import unauthenticated
from libs.common.runtime.auth.principal import Kind, Principal
from libs.common.runtime.auth.roles import ALL_ACCOUNTS, SERVICES, permissions_of

ISSUER: Final = "tradewind"
AUDIENCE: Final = "tradewind"
SERVICE_PREFIX: Final = "service:"
ALGORITHM: Final = "EdDSA"
USER_TTL: Final = dt.timedelta(minutes=15)
SERVICE_TTL: Final = dt.timedelta(seconds=120)
SKEW: Final = dt.timedelta(seconds=30)
"""How far the clocks of two machines may be apart."""
TOKEN_CHARS_MAX: Final = 4096
_SEED_BYTES: Final = 32


def key_of_seed(text: str, what: str = "service_key") -> Ed25519PrivateKey:
    """Return the private key of a seed of 64 hex digits. Raises InvalidInputError."""
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        raise InvalidInputError(f"{what}: must be {2 * _SEED_BYTES} hex digits")
    return Ed25519PrivateKey.from_private_bytes(seed)


def kid_of(public: Ed25519PublicKey) -> str:
    """Return a key's name: the start of the SHA-256 of its 32 bytes, base64url."""
    digest = hashlib.sha256(public.public_bytes_raw()).digest()
    return base64.urlsafe_b64encode(digest[:15]).decode()


def user_token(
    key: Ed25519PrivateKey,
    *,
    user_id: uuid.UUID,
    name: str,
    roles: Iterable[str],
    accounts: Iterable[str],
    session_id: uuid.UUID,
    now: dt.datetime,
    ttl: dt.timedelta = USER_TTL,
    stepped_up_at: dt.datetime | None = None,
) -> str:
    """Return an access token of a user's session."""
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user_id),
        "name": name,
        "roles": list(roles),
        "accounts": list(accounts),
        "sid": str(session_id),
        "jti": str(uuid.uuid4()),
        "iat": now.timestamp(),
        "exp": (now + ttl).timestamp(),
    }
    if stepped_up_at is not None:
        claims["sut"] = stepped_up_at.timestamp()
    return _signed(key, claims)


def service_token(
    key: Ed25519PrivateKey, service: str, now: dt.datetime, ttl: dt.timedelta = SERVICE_TTL
) -> str:
    """Return a token by which `service` says who it is."""
    subject = f"{SERVICE_PREFIX}{service}"
    return _signed(
        key,
        {
            "iss": subject,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now.timestamp(),
            "exp": (now + ttl).timestamp(),
        },
    )


def _signed(key: Ed25519PrivateKey, claims: dict[str, Any]) -> str:
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": kid_of(key.public_key())})


def kid_in(token: str) -> str:
    """Return which key a token says it is signed with. Raises AccessError."""
    if len(token) > TOKEN_CHARS_MAX:
        raise unauthenticated("malformed-token", "The token is too long.")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError as error:
        raise unauthenticated("malformed-token", "The token is no JWT.") from error
    kid = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(kid, str):
        raise unauthenticated("malformed-token", f"The token is not {ALGORITHM} with a kid.")
    return kid


def read(token: str, public: Ed25519PublicKey, issuer: str, now: dt.datetime) -> Principal:
    """Return who a token speaks for; `issuer` is whom the key belongs to.

    Raises AccessError for a wrong signature, issuer or audience, missing claims, a token that has
    expired, is of the future or lives longer than its kind may.
    """
    try:
        claims = jwt.decode(
            token,
            public,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=issuer,
            # Times are checked below, by the service's own clock.
            options={
                "require": ["iss", "aud", "sub", "iat", "exp"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        issued_at, expires_at = _instant(claims["iat"]), _instant(claims["exp"])
        found = _principal(claims, issuer, issued_at, expires_at)
    except jwt.InvalidSignatureError as error:
        raise unauthenticated("wrong-signature", "The token's signature is wrong.") from error
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise unauthenticated("malformed-token", "The token's claims are not ours.") from error
    longest = USER_TTL if found.kind is Kind.USER else SERVICE_TTL
    if issued_at > now + SKEW or expires_at - issued_at > longest + SKEW:
        raise unauthenticated("malformed-token", "The token's times are not ours.")
    if expires_at <= now:
        raise unauthenticated("expired-token", "The token has expired.")
    return found


def _principal(
    claims: dict[str, Any], issuer: str, issued_at: dt.datetime, expires_at: dt.datetime
) -> Principal:
    subject = str(claims["sub"])
    if issuer == ISSUER:
        roles = tuple(str(role) for role in claims["roles"])
        stepped_up = claims.get("sut")
        return Principal(
            kind=Kind.USER,
            subject=str(uuid.UUID(subject)),
            name=str(claims["name"]),
            roles=roles,
            permissions=permissions_of(roles),
            accounts=frozenset(str(account) for account in claims["accounts"]),
            issued_at=issued_at,
            expires_at=expires_at,
            session_id=str(uuid.UUID(claims["sid"])),
            stepped_up_at=None if stepped_up is None else _instant(stepped_up),
        )
    name = issuer.removeprefix(SERVICE_PREFIX)
    if subject != issuer or name not in SERVICES:
        raise ValueError(f"{issuer} cannot speak for {subject}")
    return Principal(
        kind=Kind.SERVICE,
        subject=subject,
        name=name,
        roles=(),
        permissions=SERVICES[name],
        accounts=frozenset({ALL_ACCOUNTS}),
        issued_at=issued_at,
        expires_at=expires_at,
        may_step_up=True,
    )


def _instant(seconds: Any) -> dt.datetime:
    return dt.datetime.fromtimestamp(float(seconds), dt.UTC)
