"""API keys from their making to their end, over the service's own routes."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from tests.support.runtimes import eventually
from tests.support.security_house import AUTH, PASSWORD, USERS, House, house
from tests.support.tokens import bearer

KEYS = "/api/v1/keys"
WISH: dict[str, Any] = {"name": "nightly report", "permissions": ["auth:self", "keys:self"]}


@pytest.fixture
async def home(database_url: str, redis_url: str) -> AsyncIterator[House]:
    async with house(database_url, redis_url, key_uses_s=0.1, keys_per_user_max=4) as running:
        yield running


def wish(**changes: Any) -> dict[str, Any]:
    expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(days=30)
    return {**WISH, "expires_at": expires_at.isoformat(), **changes}


async def made(home: House, tokens: Any, **changes: Any) -> dict[str, Any]:
    headers = bearer(tokens["access_token"])
    answer = await home.client.post(KEYS, json=wish(**changes), headers=headers)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def me(home: House, key: str) -> Any:
    return await home.client.get(f"{AUTH}/me", headers=bearer(key))


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_key_lives_from_its_making_to_its_end(
    home: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    user = await home.add("anna", "trader", accounts=("main",))
    tokens = await home.tokens()
    key = await made(home, tokens)
    secret = key.pop("key")
    assert secret.startswith(f"tw_{key['id']}_")
    assert key["accounts"] == ["main"]
    # It speaks for its owner, with what it was given.
    who = (await me(home, secret)).json()
    assert (who["kind"], who["name"], who["accounts"]) == ("key", "anna", ["main"])
    assert who["permissions"] == ["auth:self", "keys:self"]
    also = await home.client.get(f"{AUTH}/me", headers={"X-API-Key": secret})
    assert also.json()["kind"] == "key"
    wrong = await me(home, secret[:-1] + ("A" if secret[-1] != "A" else "B"))
    assert code(wrong) == (401, "unknown-key")
    # Its last use is told.
    headers = bearer(tokens["access_token"])
    path = f"{KEYS}/{key['id']}"

    async def used() -> bool:
        return (await home.client.get(path, headers=headers)).json()["last_used_at"] is not None

    await eventually(used, what="the last use")
    # Nothing that was said or kept holds the secret.
    with psycopg.connect(home.database_url) as connection:
        stored = connection.execute("SELECT api_keys::text FROM api_keys").fetchall()
    listed = (await home.client.get(KEYS, headers=headers)).json()
    text = f"{stored} {listed} {home.told()} {caplog.text}"
    assert secret.split("_", 2)[2] not in text
    assert [each["id"] for each in listed["items"]] == [key["id"]]
    # A key deals with no keys.
    assert code(await home.client.get(KEYS, headers=bearer(secret))) == (403, "users-only")
    # Revoked, it is void at once.
    ended = await home.client.delete(path, headers=headers)
    assert ended.json()["revoked_at"] is not None
    await eventually(lambda: _is_void(home, secret), within_s=1.5, what="the revocation")
    assert code(await me(home, secret)) == (401, "revoked")
    assert ("security.key", "done") in home.kinds()
    assert user["name"] == "anna"


async def _is_void(home: House, secret: str) -> bool:
    return (await me(home, secret)).status_code == 401


async def test_what_the_owner_loses_the_key_loses(home: House) -> None:
    user = await home.add("anna", "trader")
    secret = (await made(home, await home.tokens(), permissions=["auth:self", "orders:write"]))[
        "key"
    ]
    assert "orders:write" in (await me(home, secret)).json()["permissions"]
    path = f"{USERS}/{user['id']}"
    assert (await home.client.patch(path, json={"roles": ["viewer"]})).status_code == 200

    async def shrunken() -> bool:
        return (await me(home, secret)).json().get("permissions") == ["auth:self"]

    await eventually(shrunken, what="the key to lose the permission")
    assert (await home.client.patch(path, json={"state": "disabled"})).status_code == 200
    await eventually(lambda: _is_void(home, secret), what="the key of a disabled user")


async def test_a_key_is_held_to_its_networks_and_its_rate(home: House) -> None:
    await home.add("anna", "trader")
    tokens = await home.tokens()
    near = await made(home, tokens, networks=["127.0.0.0/8", "::1"], rate_per_minute=3)
    far = await made(home, tokens, networks=["198.51.100.0/24"])
    assert code(await me(home, far["key"])) == (403, "key-network")
    answers = [await me(home, near["key"]) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["code"] == "key-rate"
    assert int(answers[-1].headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"permissions": ["users:write"]}, "anna lacks users:write"),
        ({"permissions": ["no:such"]}, "no permission is called"),
        ({"permissions": []}, "permissions"),
        ({"permissions": ["auth:self", "auth:self"]}, "names one twice"),
        ({"accounts": ["other"]}, "not admitted to other"),
        ({"accounts": ["*"]}, "not admitted to *"),
        ({"networks": ["192.0.2.1/24"]}, "is not a network like"),
        ({"networks": ["everywhere"]}, "networks"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "must be in the future"),
        ({"expires_at": "2126-01-01T00:00:00Z"}, "at most 365 days"),
        ({"expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": None}, "expires_at"),
        ({"rate_per_minute": 0}, "rate_per_minute"),
        ({"rate_per_minute": 60_001}, "rate_per_minute"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_more_than_the_owner_has_or_the_rules_allow_is_refused(
    home: House, changes: dict[str, Any], words: str
) -> None:
    await home.add("anna", "trader", accounts=("main",))
    headers = bearer((await home.tokens())["access_token"])
    answer = await home.client.post(KEYS, json=wish(**changes), headers=headers)
    assert answer.status_code == 422, answer.text
    assert words in answer.text


async def test_other_peoples_keys_take_an_administrator(home: House) -> None:
    anna = await home.add("anna", "trader")
    await home.add("bert", "trader")
    tokens, other = await home.tokens(), await home.tokens("bert")
    key = await made(home, tokens)
    headers = bearer(other["access_token"])
    path = f"{KEYS}/{key['id']}"
    assert (await home.client.get(path, headers=headers)).status_code == 404
    assert (await home.client.delete(path, headers=headers)).status_code == 404
    for query in ("?everybody=true", f"?user_id={anna['id']}"):
        refused = await home.client.get(f"{KEYS}{query}", headers=headers)
        assert code(refused) == (403, "permission-denied")
    foreign = await home.client.post(KEYS, json=wish(user_id=anna["id"]), headers=headers)
    assert code(foreign) == (403, "permission-denied")
    # The operator has no keys of its own, and may deal with everybody's.
    assert (await home.client.post(KEYS, json=wish())).status_code == 422
    given = await home.client.post(KEYS, json=wish(user_id=anna["id"]))
    assert given.json()["user"] == "anna"
    listed = (await home.client.get(f"{KEYS}?everybody=true&limit=1")).json()
    assert (len(listed["items"]), listed["next"] is not None) == (1, True)
    assert (await home.client.delete(path)).status_code == 200
    # Only so many.
    for _ in range(3):
        await made(home, tokens)
    full = await home.client.post(KEYS, json=wish(), headers=bearer(tokens["access_token"]))
    assert code(full) == (409, "conflict")


async def test_many_requests_with_keys_at_once(home: House) -> None:
    await home.add("anna", "trader")
    key = await made(home, await home.tokens())
    answers = await asyncio.gather(*(me(home, key["key"]) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert PASSWORD not in "".join(answer.text for answer in answers)
