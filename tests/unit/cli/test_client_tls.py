"""The command and the gateway's certificate: what it trusts, and what it says where it does not."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.client import Gateway
from cli.errors import CommandError
from infra.tls import files, names
from tests.support.gateway_stand_in import StandIn, standing_in, tradewind


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The authority of somebody's gateway."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    files.served(folder, names.ALWAYS, dt.datetime.now(dt.UTC))
    return folder / "ca.crt"


@pytest.fixture
def secure(gateway: StandIn, authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """That gateway, which the command is sent to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.with_name(files.LEAF), authority.with_name(files.LEAF_KEY))
    with standing_in(context) as stand_in:
        stand_in.says("/x", {"fine": True})
        monkeypatch.setenv("TRADEWIND_URL", stand_in.url)
        monkeypatch.delenv("TRADEWIND_TLS_CA", raising=False)
        yield stand_in


def test_a_stranger_is_not_trusted_and_the_setting_is_named(secure: StandIn) -> None:
    result = tradewind("orders")
    assert result.exit_code != 0
    assert "not trusted here" in result.output
    assert "TRADEWIND_TLS_CA" in result.output
    assert secure.asked == []


def test_the_named_authority_is_trusted(
    secure: StandIn, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_TLS_CA", str(authority))
    with Gateway() as asked:
        assert asked.get("/x") == {"fine": True}


def test_the_homes_own_authority_is_trusted(
    secure: StandIn, authority: Path, tmp_path: Path
) -> None:
    home = tmp_path / "var" / "credentials" / "tls"
    home.mkdir(parents=True)
    (home / "ca.crt").write_bytes(authority.read_bytes())
    with Gateway() as asked:
        assert asked.get("/x") == {"fine": True}


def test_a_file_that_is_no_authority_is_named(
    secure: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_TLS_CA", str(tmp_path / "none"))
    with pytest.raises(CommandError, match="TRADEWIND_TLS_CA names a file"):
        Gateway()
