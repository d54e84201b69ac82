"""Each route of each service × each role and service × each state of a token.

Who may what is written here a second time, by hand: a permission that changes hands unnoticed, or a
new one, fails. Handlers are replaced by spies, so nothing is done and reaching one is seen.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import jwt
import psycopg
import pytest

from libs.common.runtime.auth.tokens import key_of_seed, kid_of, service_token, user_token
from libs.common.runtime.permissions import PUBLIC
from tests.conftest import Server
from tests.support.people import Person
from tests.support.spied_house import SpiedHouse, Way, spied_house
from tests.support.tokens import SEEDS, USER_SEED, bearer, headers_for, service_headers

EVERYBODY = frozenset({"viewer", "trader", "risk", "admin"})
TRADERS, RISKS = frozenset({"trader", "admin"}), frozenset({"risk", "admin"})
BOTH, ADMINS = frozenset({"trader", "risk", "admin"}), frozenset({"admin"})
ROLES_OF: Final[Mapping[str, frozenset[str]]] = {
    "audit:read": RISKS,
    "audit:read_sensitive": ADMINS,
    "auth:self": EVERYBODY,
    "backtests:read": EVERYBODY,
    "backtests:write": TRADERS,
    "keys:self": EVERYBODY,
    "keys:write": ADMINS,
    "market:read": EVERYBODY,
    "market:write": ADMINS,
    "monitoring:read": EVERYBODY,
    "monitoring:write": RISKS,
    "orders:cancel": BOTH,
    "orders:close": BOTH,
    "orders:read": EVERYBODY,
    "orders:reconcile": RISKS,
    "orders:write": TRADERS,
    "portfolio:read": EVERYBODY,
    "risk:approve": RISKS,
    "risk:assess": frozenset(),
    "risk:halt": BOTH,
    "risk:limits": RISKS,
    "risk:read": EVERYBODY,
    "risk:resume": RISKS,
    "secrets:write": ADMINS,
    "signing:rotate": ADMINS,
    "strategies:approve": BOTH,
    "strategies:read": EVERYBODY,
    "strategies:write": TRADERS,
    "users:read": ADMINS,
    "users:write": ADMINS,
}
SERVICES_OF: Final[Mapping[str, frozenset[str]]] = {
    "audit": frozenset(),
    "backtester": frozenset({"market:read", "strategies:read", "orders:read", "portfolio:read"}),
    "data_collector": frozenset(),
    "monitoring": frozenset(),
    "portfolio": frozenset(),
    "risk_manager": frozenset(),
    "security": frozenset(),
    "strategy_engine": frozenset({"market:read", "strategies:read", "strategies:write"}),
    "trade_executor": frozenset({"risk:assess", "risk:read"}),
}
OF_AN_ACCOUNT = ("orders:", "portfolio:", "risk:", "strategies:")
PUBLIC_PATHS = frozenset(
    {
        "/health", "/ready", "/metrics", "/api/v1/auth/login", "/api/v1/auth/refresh",
        "/api/v1/auth/jwks", "/api/v1/auth/csrf", "/.well-known/jwks.json",
    }
)  # fmt: skip
OWN_RULES = frozenset({("/api/v1/auth/refresh", "nobody", "no-token")})
"""Public routes that ask for a proof of another kind: a refresh token. Of the routes about oneself
some are for users only (`users-only`), which the person at the machine is not."""
pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


@pytest.fixture
def house(database_url: str, redis_server: Server, tmp_path: Path) -> SpiedHouse:
    return spied_house(database_url, redis_server.url, tmp_path)


def test_every_permission_is_in_the_table(house: SpiedHouse) -> None:
    declared = {way.permission for way in house.ways} - {PUBLIC}
    assert declared <= ROLES_OF.keys()
    public = {way.path for way in house.ways if way.permission == PUBLIC}
    assert public <= PUBLIC_PATHS


async def test_each_route_lets_pass_whom_the_table_says(house: SpiedHouse) -> None:
    wrong = []
    for service in house.apps:
        async with house.client(service) as client:
            for way in (one for one in house.ways if one.service == service):
                for who, headers, may in _callers(way):
                    status, code, reached = await house.ask(client, way, headers)
                    # Beyond the gate the form of a request is looked at: 4xx of another kind.
                    if may:
                        good = status not in (401, 403) or (way.path, who, code) in OWN_RULES
                        good |= who == "operator" and code == "users-only"
                    else:
                        good = (status, code, reached) == (403, "permission-denied", False)
                    if not good:
                        wrong.append((way.service, way.method, way.path, who, status, code))
    assert wrong == []


def _callers(way: Way) -> Iterator[tuple[str, dict[str, str], bool]]:
    if way.permission == PUBLIC:
        yield "nobody", {}, True
        return
    for role in EVERYBODY:
        yield role, headers_for(role, stepped_up=True), role in ROLES_OF[way.permission]
    yield "no role", headers_for(stepped_up=True), False
    yield "unknown role", headers_for("root", stepped_up=True), False
    for name, permissions in SERVICES_OF.items():
        yield f"service:{name}", service_headers(name), way.permission in permissions
    operator = "admin" in ROLES_OF[way.permission]
    yield "operator", service_headers("operator"), operator


async def test_each_route_turns_away_each_bad_token(house: SpiedHouse, database_url: str) -> None:
    gone, disabled = uuid.uuid4(), Person("gone", ("admin",))
    _revoke(database_url, f"session:{gone}", f"user:{disabled.id}")
    bad = {
        **_forged(),
        "revoked session": headers_for("admin", session_id=gone, stepped_up=True),
        "disabled user": disabled.headers(stepped_up=True),
    }
    wrong = []
    for service in house.apps:
        async with house.client(service) as client:
            for way in (one for one in house.ways if one.service == service):
                if way.permission == PUBLIC:
                    continue
                for what, headers in bad.items():
                    status, code, reached = await house.ask(client, way, headers)
                    if status != 401 or reached:
                        wrong.append((way.service, way.method, way.path, what, status, code))
    assert wrong == []


async def test_routes_of_an_account_are_for_those_who_see_it(house: SpiedHouse) -> None:
    wrong = []
    for service in house.apps:
        async with house.client(service) as client:
            for way in (one for one in house.ways if one.service == service):
                if not ROLES_OF.get(way.permission):
                    continue
                foreign = headers_for("admin", accounts=("other",), stepped_up=True)
                status, code, reached = await house.ask(client, way, foreign)
                expected = (
                    (403, "wrong-account") if way.permission.startswith(OF_AN_ACCOUNT) else None
                )
                good = (
                    (status, code) == expected and not reached if expected
                    else status not in (401, 403)
                )  # fmt: skip
                if not good:
                    wrong.append((way.service, way.method, way.path, status, code))
    assert wrong == []


async def test_dangerous_routes_demand_a_fresh_proof(house: SpiedHouse) -> None:
    dangerous = [way for way in house.ways if way.step_up]
    assert {way.permission for way in dangerous} >= {"users:write", "secrets:write", "risk:approve"}
    for way in dangerous:
        async with house.client(way.service) as client:
            answer = await house.ask(client, way, headers_for("admin"))
            assert answer == (403, "step-up-required", False), way


async def test_spies_stand_where_handlers_do(house: SpiedHouse) -> None:
    """Without this the tests above could not fail."""
    headers = headers_for("admin", stepped_up=True)
    for service in house.apps:
        async with house.client(service) as client:
            seen = [
                await house.ask(client, way, headers)
                for way in house.ways
                if way.service == service and way.method == "GET" and way.permission != PUBLIC
            ]
        assert (299, "", True) in seen, service


def _revoke(database_url: str, *subjects: str) -> None:
    with psycopg.connect(database_url) as connection:
        for subject in subjects:
            connection.execute(
                "INSERT INTO revocations VALUES (%s, now() + interval '1 hour',"
                " now() + interval '2 hours')",
                (subject,),
            )


def _forged() -> dict[str, Any]:
    """Return headers of each kind of token that is not one of ours."""
    now = dt.datetime.now(dt.UTC)
    ours, other = key_of_seed(USER_SEED), key_of_seed("ab" * 32)
    public = ours.public_key().public_bytes_raw()
    claims = {
        "iss": "tradewind", "aud": "tradewind", "sub": str(uuid.uuid4()), "name": "eve",
        "roles": ["admin"], "accounts": ["*"], "sid": str(uuid.uuid4()), "jti": "1",
        "iat": now.timestamp(), "exp": (now + dt.timedelta(minutes=5)).timestamp(),
        "sut": now.timestamp(),
    }  # fmt: skip
    kid = kid_of(ours.public_key())

    def signed(key: Any = ours, name: str = kid, **changes: Any) -> dict[str, str]:
        return bearer(jwt.encode({**claims, **changes}, key, "EdDSA", {"kid": name}))

    good = signed()["Authorization"].removeprefix("Bearer ")
    head, body, signature = good.split(".")
    more = _part({**claims, "roles": ["admin", "root"]})
    long_lived = (now + dt.timedelta(days=1)).timestamp()
    risk = key_of_seed(SEEDS["risk_manager"])
    return {
        "none": {},
        "empty": {"Authorization": "Bearer "},
        "another scheme": {"Authorization": "Basic YWRtaW46YWRtaW4="},
        "garbage": bearer("a.b.c"),
        "not ASCII": {"Authorization": "Bearer \u00fcber".encode("latin-1")},
        "too long": bearer("a" * 9000),
        "two headers": [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")],
        "expired": headers_for("admin", now=now - dt.timedelta(hours=1)),
        "of the future": headers_for("admin", now=now + dt.timedelta(hours=1)),
        "valid for a day": signed(exp=long_lived),
        "wrong signature": signed(other),
        "changed claims": bearer(f"{head}.{more}.{signature}"),
        "no signature": bearer(f"{head}.{body}."),
        "unknown key": signed(other, kid_of(other.public_key())),
        "no kid": bearer(jwt.encode(claims, ours, "EdDSA")),
        "alg none": bearer(f"{_part({'alg': 'none', 'kid': kid})}.{body}."),
        "HS256 with the public key": bearer(_hs256(claims, public, kid)),
        "wrong issuer": signed(iss="evil"),
        "wrong audience": signed(aud="other"),
        "no audience": bearer(
            jwt.encode({k: v for k, v in claims.items() if k != "aud"}, ours, "EdDSA", {"kid": kid})
        ),
        "a user by a service's key": bearer(
            jwt.encode(claims, risk, "EdDSA", {"kid": kid_of(risk.public_key())})
        ),
        "a service by another's key": bearer(service_token(risk, "operator", now)),
        "a service by the users' key": bearer(service_token(ours, "operator", now)),
        "expired service": service_headers("operator", now=now - dt.timedelta(minutes=10)),
        "a user's with a key of tests only": bearer(
            user_token(
                other, user_id=uuid.uuid4(), name="eve", roles=["admin"], accounts=["*"],
                session_id=uuid.uuid4(), now=now,
            )
        ),
    }  # fmt: skip


def _part(data: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


def _hs256(claims: Mapping[str, Any], secret: bytes, kid: str) -> str:
    text = f"{_part({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{_part(claims)}"
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
