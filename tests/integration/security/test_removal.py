"""A user who is removed for good: no way in, nothing kept, the record as it was."""

from __future__ import annotations

import datetime as dt
import uuid

import psycopg
import pytest
from psycopg import sql

from tests.support.runtimes import eventually
from tests.support.security_house import PASSWORD, USERS, house
from tests.support.tokens import bearer

TOLD = {"outbox", "revocations"}
"""Where id and name may stand: what the audit log is told, and that nobody admits the user."""


def _traces(database_url: str, *words: str) -> set[str]:
    """Return the tables that hold one of `words` anywhere."""
    found = set()
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relkind = 'r' AND nspname = 'public'"
        ).fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT 1 FROM {} t WHERE t::text LIKE ANY(%s) LIMIT 1")
            named = query.format(sql.Identifier(table))
            if connection.execute(named, ([f"%{word}%" for word in words],)).fetchone():
                found.add(table)
    return found


@pytest.mark.timeout(300)
async def test_a_removed_user_has_no_way_in_and_leaves_the_record_only(
    database_url: str, redis_url: str
) -> None:
    async with house(database_url, redis_url, key_uses_s=0.1) as there:
        user = await there.add("zenobia", "trader", accounts=("main",))
        path = f"{USERS}/{user['id']}"
        tokens = await there.tokens("zenobia")
        expires_at = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
        wish = {"name": "nightly", "permissions": ["auth:self"], "expires_at": expires_at}
        made = await there.client.post(
            "/api/v1/keys", json=wish, headers=bearer(tokens["access_token"])
        )
        key = made.json()["key"]
        assert (await there.client.get("/api/v1/auth/me", headers=bearer(key))).is_success
        assert _traces(database_url, user["id"], "zenobia") > {"users", "sessions", "api_keys"}

        assert (await there.client.delete(path)).status_code == 204

        async def out() -> bool:
            by_key = await there.client.get("/api/v1/auth/me", headers=bearer(key))
            return {(await there.me(tokens)).status_code, by_key.status_code} == {401}

        await eventually(out, what="the end of token and key")
        assert (await there.refresh(tokens["refresh_token"])).status_code == 401
        assert (await there.login("zenobia", PASSWORD)).status_code == 401
        for method in ("GET", "DELETE"):
            assert (await there.client.request(method, path)).status_code == 404
        # A use of the key that is told late finds no key any more.
        assert _traces(database_url, user["id"], "zenobia") <= TOLD
        (event,) = [e for e in there.told() if e["action"] == "remove"]
        assert (event["actor"], event["resource"]) == ("service:operator", "user:zenobia")
        assert event["details"]["id"] == user["id"]
        # Another one of that name is another one.
        again = await there.add("zenobia", "viewer")
        made_as = [e["details"]["id"] for e in there.told() if e["action"] == "create"]
        assert made_as[-2:] == [user["id"], again["id"]]
        assert again["id"] != user["id"]


async def test_the_last_administrator_stays(database_url: str, redis_url: str) -> None:
    async with house(database_url, redis_url) as there:
        admin = (await there.client.get(USERS)).json()["items"][0]
        last = await there.client.delete(f"{USERS}/{admin['id']}")
        assert (last.status_code, "last" in last.json()["detail"]) == (409, True)
        second = await there.add("second", "admin")
        assert (await there.client.delete(f"{USERS}/{admin['id']}")).status_code == 204
        names = [row["name"] for row in (await there.client.get(USERS)).json()["items"]]
        assert names == [second["name"]]
        unknown = await there.client.delete(f"{USERS}/{uuid.UUID(int=1)}")
        assert unknown.status_code == 404
