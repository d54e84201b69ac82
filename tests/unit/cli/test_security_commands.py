"""`tradewind user|session|totp|key|secret …`: what is sent, what is shown, what never is."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from tests.support.gateway_stand_in import StandIn, tradewind

USERS = "/api/v1/users"
KEYS = "/api/v1/keys"
SECRETS = "/api/v1/secrets"
AUTH = "/api/v1/auth"
ID = "0190c2f0-0000-7000-8000-000000000001"
ANNA = {"id": ID, "name": "anna", "display_name": "Anna", "roles": ["trader"],
        "accounts": ["main"], "state": "active", "must_change_password": False,
        "totp_enabled": True, "created_at": "2026-01-02T15:04:05Z"}  # fmt: skip
BERT = {**ANNA, "id": ID.replace("1", "2"), "name": "bert"}
KEY = {"id": "k7f3q2m5x4wab2c3", "user": "anna", "name": "nightly", "permissions": ["orders:read"],
       "networks": [], "expires_at": "2999-01-02T15:04:05Z", "revoked_at": None,
       "last_used_at": "2026-02-03T04:05:06Z"}  # fmt: skip
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def users(gateway: StandIn) -> None:
    # Two pages: names are looked for on all of them.
    gateway.says(USERS, {"items": [ANNA], "next": None})
    gateway.says_first(USERS, (200, {"items": [BERT], "next": "bert"}))


def test_a_user_is_created_with_a_password_shown_once(gateway: StandIn) -> None:
    gateway.first.clear()
    gateway.says(USERS, {**ANNA, "password": "first-one"}, 201)
    result = tradewind(
        "user", "create", "anna", "--role", "trader", "--role", "risk", "--account", "main"
    )
    assert result.exit_code == 0, result.output
    assert "first-one" in result.output
    body = {"name": "anna", "roles": ["trader", "risk"], "accounts": ["main"]}
    assert gateway.calls() == [("POST", USERS, body)]
    gateway.says(USERS, ANNA, 201)
    arguments = ("user", "create", "anna", "--role", "viewer", "--password-stdin")
    result = tradewind(*arguments, typed=f"{PASSWORD}\n")
    assert gateway.asked[-1]["body"]["password"] == PASSWORD
    assert PASSWORD not in result.output
    assert tradewind("user", "create", "anna").exit_code == 2


def test_users_are_listed_over_all_pages(gateway: StandIn) -> None:
    output = tradewind("user", "list").output
    assert output.index("bert") < output.index("anna")
    assert gateway.asked[-1]["query"] == "limit=500&after=bert"


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (("disable", "anna"), ("PATCH", f"{USERS}/{ID}", {"state": "disabled"})),
        (("enable", ID), ("PATCH", f"{USERS}/{ID}", {"state": "active"})),
        (
            ("roles", "Anna", "--role", "viewer", "--account", "main"),
            ("PATCH", f"{USERS}/{ID}", {"roles": ["viewer"], "accounts": ["main"]}),
        ),
        (("roles", "anna", "--role", "viewer"), ("PATCH", f"{USERS}/{ID}", {"roles": ["viewer"]})),
        (("show", "anna"), ("GET", f"{USERS}/{ID}", None)),
    ],
)
def test_a_user_is_changed_by_name_or_id(
    gateway: StandIn, arguments: tuple[str, ...], sent: tuple[str, str, Any]
) -> None:
    gateway.says(f"{USERS}/{ID}", ANNA)
    result = tradewind("user", *arguments)
    assert result.exit_code == 0, result.output
    assert gateway.calls()[-1] == sent


def test_passwords_lock_outs_and_codes_are_reset(gateway: StandIn) -> None:
    gateway.says(f"{USERS}/{ID}/password", {"password": "fresh-one"})
    assert "fresh-one" in tradewind("user", "reset-password", ID).output
    gateway.says(f"{USERS}/{ID}/unlock", ANNA)
    assert "anna may try again" in tradewind("user", "unlock", ID).output
    gateway.says(f"{USERS}/{ID}/totp", ANNA)
    assert "by the password alone" in tradewind("user", "reset-totp", ID).output
    unknown = tradewind("user", "unlock", "carl")
    assert (unknown.exit_code, "there is no user 'carl'" in unknown.output) == (1, True)


def test_a_user_is_removed_after_a_yes(gateway: StandIn) -> None:
    gateway.says(f"{USERS}/{ID}", ANNA)
    asked = tradewind("user", "remove", "anna", typed="n\n")
    assert asked.exit_code == 1
    assert [method for method, *_ in gateway.calls()][-1] == "GET"
    for arguments, typed in ((("anna",), "y\n"), ((ID, "--yes"), "")):
        gateway.asked.clear()
        result = tradewind("user", "remove", *arguments, typed=typed)
        assert result.exit_code == 0, result.output
        assert "anna is removed" in result.output
        assert gateway.calls()[-1] == ("DELETE", f"{USERS}/{ID}", None)


def test_sessions_are_listed_and_ended(gateway: StandIn) -> None:
    session = {"id": "0190-s", "created_at": "2026-01-02T15:04:05Z", "ip": "192.0.2.7",
               "last_used_at": None, "user_agent": "tradewind", "current": True}  # fmt: skip
    for path in (f"{AUTH}/sessions", f"{USERS}/sessions", f"{USERS}/{ID}/sessions"):
        gateway.says(path, {"items": [session], "next": None})
    for arguments in ((), ("--all",), ("--user", "anna")):
        output = tradewind("session", "list", *arguments).output
        for part in ("0190-s", "2026-01-02 15:04", "192.0.2.7", "this one"):
            assert part in output
    gateway.says(f"{AUTH}/sessions/0190-s", b"", 204)
    assert tradewind("session", "revoke", "0190-s").output == "ended\n"
    gateway.says(f"{USERS}/{ID}/sessions", {"ended": 3})
    assert tradewind("session", "revoke", "--user", ID, "--all").output == "ended 3\n"
    for wrong in ((), ("--all",), ("0190-s", "--all", "--user", ID), ("../x",)):
        assert tradewind("session", "revoke", *wrong).exit_code == 2


def test_one_time_codes_are_set_up_by_a_picture_and_a_code(gateway: StandIn) -> None:
    uri = "otpauth://totp/Tradewind:anna?secret=JBSWY3DPEHPK3PXP&issuer=Tradewind"
    gateway.says(f"{AUTH}/totp", {"secret": "JBSWY3DPEHPK3PXP", "uri": uri})
    wrong = (403, {"code": "wrong-proof", "detail": "The code is wrong."})
    gateway.says_first(f"{AUTH}/totp/confirm", wrong)
    gateway.says(f"{AUTH}/totp/confirm", {"recovery_codes": ["aaaa-bbbb", "cccc-dddd"]})
    result = tradewind("totp", "enrol", typed=f"{PASSWORD}\n111111\n123456\n")
    assert result.exit_code == 0, result.output
    for part in ("█", "JBSWY3DPEHPK3PXP", "The code is wrong", "aaaa-bbbb", "cccc-dddd"):
        assert part in result.output
    assert PASSWORD not in result.output
    gateway.says(f"{AUTH}/totp/disable", b"", 204)
    assert tradewind("totp", "disable", typed=f"{PASSWORD}\n123456\n").exit_code == 0
    assert gateway.asked[-1]["body"] == {"password": PASSWORD, "code": "123456"}


def test_a_key_is_made_shown_once_and_revoked(gateway: StandIn) -> None:
    gateway.says(KEYS, {**KEY, "key": "tw_k7f3q2m5x4wab2c3_secret"}, 201)
    arguments = ("nightly", "-p", "orders:read", "--days", "30", "--network", "192.0.2.0/24")
    result = tradewind("key", "create", *arguments, "--rate", "60", "--user", "anna")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "tw_k7f3q2m5x4wab2c3_secret"
    body = gateway.asked[-1]["body"]
    expires_at = dt.datetime.fromisoformat(body.pop("expires_at"))
    assert dt.timedelta(days=29) < expires_at - dt.datetime.now(dt.UTC) <= dt.timedelta(days=30)
    assert body == {
        "name": "nightly", "permissions": ["orders:read"], "accounts": [], "user_id": ID,
        "networks": ["192.0.2.0/24"], "may_step_up": False, "rate_per_minute": 60,
    }  # fmt: skip
    assert tradewind("key", "create", "nightly", "-p", "orders:read").exit_code == 2
    gateway.says(KEYS, {"items": [KEY, {**KEY, "revoked_at": "x"}], "next": None})
    output = tradewind("key", "list", "--all").output
    for part in ("k7f3q2m5x4wab2c3", "anna", "2026-02-03 04:05", "anywhere", "good", "revoked"):
        assert part in output
    assert gateway.asked[-1]["query"] == "everybody=true&limit=500"
    gateway.says(f"{KEYS}/k7f3q2m5x4wab2c3", KEY)
    assert "is revoked" in tradewind("key", "revoke", "k7f3q2m5x4wab2c3").output
    assert gateway.asked[-1]["method"] == "DELETE"
    assert json.loads(tradewind("key", "show", "k7f3q2m5x4wab2c3").output) == KEY


def test_a_secret_comes_from_standard_input_and_is_never_shown(gateway: StandIn) -> None:
    gateway.says(f"{SECRETS}/broker_key", b"", 204)
    result = tradewind("secret", "set", "broker_key", typed="the-value\n")
    assert result.exit_code == 0, result.output
    assert gateway.calls() == [("PUT", f"{SECRETS}/broker_key", {"value": "the-value"})]
    assert "the-value" not in result.output
    assert tradewind("secret", "set", "broker_key", "the-value").exit_code == 2
    assert tradewind("secret", "set", "broker_key", typed="").exit_code == 2
    item = {"name": "broker_key", "updated_at": "2026-01-02T15:04:05Z"}
    gateway.says(SECRETS, {"items": [item], "next": None, "columns": []})
    assert "broker_key" in tradewind("secret", "list").output
    assert "stored no more" in tradewind("secret", "remove", "broker_key").output


def test_keys_are_rotated_column_by_column_and_batch_by_batch(gateway: StandIn) -> None:
    columns = ["a.one", "b.two"]
    gateway.says(SECRETS, {"items": [], "next": None, "columns": columns})
    batch = {"column": "a.one", "rows": 200, "rotated": 150, "unreadable": [], "next": "k"}
    gateway.says_first(f"{SECRETS}/rotation", (200, batch))
    gateway.says(f"{SECRETS}/rotation", {**batch, "rows": 1, "rotated": 0, "next": None})
    result = tradewind("secret", "rotate")
    assert result.exit_code == 0, result.output
    assert "a.one: 201 values, 150 encrypted anew" in result.output
    assert [one["body"]["after"] for one in gateway.asked[1:]] == ["", "k", ""]
    lost = {**batch, "unreadable": ["row-7"], "next": None}
    gateway.says(f"{SECRETS}/rotation", lost)
    result = tradewind("secret", "rotate")
    assert (result.exit_code, "row-7: none of the keys opens it" in result.output) == (1, True)


def test_new_keys_differ_and_need_no_gateway() -> None:
    first, second = (tradewind("secret", "new-key").output for _ in range(2))
    assert first != second
    assert len(first.strip()) == 44
