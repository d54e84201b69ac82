"""Home, credentials, ports and logs of the embedded runtime."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from infra.embedded.credentials import Credentials
from infra.embedded.errors import EmbeddedError, PortTakenError
from infra.embedded.home import Home, read_json
from infra.embedded.logs import LogFiles
from infra.embedded.ports import claim, free_port


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "var", "history")
    home.prepare(free_mb_min=1)
    return home


def test_secrets_are_private_and_stay_the_same(home: Home) -> None:
    first = Credentials(home).secret("postgres")
    file = home.credentials / "secrets.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.credentials.stat().st_mode) == 0o700
    assert Credentials(home).secret("postgres") == first
    assert len(first) >= 32


def test_two_secrets_differ(home: Home) -> None:
    credentials = Credentials(home)
    assert credentials.secret("a") != credentials.secret("b")


def test_secrets_that_others_can_read_are_refused(home: Home) -> None:
    Credentials(home).secret("postgres")
    (home.credentials / "secrets.json").chmod(0o644)
    with pytest.raises(EmbeddedError, match="can be read by other users"):
        Credentials(home)


def test_broken_secrets_are_refused_not_replaced(home: Home) -> None:
    file = home.credentials / "secrets.json"
    file.write_text("{")
    file.chmod(0o600)
    with pytest.raises(EmbeddedError, match="not readable as JSON"):
        Credentials(home)
    assert file.read_text() == "{"


def test_full_disk_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"MiB free; 1000000000 MiB are needed"):
        Home(tmp_path / "var", "history").prepare(free_mb_min=1_000_000_000)


def test_home_below_a_file_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match="cannot make the directory") as caught:
        Home(tmp_path / "file" / "var", "history").prepare(free_mb_min=1)
    assert "TRADEWIND_HOME" in caught.value.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_home_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    with pytest.raises(EmbeddedError, match="cannot make the directory"):
        Home(closed / "var", "history").prepare(free_mb_min=1)


def test_taken_port_names_port_user_holder_and_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTakenError) as caught:
            claim(port, "the gateway", "TRADEWIND_GATEWAY_PORT")
    assert f"port {port}, which the gateway needs" in str(caught.value)
    assert f"pid {os.getpid()}" in str(caught.value)
    assert "TRADEWIND_GATEWAY_PORT" in caught.value.remedy


def test_free_port_can_be_claimed() -> None:
    port = free_port()
    assert claim(port, "a test", "X") == port


def test_missing_state_is_empty(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json") == {}


def test_long_log_is_cut_and_its_parts_kept(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path, bytes_max=10, keep=2)
    descriptor = logs.open("a")
    for text in (b"first part\n", b"second part\n", b"third part\n"):
        os.write(descriptor, text)
        assert logs.rotate() == ["a"]
    os.write(descriptor, b"now\n")
    os.close(descriptor)
    assert (tmp_path / "a.log").read_text() == "now\n"
    assert (tmp_path / "a.log.1").read_text() == "third part\n"
    assert (tmp_path / "a.log.2").read_text() == "second part\n"
    assert not (tmp_path / "a.log.3").exists()


def test_tail_gives_the_last_lines(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path, bytes_max=10_000, keep=1)
    logs.path("a").write_text("one\ntwo\nthree\n")
    assert logs.tail("a", 2) == "two\nthree"
    assert logs.tail("never", 2) == ""
