"""Tokens: what is read is what was written, and everything else is refused by name."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import uuid
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.auth.errors import AccessError
from libs.common.runtime.auth.principal import Kind
from libs.common.runtime.auth.roles import ROLES, SERVICES, permissions_of
from libs.common.runtime.auth.tokens import (
    AUDIENCE,
    ISSUER,
    SERVICE_TTL,
    USER_TTL,
    key_of_seed,
    kid_in,
    kid_of,
    read,
    service_token,
    user_token,
)

NOW = dt.datetime(2026, 3, 2, 15, 0, tzinfo=dt.UTC)
KEY = key_of_seed("11" * 32)
OTHER = key_of_seed("22" * 32)
PUBLIC = KEY.public_key()


def users(**changes: Any) -> str:
    facts: dict[str, Any] = {
        "user_id": uuid.UUID(int=7),
        "name": "ada",
        "roles": ["trader"],
        "accounts": ["main"],
        "session_id": uuid.UUID(int=9),
        "now": NOW,
    }
    return user_token(KEY, **{**facts, **changes})


def signed(**claims: Any) -> str:
    """Return a token signed well whose claims are changed; None takes one away."""
    good = jwt.decode(users(), options={"verify_signature": False})
    kept = {name: value for name, value in {**good, **claims}.items() if value is not None}
    return jwt.encode(kept, KEY, algorithm="EdDSA", headers={"kid": kid_of(PUBLIC)})


def refused(token: str, *, issuer: str = ISSUER, now: dt.datetime = NOW) -> str:
    with pytest.raises(AccessError) as caught:
        read(token, PUBLIC, issuer, now)
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer ")
    assert token not in str(caught.value)
    return caught.value.code


def test_a_users_token_says_who_may_do_what_where_and_until_when() -> None:
    who = read(users(stepped_up_at=NOW), PUBLIC, ISSUER, NOW)
    assert (who.kind, who.name, who.subject) == (Kind.USER, "ada", str(uuid.UUID(int=7)))
    assert who.permissions == ROLES["trader"]
    assert who.sees("main")
    assert not who.sees("other")
    assert who.session_id == str(uuid.UUID(int=9))
    assert (who.issued_at, who.expires_at) == (NOW, NOW + USER_TTL)
    assert who.is_stepped_up(NOW + dt.timedelta(minutes=5), dt.timedelta(minutes=5))
    assert not who.is_stepped_up(NOW + dt.timedelta(minutes=6), dt.timedelta(minutes=5))


def test_a_service_speaks_for_itself_only() -> None:
    token = service_token(KEY, "trade_executor", NOW)
    who = read(token, PUBLIC, "service:trade_executor", NOW)
    assert (who.kind, who.name) == (Kind.SERVICE, "trade_executor")
    assert who.permissions == SERVICES["trade_executor"]
    assert refused(token, issuer="service:risk_manager") == "malformed-token"
    assert refused(token) == "malformed-token"
    assert refused(users(), issuer="service:trade_executor") == "malformed-token"
    assert refused(service_token(KEY, "nobody", NOW), issuer="service:nobody") == "malformed-token"


def test_a_token_ends_at_its_time_to_the_instant() -> None:
    token = users()
    last = NOW + USER_TTL - dt.timedelta(microseconds=1)
    assert read(token, PUBLIC, ISSUER, last).name == "ada"
    assert refused(token, now=NOW + USER_TTL) == "expired-token"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "elsewhere"},
        {"aud": "elsewhere"},
        {"sub": "ada"},
        {"sub": None},
        {"sid": "1"},
        {"sid": None},
        {"exp": None},
        {"iat": None},
        {"exp": "soon"},
        {"exp": 1e400},
        {"exp": float("nan")},
        {"roles": None},
        {"roles": 7},
        {"accounts": None},
        {"name": None},
        {"exp": (NOW + dt.timedelta(days=1)).timestamp()},
        {"iat": (NOW + dt.timedelta(minutes=2)).timestamp()},
        {"sut": "yes"},
    ],
    ids=str,
)
def test_claims_that_are_not_ours_are_refused(claims: dict[str, Any]) -> None:
    assert refused(signed(**claims)) == "malformed-token"


def test_a_service_token_that_lives_too_long_is_refused() -> None:
    token = service_token(KEY, "audit", NOW, ttl=SERVICE_TTL * 2)
    assert refused(token, issuer="service:audit") == "malformed-token"


def test_another_keys_signature_is_refused() -> None:
    forged = jwt.encode(
        jwt.decode(users(), options={"verify_signature": False}),
        OTHER,
        algorithm="EdDSA",
        headers={"kid": kid_of(PUBLIC)},
    )
    assert refused(forged) == "wrong-signature"


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_no_other_algorithm_is_taken(algorithm: str) -> None:
    """Also not HMAC with the public key as its secret (CVE-2015-9235 and kin)."""
    head = {"alg": algorithm, "typ": "JWT", "kid": kid_of(PUBLIC)}
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "iat": 0, "exp": 2e9}
    parts = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (head, claims)
    )
    mac = hmac.new(PUBLIC.public_bytes_raw(), parts.encode(), hashlib.sha256).digest()
    tail = "" if algorithm == "none" else base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    token = f"{parts}.{tail}"
    with pytest.raises(AccessError, match="EdDSA"):
        kid_in(token)
    assert refused(token) == "malformed-token"


@given(st.text(max_size=200))
def test_what_is_no_token_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(AccessError):
        kid_in(text)


@given(st.integers(0, 2000), st.integers(1, 255))
def test_one_changed_byte_voids_a_token(at: int, flip: int) -> None:
    raw = users().encode()
    at %= len(raw)
    changed = raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :]
    if changed == raw:
        return
    text = changed.decode("latin-1")
    try:
        kid = kid_in(text)
        found = read(text, PUBLIC, ISSUER, NOW)
    except AccessError:
        return
    # Base64 has spare bits at the end of a part: the same token, written otherwise.
    assert found == read(users(), PUBLIC, ISSUER, NOW)
    assert kid == kid_of(PUBLIC)


@pytest.mark.parametrize("seed", ["", "11", "zz" * 32, "11" * 33])
def test_a_seed_that_is_none_is_refused_without_being_shown(seed: str) -> None:
    with pytest.raises(InvalidInputError, match="64 hex digits") as caught:
        key_of_seed(seed)
    assert not seed or seed not in str(caught.value)


def test_unknown_roles_allow_nothing() -> None:
    assert permissions_of(["king", "viewer"]) == ROLES["viewer"]
    assert permissions_of([]) == frozenset()
