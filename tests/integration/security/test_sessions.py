"""Logins, refresh tokens, revocations and keys of the security service, on real servers."""

from __future__ import annotations

import datetime as dt
import json

import httpx
import jwt
import psycopg
import pytest

from libs.common.runtime.app import create_app
from tests.support.runtimes import eventually, ready, runtime_for, serving
from tests.support.security_house import AUTH, FIRST, PASSWORD, USERS, House, house
from tests.support.tokens import bearer

COOKIE = "__Secure-tradewind_refresh"


async def test_login_refresh_reuse_ends_the_family(database_url: str, redis_url: str) -> None:
    async with house(database_url, redis_url) as there:
        user = await there.add("anna", "trader", accounts=("main",))
        first = await there.tokens("Anna")
        assert first["user"]["id"] == user["id"]
        assert first["expires_in"] == 900
        claims = jwt.decode(first["access_token"], options={"verify_signature": False})
        assert claims["roles"] == ["trader"]
        assert claims["accounts"] == ["main"]
        assert claims["sid"] == first["session_id"]
        assert claims["exp"] - claims["iat"] == pytest.approx(900)
        shown = (await there.me(first)).json()
        assert shown["name"] == "anna"
        assert "orders:write" in shown["permissions"]

        second = (await there.refresh(first["refresh_token"])).json()
        assert second["refresh_token"] != first["refresh_token"]
        # The answer got lost: within ten seconds it is given again, to the byte.
        there.clock.advance(dt.timedelta(seconds=9))
        again = (await there.refresh(first["refresh_token"])).json()
        assert again["refresh_token"] == second["refresh_token"]
        third = (await there.refresh(second["refresh_token"])).json()
        assert (await there.me(third)).status_code == 200
        # Whoever comes with the first one now has copied it.
        reused = await there.refresh(first["refresh_token"])
        assert reused.status_code == 401
        assert reused.json()["code"] == "session-over"
        assert (await there.refresh(third["refresh_token"])).status_code == 401

        async def refused() -> bool:
            return (await there.me(third)).status_code == 401

        await eventually(refused, what="the end of the session's access tokens")
        (notice,) = [each for each in there.told("notifications") if "twice" in each["title"]]
        assert notice["level"] == "CRITICAL"
        assert ("security.reuse", "refused") in there.kinds()
        everything = json.dumps([there.told(), there.told("notifications")])
        for hidden in (PASSWORD, first["refresh_token"], first["access_token"]):
            assert hidden not in everything


async def test_a_refresh_token_lies_unused_for_half_a_day_at_most(
    database_url: str, redis_url: str
) -> None:
    async with house(database_url, redis_url) as there:
        await there.add()
        tokens = await there.tokens()
        there.clock.advance(dt.timedelta(hours=12))
        assert (await there.refresh(tokens["refresh_token"])).status_code == 401
        assert (await there.refresh("twr_" + "A" * 43)).status_code == 401
        assert (await there.refresh("twr_short")).status_code == 422


async def test_cookies_are_closed_to_scripts_and_need_the_csrf_token(
    database_url: str, redis_url: str
) -> None:
    async with house(database_url, redis_url) as there:
        await there.add()
        answer = await there.login(cookie=True)
        tokens = answer.json()
        assert "refresh_token" not in tokens
        assert answer.headers["Cache-Control"] == "no-store"
        given = {each.split("=")[0]: each for each in answer.headers.get_list("set-cookie")}
        hidden = given[COOKIE].lower()
        for attribute in ("httponly", "secure", "samesite=strict", "path=/api/v1/auth;"):
            assert attribute in hidden
        assert "httponly" not in given["__Secure-tradewind_csrf"].lower()
        cookie = given[COOKIE].split(";")[0]
        refused = await there.client.post(f"{AUTH}/refresh", headers={"Cookie": cookie})
        assert (refused.status_code, refused.json()["code"]) == (403, "csrf")
        headers = {"Cookie": cookie, "X-CSRF-Token": tokens["csrf_token"]}
        renewed = await there.client.post(f"{AUTH}/refresh", headers=headers)
        assert renewed.status_code == 200
        assert renewed.json()["csrf_token"] != tokens["csrf_token"]
        assert (await there.client.post(f"{AUTH}/refresh")).status_code == 401
        out = await there.post("/logout", renewed.json())
        assert out.status_code == 204
        assert any('=""' in each for each in out.headers.get_list("set-cookie"))


async def test_a_session_that_is_ended_is_refused_in_another_service_within_a_second(
    database_url: str, redis_url: str
) -> None:
    other = create_app(runtime_for("portfolio", database_url, redis_url))
    async with house(database_url, redis_url) as there, serving(other) as elsewhere:
        await ready(elsewhere)
        await there.add()
        mine, yours = await there.tokens(), await there.tokens()

        async def status(tokens: dict[str, str]) -> int:
            # A path without a route: who is known gets 404, who is not 401.
            answer = await elsewhere.get("/nowhere", headers=bearer(tokens["access_token"]))
            return answer.status_code

        assert [await status(mine), await status(yours)] == [404, 404]
        assert (await there.post("/logout", mine)).status_code == 204

        async def out() -> bool:
            return await status(mine) == 401

        await eventually(out, what="401 at the other service")
        assert await status(yours) == 404
        assert (await there.refresh(mine["refresh_token"])).status_code == 401
        assert (await there.refresh(yours["refresh_token"])).status_code == 200


async def test_sessions_are_listed_and_ended_by_their_user_and_by_administrators_only(
    database_url: str, redis_url: str
) -> None:
    async with house(database_url, redis_url) as there:
        anna = await there.add("anna")
        await there.add("ben")
        one, two, bens = await there.tokens(), await there.tokens(), await there.tokens("ben")
        listed = await there.client.get(f"{AUTH}/sessions", headers=bearer(two["access_token"]))
        items = {each["id"]: each for each in listed.json()["items"]}
        assert items[two["session_id"]]["current"] is True
        assert items[one["session_id"]]["current"] is False
        assert bens["session_id"] not in items
        path = f"{AUTH}/sessions/{one['session_id']}"
        foreign = await there.client.delete(path, headers=bearer(bens["access_token"]))
        assert foreign.status_code == 404
        own = await there.client.delete(path, headers=bearer(two["access_token"]))
        assert own.status_code == 204
        assert (await there.refresh(one["refresh_token"])).status_code == 401
        everybody = (await there.client.get(f"{USERS}/sessions")).json()["items"]
        assert {bens["session_id"], two["session_id"]} <= {each["id"] for each in everybody}
        ended = await there.client.delete(f"{USERS}/{anna['id']}/sessions")
        assert ended.json()["ended"] >= 1
        assert (await there.refresh(two["refresh_token"])).status_code == 401
        denied = await there.client.get(USERS, headers=bearer(bens["access_token"]))
        assert denied.status_code == 403


async def test_a_new_signing_key_logs_nobody_out(database_url: str, redis_url: str) -> None:
    async with house(database_url, redis_url) as there:
        await there.add()
        old = await there.tokens()
        kid = jwt.get_unverified_header(old["access_token"])["kid"]
        rotated = await there.client.post(f"{AUTH}/signing-keys/rotate")
        assert rotated.json()["kid"] != kid
        # Published at once, used when every service has read it.
        assert {kid, rotated.json()["kid"]} <= await kids(there)
        early = (await there.refresh(old["refresh_token"])).json()
        assert jwt.get_unverified_header(early["access_token"])["kid"] == kid
        there.clock.advance(dt.timedelta(seconds=5))
        new = (await there.refresh(old["refresh_token"])).json()
        assert jwt.get_unverified_header(new["access_token"])["kid"] == rotated.json()["kid"]
        assert (await there.me(old)).status_code == 200
        assert (await there.me(new)).status_code == 200
        # A refresh whose answer got lost in the rotation is still answered the same.
        await there.client.post(f"{AUTH}/signing-keys/rotate")
        again = await there.refresh(old["refresh_token"])
        assert again.json()["refresh_token"] == new["refresh_token"]
        there.clock.advance(dt.timedelta(minutes=16))
        # The old key is published until its last token has expired, and then forgotten.
        await there.app.state.runtime.gate.authenticator.refresh()
        assert kid not in await kids(there)


async def kids(there: House) -> set[str]:
    answer = await there.client.get(f"{AUTH}/jwks", headers={"Authorization": ""})
    for each in answer.json()["keys"]:
        assert (each["kty"], each["crv"], each["alg"]) == ("OKP", "Ed25519", "EdDSA")
        assert not each.keys() & {"d", "k"}
    return {each["kid"] for each in answer.json()["keys"]}


async def test_keys_and_first_administrator_outlive_a_restart(
    database_url: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with house(database_url, redis_url, first_password="") as there:
        said = capsys.readouterr().out
        assert said.count("First start: user admin, password ") == 1
        password = said.split("password ")[1].split()[0]
        tokens = await there.tokens("admin", password)
        assert tokens["user"]["must_change_password"] is True
        assert tokens["user"]["roles"] == ["admin"]
        # Until the password is changed, nothing else is allowed.
        assert (await there.me(tokens)).json()["permissions"] == ["auth:self"]
        before = await kids(there)
    async with house(database_url, redis_url, first_password="") as there:
        assert "First start" not in capsys.readouterr().out
        assert await kids(there) == before
        assert (await there.me(tokens)).status_code == 200
        assert (await there.refresh(tokens["refresh_token"])).status_code == 200
        assert len((await there.client.get(USERS)).json()["items"]) == 1
    with psycopg.connect(database_url) as connection:
        kept = connection.execute("SELECT private_key FROM signing_keys").fetchall()
    assert all(row[0].startswith("gAAAA") for row in kept)  # a Fernet token


async def test_a_first_password_in_a_file_is_its_owners_alone_and_goes_when_changed(
    database_url: str, redis_url: str, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "admin_password"  # type: ignore[operator]
    async with house(
        database_url, redis_url, first_password="", first_password_out=str(path)
    ) as there:
        password = path.read_text().strip()
        assert path.stat().st_mode & 0o777 == 0o600
        assert password not in capsys.readouterr().out
        tokens = await there.tokens("admin", password)
        body = {"current_password": password, "new_password": PASSWORD}
        changed = await there.post("/password", tokens, body)
        assert changed.status_code == 200
        assert not path.exists()
        # The answer's token has the rights that the first one lacked.
        users = await there.client.get(USERS, headers=bearer(changed.json()["access_token"]))
        assert users.status_code == 200


async def test_there_is_no_way_in_but_the_password_that_was_given(
    database_url: str, redis_url: str
) -> None:
    async with house(database_url, redis_url) as there:
        for body in (
            {"name": "admin", "password": ""},
            {"name": "admin"},
            {"name": "admin", "password": None},
            {"name": "admin", "password": FIRST, "roles": ["admin"]},
            {"name": "ad\u0000min", "password": FIRST},
        ):
            answer: httpx.Response = await there.client.post(f"{AUTH}/login", json=body)
            assert answer.status_code == 422, body
        assert (await there.login("admin", FIRST)).status_code == 200
        for password in ("admin", "tradewind", "password", "changeme"):
            assert (await there.login("admin", password)).status_code == 401
