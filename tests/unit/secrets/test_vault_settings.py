"""Secrets of the settings from Vault, over real sockets against a stand-in of its API."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsError

from infra.embedded.ports import free_port
from libs.common.runtime.app import load_settings
from libs.common.runtime.secrets.vault import VaultAccess
from services.trade_executor.settings import ExecutorSettings
from tests.support.vault_server import ROLE_ID, ROOT_TOKEN, SECRET_ID, VaultStandIn, vault_server

NAMES = (
    "VAULT_ADDR", "VAULT_TOKEN", "VAULT_TOKEN_FILE", "VAULT_ROLE_ID", "VAULT_SECRET_ID",
    "VAULT_SECRET_ID_FILE", "VAULT_NAMESPACE", "VAULT_CACERT", "TRADEWIND_VAULT_MOUNT",
    "TRADEWIND_VAULT_PATH", "TRADEWIND_VAULT_TIMEOUT_S", "TRADEWIND_BROKER_KEY",
    "TRADEWIND_BROKER_KEY_FILE", "TRADEWIND_BROKER_SECRET", "TRADEWIND_DATABASE_URL",
    "TRADEWIND_REDIS_URL", "TRADEWIND_HOST",
)  # fmt: skip
HELD = {"broker_key": "vault-key", "broker_secret": "vault-secret", "host": "0.0.0.0"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names no secret; the settings' input, not our code."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def vault(environment: pytest.MonkeyPatch) -> Iterator[VaultStandIn]:
    """A Vault that the environment names."""
    with vault_server() as server:
        server.held["secret/tradewind"] = dict(HELD)
        environment.setenv("VAULT_ADDR", server.url)
        environment.setenv("VAULT_TOKEN", ROOT_TOKEN)
        yield server


def keys(settings: ExecutorSettings) -> tuple[str, str]:
    return settings.broker_key.get_secret_value(), settings.broker_secret.get_secret_value()


def test_secrets_come_from_vault_and_nothing_else_does(vault: VaultStandIn) -> None:
    settings = ExecutorSettings()
    assert keys(settings) == ("vault-key", "vault-secret")
    assert settings.host == "127.0.0.1"
    assert settings.encryption_keys.get_secret_value() == ""
    assert vault.asked == ["/v1/secret/data/tradewind"]


def test_arguments_environment_and_files_come_before_vault(
    vault: VaultStandIn, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("file-key\n")
    environment.setenv("TRADEWIND_BROKER_KEY_FILE", str(tmp_path / "key"))
    assert keys(ExecutorSettings()) == ("file-key", "vault-secret")
    environment.setenv("TRADEWIND_BROKER_KEY", "environment-key")
    assert keys(ExecutorSettings()) == ("environment-key", "vault-secret")
    given = ExecutorSettings(broker_key=SecretStr("argument-key"))
    assert keys(given) == ("argument-key", "vault-secret")


def test_vault_is_not_asked_when_nothing_is_missing(
    vault: VaultStandIn, environment: pytest.MonkeyPatch
) -> None:
    for name, info in ExecutorSettings.model_fields.items():
        if info.annotation is SecretStr:
            environment.setenv(f"TRADEWIND_{name}".upper(), str(info.default.get_secret_value()))
    ExecutorSettings()
    assert vault.asked == []


def test_login_by_app_role_with_the_secret_id_in_a_file(
    vault: VaultStandIn, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("VAULT_TOKEN")
    (tmp_path / "secret_id").write_text(f"{SECRET_ID}\n")
    environment.setenv("VAULT_ROLE_ID", ROLE_ID)
    environment.setenv("VAULT_SECRET_ID_FILE", str(tmp_path / "secret_id"))
    assert keys(ExecutorSettings()) == ("vault-key", "vault-secret")
    assert vault.asked == ["/v1/auth/approle/login", "/v1/secret/data/tradewind"]


def test_mount_namespace_and_several_paths(
    vault: VaultStandIn, environment: pytest.MonkeyPatch
) -> None:
    vault.held["desk/kv/tradewind/executor"] = {"broker_key": "own"}
    vault.held["desk/kv/tradewind/common"] = {"broker_key": "all", "broker_secret": "shared"}
    environment.setenv("VAULT_NAMESPACE", "desk")
    environment.setenv("TRADEWIND_VAULT_MOUNT", "kv/")
    environment.setenv("TRADEWIND_VAULT_PATH", "tradewind/executor, tradewind/common")
    assert keys(ExecutorSettings()) == ("own", "shared")


def refusal() -> str:
    """Return why the settings cannot be read; no secret may be in it."""
    with pytest.raises(SettingsError) as caught:
        ExecutorSettings()
    text = str(caught.value)
    for secret in (ROOT_TOKEN, SECRET_ID, ROLE_ID, *HELD.values(), "hidden"):
        assert secret not in f"{text} {caught.value.__cause__!r}"
    return text


def test_each_refusal_says_what_it_means(
    vault: VaultStandIn, environment: pytest.MonkeyPatch
) -> None:
    vault.held["secret/deleted"] = None
    vault.held["secret/number"] = {"broker_key": 5}
    vault.sealed = True
    assert "is sealed or standing by (503)" in refusal()
    vault.sealed = False
    for path in ("missing", "deleted"):
        environment.setenv("TRADEWIND_VAULT_PATH", path)
        assert f"secret/{path} does not exist (404), or its newest version is del" in refusal()
    environment.setenv("TRADEWIND_VAULT_PATH", "number")
    assert "secret/number: broker_key is not text" in refusal()
    environment.setenv("VAULT_TOKEN", "hidden")
    assert "refuses permission (403)" in refusal()
    environment.delenv("VAULT_TOKEN")
    environment.setenv("VAULT_ROLE_ID", ROLE_ID)
    environment.setenv("VAULT_SECRET_ID", "hidden")
    text = refusal()
    assert "login of the AppRole calls the request invalid (400)" in text


@pytest.mark.parametrize(
    ("status", "page", "words"),
    [
        (429, b'{"errors":["hidden"]}', "rations requests (429)"),
        (500, b'{"errors":["hidden"]}', "has an error of its own (500)"),
        (502, b"<html>hidden</html>", "through its proxy (502)"),
        (418, b"hidden", "refuses (UnexpectedError)"),
        (200, b"<html>hidden</html>", "does not answer as Vault does"),
        (200, b'["hidden"]', "does not answer as Vault does"),
        (200, b'{"data": "hidden"}', "does not answer as Vault does"),
        (200, b'{"data": {"data": null}}', "does not answer as Vault does"),
    ],
)
def test_odd_answers_are_refused(vault: VaultStandIn, status: int, page: bytes, words: str) -> None:
    vault.answers.append((status, page))
    assert words in refusal()


def test_a_silent_vault_is_given_up_on(
    vault: VaultStandIn, environment: pytest.MonkeyPatch
) -> None:
    vault.mute = threading.Event()
    environment.setenv("TRADEWIND_VAULT_TIMEOUT_S", "0.2")
    assert "did not answer within 0.2 s" in refusal()


def test_an_absent_vault_is_named(environment: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    environment.setenv("VAULT_ADDR", address)
    environment.setenv("VAULT_TOKEN", "hidden")
    assert f"Vault at {address}, secret/tradewind cannot be reached" in refusal()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "VAULT_TOKEN"),
        ({"VAULT_ROLE_ID": "r"}, "VAULT_SECRET_ID"),
        ({"VAULT_ADDR": "vault:8200"}, "VAULT_ADDR: must be an address"),
        ({"VAULT_ADDR": "https://u:hidden@vault"}, "VAULT_ADDR: must be an address"),
        ({"VAULT_TOKEN": "hidden", "VAULT_CACERT": "/no/such"}, "VAULT_CACERT: /no/such"),
        ({"VAULT_TOKEN_FILE": "/no/such"}, "VAULT_TOKEN_FILE: /no/such"),
        ({"VAULT_TOKEN": "hidden", "TRADEWIND_VAULT_PATH": "/"}, "must not be empty"),
        ({"VAULT_TOKEN": "hidden", "TRADEWIND_VAULT_TIMEOUT_S": "nan"}, "TIMEOUT_S"),
    ],
)
def test_incomplete_access_is_refused_by_name(
    environment: pytest.MonkeyPatch, given: dict[str, str], words: str
) -> None:
    for name, value in {"VAULT_ADDR": "https://vault:8200", **given}.items():
        environment.setenv(name, value)
    assert words in refusal()


def test_a_service_ends_with_the_reason_and_no_secret(
    vault: VaultStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    vault.sealed = True
    with pytest.raises(SystemExit) as caught:
        load_settings(ExecutorSettings)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("settings: Vault at http://127.0.0.1:")
    assert ROOT_TOKEN not in said


def test_access_shows_no_secret() -> None:
    given = {"VAULT_ADDR": "https://vault:8200", "VAULT_TOKEN": "hidden-1",
             "VAULT_ROLE_ID": "hidden-2", "VAULT_SECRET_ID": "hidden-3"}  # fmt: skip
    assert "hidden" not in repr(VaultAccess.of(given))
