"""The command against the service itself: one story, and a log that holds no secret of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.session_store import SessionStore
from tests.support.gateway_stand_in import tradewind
from tests.support.security_process import security_process

FIRST = "the first of passwords"
OWN = "correct horse battery"
SECRET = "the-brokers-own-secret"


def done(*arguments: str, typed: str | None = None) -> str:
    """Run the command; return what it says, which went well."""
    result = tradewind(*arguments, typed=typed)
    assert result.exit_code == 0, result.output
    return str(result.output)


def test_the_command_and_the_service_understand_each_other(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "var"))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("TRADEWIND_API_KEY", "TRADEWIND_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    log = tmp_path / "security.log"
    with security_process(
        database_url, redis_url, log, first_password=FIRST, log_level="DEBUG"
    ) as url:
        monkeypatch.setenv("TRADEWIND_URL", url)
        said = _story(url, monkeypatch)
    kept = log.read_text()
    for secret in (FIRST, OWN, SECRET, *said):
        assert secret not in kept
    assert not re.search(r"eyJ[A-Za-z0-9_-]{20}|twr_[A-Za-z0-9_-]{20}", kept)


def _story(url: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Go through all of it; return the secrets that were shown."""
    assert tradewind("whoami").exit_code == 4
    # The first login chooses a password of one's own.
    done("login", "--name", "admin", typed=f"{FIRST}\n{OWN}\n{OWN}\n")
    me = json.loads(done("whoami", "--json"))
    assert (me["name"], me["roles"]) == ("admin", ["admin"])
    # A user, found by name, changed, and the sessions.
    first_of_anna = done("user", "create", "anna", "--role", "trader").splitlines()[-1]
    assert "viewer" in done("user", "roles", "anna", "--role", "viewer", "--account", "main")
    assert "anna" in done("user", "list")
    assert "this one" in done("session", "list")
    assert "locked until" in done("user", "show", "anna")
    # A token that has expired is renewed: the session goes on.
    store = SessionStore(url)
    session = store.read()
    assert session is not None
    store.write(replace(session, expires_at=0.0))
    assert "admin (user)" in done("whoami")
    renewed = store.read()
    assert renewed is not None
    assert renewed.refresh_token != session.refresh_token
    # A key, used, seen, revoked.
    key = done("key", "create", "report", "-p", "auth:self", "--days", "7").splitlines()[-1]
    monkeypatch.setenv("TRADEWIND_API_KEY", key)
    assert "admin (key)" in done("whoami")
    assert _denied("key", "list") == 1
    monkeypatch.delenv("TRADEWIND_API_KEY")
    assert "report" in done("key", "list")
    done("key", "revoke", key.split("_")[1])
    # A secret, stored and encrypted anew.
    done("secret", "set", "broker_secret", typed=f"{SECRET}\n")
    assert "broker_secret" in done("secret", "list")
    assert "stored_secrets.ciphertext: 1 values, 0 encrypted anew" in done("secret", "rotate")
    # One-time codes can be begun.
    enrolled = tradewind("totp", "enrol", typed=f"{OWN}\n000000\n000000\n000000\n")
    assert "or type it in" in enrolled.output
    shown = re.findall(r"[A-Z2-7]{32}", enrolled.output)
    assert "logged out" in done("logout")
    assert tradewind("whoami").exit_code == 4
    monkeypatch.setenv("TRADEWIND_API_KEY", key)
    assert tradewind("whoami").exit_code == 4
    monkeypatch.delenv("TRADEWIND_API_KEY")
    tokens: list[str] = [renewed.access_token, renewed.refresh_token, session.access_token]
    return [*tokens, key.split("_", 2)[2], first_of_anna, *shown]


def _denied(*arguments: str) -> Any:
    return tradewind(*arguments).exit_code
