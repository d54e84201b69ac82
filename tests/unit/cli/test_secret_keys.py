"""`tradewind secret add-key`: a new first key, the old ones stay, nobody else can read the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from cli.main import app
from infra.containers import make_secrets
from infra.embedded.credentials import Credentials
from infra.embedded.home import Home
from libs.common.runtime.secrets import SecretBox, new_key
from libs.common.runtime.settings import ServiceSettings

PURPOSE = "users.totp"


def add_key(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(app, ["secret", "add-key", *arguments], env=variables)


def box(text: str) -> SecretBox:
    return SecretBox.of(ServiceSettings(encryption_keys=SecretStr(text)))


def check(before: str, after: str, count: int) -> None:
    """See that what was encrypted before is read, and would be encrypted anew."""
    old, new = box(before), box(after)
    token = old.encrypt(b"kept", PURPOSE)
    assert new.decrypt(token, PURPOSE) == b"kept"
    anew = new.rotate(token, PURPOSE)
    assert anew is not None
    assert box(after.split(",")[0]).decrypt(anew, PURPOSE) == b"kept"
    assert repr(new) == f"SecretBox({count} keys)"


def test_the_home_of_an_installation_gets_one(tmp_path: Path) -> None:
    home = Home(tmp_path, "")
    assert "no system has been started" in add_key(TRADEWIND_HOME=str(tmp_path)).output
    home.prepare(free_mb_min=0)
    before = Credentials(home).key("encryption_keys")
    others = Credentials(home).secret("redis")
    for count in (2, 3):
        result = add_key(TRADEWIND_HOME=str(tmp_path))
        assert result.exit_code == 0, result.output
        assert f"first of {count}" in result.output
        file = home.credentials / "secrets.json"
        assert file.stat().st_mode & 0o777 == 0o600
        kept = json.loads(file.read_text())
        assert not any(key in result.output for key in kept["encryption_keys"].split(","))
        check(before, kept["encryption_keys"], count)
        before = kept["encryption_keys"]
        assert kept["redis"] == others
    assert Credentials(home).key("encryption_keys") == before
    file.chmod(0o644)
    assert "can be read by other users" in add_key(TRADEWIND_HOME=str(tmp_path)).output


@pytest.mark.parametrize("by_option", [True, False])
def test_a_file_of_keys_gets_one(tmp_path: Path, by_option: bool) -> None:
    file, before = tmp_path / "keys", new_key()
    file.write_text(f"{before}\n")
    file.chmod(0o644)
    variable = {"TRADEWIND_ENCRYPTION_KEYS_FILE": str(file)}
    result = add_key("--file", str(file)) if by_option else add_key(**variable)
    assert result.exit_code == 0, result.output
    assert file.stat().st_mode & 0o777 == 0o600
    check(before, file.read_text().strip(), 2)


@pytest.mark.parametrize("text", [None, "", "nonsense", "a,b"])
def test_what_holds_no_keys_is_left_alone(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text)
    result = add_key("--file", str(file))
    assert result.exit_code == 1
    assert str(file) in result.output or "key 1" in result.output
    assert (file.read_text() if file.exists() else None) == text


def test_keys_in_the_environment_are_their_owners_to_change() -> None:
    result = add_key(TRADEWIND_ENCRYPTION_KEYS=new_key())
    assert (result.exit_code, "new-key" in result.output) == (1, True)


def test_the_stacks_vault_gets_one(tmp_path: Path) -> None:
    # Compose makes these folders: one volume a reader.
    for reader in ("vault", *make_secrets.files(make_secrets.complete({}))):
        (tmp_path / reader).mkdir()
    make_secrets.lay_out(tmp_path)
    vault = tmp_path / "vault" / "secrets.json"
    before = json.loads(vault.read_text())
    make_secrets.lay_out(tmp_path, new_encryption_key=True)
    after = json.loads(vault.read_text())
    check(before.pop("encryption_keys"), after.pop("encryption_keys"), 2)
    assert after == before
    for reader in make_secrets.ENCRYPTS:
        text = (tmp_path / reader / "encryption_keys").read_text()
        assert text == json.loads(vault.read_text())["encryption_keys"]
