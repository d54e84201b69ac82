"""Wrong passwords, lock-outs, one-time codes, step-up and what administrators do about them."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import statistics
import time
from typing import Any

import httpx
import pyotp

from services.security import totp
from tests.support.runtimes import eventually
from tests.support.security_house import AUTH, PASSWORD, USERS, House, house
from tests.support.tokens import bearer

MINUTE = dt.timedelta(minutes=1)
WRONG = "not the password at all"


def code_of(secret: str, there: House, steps: int = 0) -> str:
    """Return the code that an authenticator shows now, or so many steps later."""
    moment = there.clock.now() + dt.timedelta(seconds=30 * steps)
    return pyotp.TOTP(secret).at(moment)


async def with_codes(there: House, name: str = "anna") -> tuple[str, list[str]]:
    """Turn on one-time codes; return the secret and the recovery codes."""
    tokens = await there.tokens(name)
    made = await there.post("/totp", tokens, {"password": PASSWORD})
    secret = made.json()["secret"]
    confirmed = await there.post("/totp/confirm", tokens, {"code": code_of(secret, there)})
    assert confirmed.status_code == 200, confirmed.text
    return secret, confirmed.json()["recovery_codes"]


def shape(answer: httpx.Response) -> Any:
    """Return all that a stranger learns from an answer."""
    body = {key: value for key, value in answer.json().items() if key != "correlation_id"}
    hidden = {"x-correlation-id"}
    return answer.status_code, body, {k: v for k, v in answer.headers.items() if k not in hidden}


async def test_five_failures_lock_out_for_a_quarter_of_an_hour_and_tell_nobody(
    database_url: str, redis_url: str
) -> None:
    async with house(database_url, redis_url) as there:
        user = await there.add()
        inside = await there.tokens()
        wrong = [await there.login(password=WRONG) for _ in range(5)]
        right = await there.login()
        unknown = await there.login("nobody.here", WRONG)
        # The lock does not tell which password is right, nor who there is.
        assert {json.dumps(shape(each)) for each in (*wrong, right, unknown)} == {
            json.dumps(shape(unknown))
        }
        assert unknown.json()["code"] == "wrong-proof"
        assert unknown.headers["WWW-Authenticate"].startswith("Bearer")
        # Who is in stays in.
        assert (await there.me(inside)).status_code == 200
        assert (await there.refresh(inside["refresh_token"])).status_code == 200
        assert there.kinds().count(("security.lock_out", "done")) == 1
        (notice,) = there.told("notifications")
        assert "anna is locked out" in notice["title"]
        assert WRONG not in json.dumps(there.told())
        assert "nobody.here" not in json.dumps(there.told())
        shown = (await there.client.get(f"{USERS}/{user['id']}")).json()
        assert shown["locked_until"] is not None
        there.clock.advance(15 * MINUTE - dt.timedelta(seconds=1))
        assert (await there.login()).status_code == 401
        there.clock.advance(dt.timedelta(seconds=1))
        assert (await there.login()).status_code == 200
        # An administrator ends it sooner.
        for _ in range(5):
            await there.login(password=WRONG)
        assert (await there.login()).status_code == 401
        assert (await there.client.post(f"{USERS}/{user['id']}/unlock")).status_code == 200
        assert (await there.login()).status_code == 200


async def test_many_guesses_at_once_are_five_guesses(database_url: str, redis_url: str) -> None:
    async with house(database_url, redis_url) as there:
        await there.add()
        guesses = [there.login(password=WRONG) for _ in range(12)]
        answers = await asyncio.gather(*guesses, there.login())
        assert [each.status_code for each in answers[:-1]] == [401] * 12
        counted = [e for e in there.told() if e["details"].get("reason") == "wrong password"]
        assert len(counted) <= 5 or answers[-1].status_code == 200


async def test_an_unknown_name_takes_as_long_as_a_wrong_password(
    database_url: str, redis_url: str
) -> None:
    slow = {"password_memory_kib": 16_384, "refusal_s": 0.3, "refusal_s_max": 0.3}
    async with house(database_url, redis_url, **slow, login_failures_max=100) as there:
        await there.client.post(
            USERS, json={"name": "anna", "roles": ["viewer"], "password": PASSWORD}
        )
        took: dict[str, list[float]] = {"anna": [], "nobody": []}
        for _ in range(3):
            for name, times in took.items():
                started = time.perf_counter()
                assert (await there.login(name, WRONG)).status_code == 401
                times.append(time.perf_counter() - started)
        # Both are answered at the same moment of the clock, not when the work is done.
        assert min(map(min, took.values())) >= 0.29
        known, unknown = (statistics.median(times) for times in took.values())
        assert abs(known - unknown) < 0.2


async def test_a_one_time_code_is_wanted_and_good_once(database_url: str, redis_url: str) -> None:
    async with house(database_url, redis_url) as there:
        await there.add()
        secret, recovery_codes = await with_codes(there)
        asked = await there.login()
        assert (asked.status_code, asked.json()["code"]) == (401, "factor-required")
        assert "access_token" not in asked.json()
        # The step that confirmed the secret is used up; so is each one after it.
        assert (await there.login(code=code_of(secret, there))).status_code == 401
        there.clock.advance(dt.timedelta(seconds=totp.STEP_S))
        code = code_of(secret, there)
        assert (await there.login(code=code)).status_code == 200
        assert (await there.login(code=code)).status_code == 401
        assert (await there.login(code="abcd-efgh")).status_code == 401
        there.clock.advance(10 * MINUTE)
        assert (await there.login(code=recovery_codes[0].upper())).status_code == 200
        assert (await there.login(code=recovery_codes[0])).status_code == 401
        assert (await there.login(code=recovery_codes[1])).status_code == 200
        events = json.dumps(there.told())
        assert secret not in events
        assert recovery_codes[0] not in events
        # Wrong codes count as failures do: the fifth locks out.
        for _ in range(5):
            await there.login(code="000000")
        assert (await there.login(code=recovery_codes[2])).status_code == 401
        assert ("security.lock_out", "done") in there.kinds()


async def test_one_time_codes_are_set_up_shown_and_turned_off(
    database_url: str, redis_url: str
) -> None:
    async with house(database_url, redis_url) as there:
        user = await there.add()
        tokens = await there.tokens()
        mine = bearer(tokens["access_token"])
        assert (await there.client.get(f"{AUTH}/totp/qr.svg", headers=mine)).status_code == 409
        wrong = await there.post("/totp", tokens, {"password": WRONG})
        assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong-proof")
        made = (await there.post("/totp", tokens, {"password": PASSWORD})).json()
        assert made["uri"].startswith("otpauth://totp/Tradewind:anna?secret=" + made["secret"])
        svg = await there.client.get(f"{AUTH}/totp/qr.svg", headers=mine)
        assert svg.headers["content-type"] == "image/svg+xml"
        png = await there.client.get(f"{AUTH}/totp/qr.png", headers=mine)
        assert png.content == totp.qr_png(made["uri"])
        # Not before it is confirmed.
        assert (await there.login()).status_code == 200
        refused = await there.post("/totp/confirm", tokens, {"code": "000000"})
        assert refused.status_code == 403
        code = code_of(made["secret"], there)
        assert (await there.post("/totp/confirm", tokens, {"code": code})).status_code == 200
        assert (await there.post("/totp", tokens, {"password": PASSWORD})).status_code == 409
        there.clock.advance(dt.timedelta(seconds=30))
        proof = {"password": PASSWORD, "code": code_of(made["secret"], there)}
        renewed = await there.post("/recovery-codes", tokens, proof)
        assert len(renewed.json()["recovery_codes"]) == 10
        again = await there.post("/totp/disable", tokens, proof)
        assert again.status_code == 403
        proof["code"] = renewed.json()["recovery_codes"][0]
        assert (await there.post("/totp/disable", tokens, proof)).status_code == 204
        assert (await there.login()).status_code == 200
        await with_codes(there)
        gone = await there.client.delete(f"{USERS}/{user['id']}/totp")
        assert gone.json()["totp_enabled"] is False
        assert (await there.login()).status_code == 200


async def test_step_up_opens_what_is_dangerous(database_url: str, redis_url: str) -> None:
    async with house(database_url, redis_url) as there:
        await there.add("anna", "admin")
        tokens = await there.tokens()
        there.clock.advance(dt.timedelta(seconds=20))
        new = {"name": "carl", "roles": ["viewer"]}
        # A refresh proves nothing: what it gives is as old as the login.
        made = await there.client.post(USERS, json=new, headers=bearer(tokens["access_token"]))
        assert made.status_code == 201
        assert (await there.post("/step-up", tokens, {"code": "123456"})).status_code == 403
        wrong = await there.post("/step-up", tokens, {"password": WRONG})
        assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong-proof")
        right = await there.post("/step-up", tokens, {"password": PASSWORD})
        assert right.status_code == 200
        shown = (await there.me(right.json())).json()
        assert shown["stepped_up_at"] > (await there.me(tokens)).json()["stepped_up_at"]
        secret, _ = await with_codes(there)
        by_password = await there.post("/step-up", tokens, {"password": PASSWORD})
        assert by_password.json()["code"] == "factor-required"
        there.clock.advance(dt.timedelta(seconds=5))
        code = code_of(secret, there, steps=1)
        assert (await there.post("/step-up", tokens, {"code": code})).status_code == 200
        operators = await there.client.post(f"{AUTH}/step-up", json={"password": PASSWORD})
        assert (operators.status_code, operators.json()["code"]) == (403, "users-only")


async def test_a_password_is_changed_and_the_other_sessions_end(
    database_url: str, redis_url: str
) -> None:
    async with house(database_url, redis_url) as there:
        user = await there.add()
        other, mine = await there.tokens(), await there.tokens()
        body = {"current_password": PASSWORD, "new_password": "anna was here today"}
        weak = await there.post("/password", mine, body)
        assert weak.status_code == 422
        assert body["new_password"] not in weak.text
        body["new_password"] = "a horse of another colour"
        changed = await there.post("/password", mine, body)
        assert changed.status_code == 200
        assert (await there.me(changed.json())).status_code == 200
        assert (await there.refresh(other["refresh_token"])).status_code == 401
        assert (await there.refresh(mine["refresh_token"])).status_code == 200
        assert (await there.login()).status_code == 401
        reset = await there.client.post(f"{USERS}/{user['id']}/password")
        assert (await there.login(password=body["new_password"])).status_code == 401
        tokens = await there.tokens("anna", reset.json()["password"])
        assert tokens["user"]["must_change_password"] is True


async def test_changed_rights_and_disabled_users_take_effect_at_once(
    database_url: str, redis_url: str
) -> None:
    async with house(database_url, redis_url) as there:
        user = await there.add("anna", "trader", accounts=("main",))
        path = f"{USERS}/{user['id']}"
        tokens = await there.tokens()
        changed = await there.client.patch(path, json={"roles": ["viewer"], "accounts": ["b"]})
        assert changed.json()["roles"] == ["viewer"]

        async def void() -> bool:
            return (await there.me(tokens)).status_code == 401

        await eventually(void, what="the end of the old rights")
        there.clock.advance(dt.timedelta(seconds=1))
        renewed = (await there.refresh(tokens["refresh_token"])).json()
        shown = (await there.me(renewed)).json()
        assert (shown["roles"], shown["accounts"]) == (["viewer"], ["b"])
        await there.client.patch(path, json={"state": "disabled"})
        assert (await there.refresh(renewed["refresh_token"])).status_code == 401
        assert (await there.login()).status_code == 401
        (event,) = [e for e in there.told() if e["details"].get("roles") == "trader -> viewer"]
        assert event["actor"] == "service:operator"
        admin = (await there.client.get(USERS)).json()["items"][0]
        last = await there.client.patch(f"{USERS}/{admin['id']}", json={"roles": ["viewer"]})
        assert last.status_code == 409
        last = await there.client.patch(f"{USERS}/{admin['id']}", json={"state": "disabled"})
        assert last.status_code == 409


IMPOSSIBLE: list[tuple[dict[str, Any], int]] = [
    ({"name": "admin", "roles": ["viewer"]}, 409),
    ({"name": "Anna", "roles": ["viewer"]}, 422),
    ({"name": "anna", "roles": ["king"]}, 422),
    ({"name": "anna", "roles": ["newcomer"]}, 422),
    ({"name": "anna", "roles": []}, 422),
    ({"name": "anna", "roles": ["viewer", "viewer"]}, 422),
    ({"name": "anna", "roles": ["viewer"], "accounts": ["a/b"]}, 422),
    ({"name": "anna", "roles": ["viewer"], "password": "short"}, 422),
    ({"name": "anna", "roles": ["viewer"], "state": "active"}, 422),
]


async def test_users_that_cannot_be_are_refused_and_others_listed_page_by_page(
    database_url: str, redis_url: str
) -> None:
    async with house(database_url, redis_url) as there:
        for body, status in IMPOSSIBLE:
            answer = await there.client.post(USERS, json=body)
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
        for name in ("zoe", "yan"):
            body = {"name": name, "roles": ["viewer"]}
            made = (await there.client.post(USERS, json=body)).json()
            assert len(made["password"]) == 20
        one = (await there.client.get(USERS, params={"limit": 2})).json()
        two = (await there.client.get(USERS, params={"limit": 2, "after": one["next"]})).json()
        assert [each["name"] for each in one["items"] + two["items"]] == ["admin", "yan", "zoe"]
        assert two["next"] is None
        assert "hash" not in json.dumps(one)
