"""Tokens for tests: every test database knows the public halves of these keys."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Generator, Sequence
from typing import Final

import httpx
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from infra.migrate import provision_keys
from libs.common.runtime.auth.authenticator import Authenticator
from libs.common.runtime.auth.gate import Gate
from libs.common.runtime.auth.roles import ALL_ACCOUNTS, OPERATOR, SERVICES
from libs.common.runtime.auth.store import AccessFacts, VerificationKey
from libs.common.runtime.auth.tokens import (
    ISSUER,
    SERVICE_PREFIX,
    SERVICE_TTL,
    USER_TTL,
    key_of_seed,
    kid_of,
    service_token,
    user_token,
)
from libs.common.runtime.clocks import SystemClock

SEEDS: Final = {name: hashlib.sha256(f"test {name}".encode()).hexdigest() for name in SERVICES}
"""The seed of each service's key, and the operator's, in test databases."""
USER_SEED: Final = hashlib.sha256(b"test users").hexdigest()
"""The seed of the key that signs users' tokens in test databases."""
_ANYBODY: Final = uuid.UUID("5eed0000-0000-4000-8000-000000000001")


def make_known(database_url: str) -> None:
    """Put all public keys into a database."""
    public = key_of_seed(USER_SEED).public_key()
    with psycopg.connect(database_url) as connection:
        provision_keys(connection, SEEDS)
        connection.execute(
            "INSERT INTO verification_keys (kid, issuer, public_key) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (kid_of(public), ISSUER, public.public_bytes_raw()),
        )


def gate() -> Gate:
    """Return a gate that knows these keys without asking a database."""
    known = {kid_of(key): VerificationKey(issuer, key, None) for issuer, key in _public().items()}

    async def read() -> AccessFacts:
        return AccessFacts(known, {})

    clock = SystemClock()
    return Gate(Authenticator(read, clock), clock, "main")


def _public() -> dict[str, Ed25519PublicKey]:
    keys = {f"{SERVICE_PREFIX}{name}": key_of_seed(seed) for name, seed in SEEDS.items()}
    return {
        issuer: key.public_key() for issuer, key in {**keys, ISSUER: key_of_seed(USER_SEED)}.items()
    }


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def service_headers(service: str, *, now: dt.datetime | None = None) -> dict[str, str]:
    """Return the headers of a request of `service`; its token is fresh at `now`."""
    return bearer(
        service_token(key_of_seed(SEEDS[service]), service, now or dt.datetime.now(dt.UTC))
    )


def operator_headers() -> dict[str, str]:
    """Return the headers of a request of the person at the machine, who may do everything."""
    return service_headers(OPERATOR)


def headers_for(
    *roles: str,
    accounts: Sequence[str] = (ALL_ACCOUNTS,),
    name: str = "ada",
    user_id: uuid.UUID = _ANYBODY,
    session_id: uuid.UUID | None = None,
    now: dt.datetime | None = None,
    ttl: dt.timedelta = USER_TTL,
    stepped_up: bool = False,
    seed: str = USER_SEED,
) -> dict[str, str]:
    """Return the headers of a user's request; `seed` of another key makes a wrong signature."""
    now = now or dt.datetime.now(dt.UTC)
    return bearer(
        user_token(
            key_of_seed(seed),
            user_id=user_id,
            name=name,
            roles=roles,
            accounts=accounts,
            session_id=session_id or uuid.uuid4(),
            now=now,
            ttl=ttl,
            stepped_up_at=now if stepped_up else None,
        )
    )


class _OperatorAuth(httpx.Auth):
    """The person at the machine: a fresh token whenever one is due."""

    def __init__(self) -> None:
        self._headers: dict[str, str] = {}
        self._until = dt.datetime.min.replace(tzinfo=dt.UTC)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign a request that does not say already who makes it."""
        if not request.headers.keys() & {"authorization", "x-api-key"}:
            now = dt.datetime.now(dt.UTC)
            if now >= self._until:
                self._headers = operator_headers()
                self._until = now + SERVICE_TTL / 2
            request.headers.update(self._headers)
        yield request


AS_OPERATOR: Final = _OperatorAuth()
"""httpx' `auth=` of clients that may do everything."""
