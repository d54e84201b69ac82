"""`tradewind login` and as whom later commands ask, against a local stand-in of the gateway."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cli.session_store import SessionStore, StoredSession
from infra.routes import ROOT
from tests.support.gateway_stand_in import StandIn, tradewind

AUTH = "/api/v1/auth"
ADA = {"name": "ada", "totp_enabled": False, "must_change_password": False}
GRANT = {"access_token": "access-1", "token_type": "Bearer", "expires_in": 900, "user": ADA,
         "session_id": "0190-s", "refresh_token": "refresh-1"}  # fmt: skip
NEXT = {**GRANT, "access_token": "access-2", "refresh_token": "refresh-2"}
OVER = (401, {"code": "session-over", "detail": "The session is over; log in again."})
EXPIRED = (401, {"code": "expired-token", "detail": "The token has expired."})
STEP_UP = (403, {"code": "step-up-required", "detail": "Prove again that it is you."})
ORDERS = {"items": [], "next": None}
PASSWORD = "correct horse battery"


def stored(gateway: StandIn, expires_in: float = 900) -> SessionStore:
    """Keep a login, as `tradewind login` does."""
    store = SessionStore(gateway.url)
    store.write(StoredSession.of(gateway.url, {**GRANT, "expires_in": expires_in}))
    return store


def file_of(tmp_path: Path) -> Path:
    return next((tmp_path / "config" / "tradewind" / "sessions").glob("*.json"))


def test_login_is_kept_for_its_owner_alone(gateway: StandIn, tmp_path: Path) -> None:
    gateway.says(f"{AUTH}/login", GRANT)
    result = tradewind("login", "--name", "ada", typed=f"{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert f"logged in as ada at {gateway.url}" in result.output
    assert PASSWORD not in result.output
    assert "access-1" not in result.output
    body = {"name": "ada", "password": PASSWORD}
    assert gateway.calls() == [("POST", f"{AUTH}/login", body)]
    kept = file_of(tmp_path)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert PASSWORD not in kept.read_text()
    gateway.says("/api/v1/orders", ORDERS)
    assert tradewind("orders").exit_code == 0
    assert gateway.asked[-1]["authorization"] == "Bearer access-1"


def test_login_asks_for_the_second_factor_when_it_is_wanted(gateway: StandIn) -> None:
    wanted = (401, {"code": "factor-required", "detail": "A code is needed."})
    gateway.says_first(f"{AUTH}/login", wanted)
    gateway.says(f"{AUTH}/login", GRANT)
    result = tradewind("login", "--name", "ada", typed=f"{PASSWORD}\n123456\n")
    assert result.exit_code == 0, result.output
    assert gateway.asked[-1]["body"]["code"] == "123456"


def test_login_with_a_password_that_was_given_demands_an_own_one(gateway: StandIn) -> None:
    newcomer = {**GRANT, "user": {**ADA, "must_change_password": True}}
    gateway.says(f"{AUTH}/login", newcomer)
    gateway.says_first(f"{AUTH}/password", (422, {"detail": "password: takes 12 characters"}))
    gateway.says(f"{AUTH}/password", {"access_token": "access-9", "expires_in": 900})
    typed = f"{PASSWORD}\nshort\nshort\nlong enough\nlong enough\n"
    result = tradewind("login", "--name", "ada", typed=typed)
    assert result.exit_code == 0, result.output
    assert "takes 12 characters" in result.output
    body = {"current_password": PASSWORD, "new_password": "long enough"}
    assert gateway.calls()[-1] == ("POST", f"{AUTH}/password", body)
    session = SessionStore(gateway.url).read()
    assert session is not None
    assert session.access_token == "access-9"
    script = tradewind("login", "--name", "ada", "--password-stdin", typed=PASSWORD)
    assert (script.exit_code, "log in at a terminal" in script.output) == (1, True)


def test_a_refused_login_keeps_nothing(gateway: StandIn, tmp_path: Path) -> None:
    gateway.says(f"{AUTH}/login", {"code": "wrong-proof", "detail": "Name or code is wrong."}, 401)
    result = tradewind("login", "--name", "ada", "--password-stdin", typed=f"{PASSWORD}\n")
    assert (result.exit_code, "Name or code is wrong" in result.output) == (1, True)
    assert not list((tmp_path / "config").rglob("*.json"))
    assert tradewind("login", "--name", "ada", "--password-stdin", typed="").exit_code == 2


def test_without_login_the_way_in_is_told(gateway: StandIn) -> None:
    gateway.says("/api/v1/orders", {"code": "no-token", "detail": "This needs a token."}, 401)
    result = tradewind("orders")
    assert result.exit_code == 4
    assert "tradewind login" in result.output
    assert gateway.asked[0]["authorization"] is None


def test_an_api_key_goes_before_the_login(
    gateway: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stored(gateway)
    gateway.says("/api/v1/orders", ORDERS)
    (tmp_path / "key").write_text("tw_file_key\n")
    monkeypatch.setenv("TRADEWIND_API_KEY_FILE", str(tmp_path / "key"))
    tradewind("orders")
    monkeypatch.setenv("TRADEWIND_API_KEY", "tw_own_key")
    tradewind("orders")
    assert [one["authorization"] for one in gateway.asked] == [
        "Bearer tw_file_key", "Bearer tw_own_key",
    ]  # fmt: skip
    monkeypatch.setenv("TRADEWIND_API_KEY", "two words")
    refused = tradewind("orders")
    assert (refused.exit_code, "two words" in refused.output) == (1, False)


def test_a_token_that_expires_is_renewed_before_and_after(gateway: StandIn) -> None:
    gateway.says("/api/v1/orders", ORDERS)
    gateway.says(f"{AUTH}/refresh", NEXT)
    store = stored(gateway, expires_in=5)
    assert tradewind("orders").exit_code == 0
    assert gateway.calls()[0] == ("POST", f"{AUTH}/refresh", {"refresh_token": "refresh-1"})
    assert gateway.asked[1]["authorization"] == "Bearer access-2"
    kept = store.read()
    assert kept is not None
    assert (kept.access_token, kept.refresh_token) == ("access-2", "refresh-2")
    gateway.asked.clear()
    gateway.says_first("/api/v1/orders", EXPIRED)
    gateway.says(f"{AUTH}/refresh", {**NEXT, "access_token": "access-3"})
    assert tradewind("orders").exit_code == 0
    assert [one["authorization"] for one in gateway.asked] == [
        "Bearer access-2", None, "Bearer access-3",
    ]  # fmt: skip


def test_a_login_that_is_over_is_forgotten_and_said(gateway: StandIn) -> None:
    store = stored(gateway, expires_in=5)
    gateway.says_first(f"{AUTH}/refresh", OVER)
    result = tradewind("orders")
    assert result.exit_code == 4
    assert "the login of ada is over" in result.output
    assert store.read() is None


def test_parallel_commands_use_a_refresh_token_once(gateway: StandIn) -> None:
    stored(gateway, expires_in=5)
    gateway.says("/api/v1/orders", ORDERS)
    gateway.says_first(f"{AUTH}/refresh", (200, NEXT))
    # The token is good once: a second use would end the session, here with an answer of 401.
    gateway.answers[f"{AUTH}/refresh"] = OVER
    environment = {**os.environ, "COLUMNS": "200"}
    command = [sys.executable, "-m", "cli", "orders"]
    running = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    for process in running:
        assert process.stdout is not None
        process.stdout.close()
    refreshes = [one for one in gateway.asked if one["path"] == f"{AUTH}/refresh"]
    assert len(refreshes) == 1


def test_a_step_up_is_asked_for_at_a_terminal_and_the_command_repeated(gateway: StandIn) -> None:
    stored(gateway)
    gateway.says_first("/api/v1/risk/resume", STEP_UP)
    gateway.says("/api/v1/risk/resume", {"state": "active"})
    wrong = (403, {"code": "wrong-proof", "detail": "Name, password or code is wrong."})
    gateway.says_first(f"{AUTH}/step-up", wrong)
    gateway.says(f"{AUTH}/step-up", {"access_token": "access-7", "expires_in": 900})
    code, output = at_a_terminal(["resume", "tested"], ["not it\n", f"{PASSWORD}\n"])
    assert code == 0, output
    assert PASSWORD not in output
    assert "Name, password or code is wrong" in output
    assert [one["path"] for one in gateway.asked] == [
        "/api/v1/risk/resume", f"{AUTH}/step-up", f"{AUTH}/step-up", "/api/v1/risk/resume",
    ]  # fmt: skip
    assert gateway.asked[-1]["authorization"] == "Bearer access-7"
    assert gateway.asked[-2]["body"] == {"password": PASSWORD}


def test_a_script_is_told_to_step_up_elsewhere(gateway: StandIn) -> None:
    stored(gateway)
    gateway.says_first("/api/v1/risk/resume", STEP_UP)
    result = tradewind("resume", "tested")
    assert (result.exit_code, "tradewind step-up" in result.output) == (1, True)
    assert len(gateway.asked) == 1


def test_logout_forgets_the_login_whatever_the_gateway_thinks_of_it(gateway: StandIn) -> None:
    for answer in ((204, b""), OVER):
        store = stored(gateway)
        gateway.says_first(f"{AUTH}/logout", answer)
        gateway.answers[f"{AUTH}/refresh"] = OVER
        result = tradewind("logout")
        assert result.exit_code == 0, result.output
        assert store.read() is None
    assert "nobody is logged in" in tradewind("logout").output


def test_a_login_that_others_can_read_is_not_used(gateway: StandIn, tmp_path: Path) -> None:
    stored(gateway)
    file_of(tmp_path).chmod(0o644)
    result = tradewind("orders")
    assert (result.exit_code, "can be read by other users" in result.output) == (1, True)
    assert gateway.asked == []
    file_of(tmp_path).chmod(0o600)
    file_of(tmp_path).write_text("{}")
    assert "holds no login" in tradewind("orders").output


def test_nothing_secret_goes_over_the_net_in_clear(
    gateway: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_URL", "http://desk.example")
    monkeypatch.setenv("TRADEWIND_API_KEY", "tw_own_key")
    result = tradewind("orders")
    assert (result.exit_code, "is not HTTPS" in result.output) == (1, True)


def test_the_operators_key_is_shown_to_no_other_gateway(gateway: StandIn, tmp_path: Path) -> None:
    credentials = tmp_path / "var" / "credentials"
    credentials.mkdir(parents=True, mode=0o700)
    (credentials / "secrets.json").write_text(json.dumps({"service_key_operator": "00" * 32}))
    (credentials / "secrets.json").chmod(0o600)
    gateway.says("/api/v1/orders", ORDERS)
    assert tradewind("orders").exit_code == 0
    assert gateway.asked[0]["authorization"] is None


def test_sessions_show_no_token() -> None:
    session = StoredSession.of("http://x", GRANT)
    assert "access-1" not in repr(session)
    assert "refresh-1" not in repr(session)


def test_whoami_tells_what_is_allowed(gateway: StandIn) -> None:
    me: dict[str, Any] = {"name": "ada", "kind": "user", "roles": ["trader"], "accounts": ["main"],
          "permissions": ["orders:read"], "stepped_up_at": None}  # fmt: skip
    gateway.says(f"{AUTH}/me", me)
    output = tradewind("whoami").output
    for part in ("ada (user)", "trader", "main", "orders:read"):
        assert part in output
    assert json.loads(tradewind("whoami", "--json").output) == me


def at_a_terminal(arguments: list[str], typed: list[str]) -> tuple[int, str]:
    """Run the command at a terminal of its own, typing each text when a question stands there."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    shown = bytearray()

    def read() -> None:
        try:
            while chunk := os.read(master, 4096):
                shown.extend(chunk)
        except OSError:
            return  # the last one has closed the terminal

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    deadline = time.monotonic() + 60
    for count, text in enumerate(typed, start=1):
        while shown.count(b"that it is you: ") < count and process.poll() is None:
            assert time.monotonic() < deadline, shown.decode()
            time.sleep(0.02)
        os.write(master, text.encode())
    code = process.wait(60)
    reader.join(10)
    os.close(master)
    return code, shown.decode()
