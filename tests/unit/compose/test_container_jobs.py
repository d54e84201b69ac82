"""The jobs of the stack may run again and again."""

from __future__ import annotations

import datetime as dt
import json
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.containers import certificate, gotify_token, make_secrets
from infra.tls.errors import TlsError


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The volumes, empty."""
    for reader in ("vault", *make_secrets.files(make_secrets.complete({}))):
        (tmp_path / reader).mkdir()
    return tmp_path


def test_secrets_stay_the_same_at_the_second_start(out: Path) -> None:
    make_secrets.lay_out(out)
    first = {path: path.read_text() for path in out.rglob("*") if path.is_file()}
    make_secrets.lay_out(out)
    assert {path: path.read_text() for path in out.rglob("*") if path.is_file()} == first
    vault = out / "vault" / "secrets.json"
    assert stat.S_IMODE(vault.stat().st_mode) == 0o600
    assert set(json.loads(vault.read_text())) == set(make_secrets.NAMES)
    assert all(len(value) >= 32 for value in json.loads(vault.read_text()).values())


def test_broken_vault_is_not_replaced(out: Path) -> None:
    (out / "vault" / "secrets.json").write_text("{")
    with pytest.raises(json.JSONDecodeError):
        make_secrets.lay_out(out)
    assert (out / "vault" / "secrets.json").read_text() == "{"


@pytest.fixture
def gotify() -> Iterator[tuple[str, list[str]]]:
    """A local stand-in of Gotify: its address and the credentials it was shown."""
    shown: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({"health": "green"})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            shown.append(self.headers["Authorization"])
            self._answer({"id": 1, "token": "A1b2"})

        def _answer(self, body: dict[str, object]) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", shown
    server.shutdown()
    server.server_close()


def test_token_is_made_once(tmp_path: Path, gotify: tuple[str, list[str]]) -> None:
    url, shown = gotify
    (tmp_path / "password").write_text("secret\n")
    for _ in range(2):
        gotify_token.store_token(url, tmp_path / "password", tmp_path / "token", 5)
    assert (tmp_path / "token").read_text() == "A1b2\n"
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o444
    assert shown == ["Basic dHJhZGV3aW5kOnNlY3JldA=="]


def test_no_token_leaves_an_empty_file_and_may_be_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text("secret\n")
    for _ in range(2):
        gotify_token.store_token("http://127.0.0.1:1", tmp_path / "password", tmp_path / "token", 0)
    assert (tmp_path / "token").read_text() == "\n"
    assert "monitoring will not notify" in capsys.readouterr().out


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """The volumes of the gateway's certificate, empty."""
    for name in ("authority", "gateway"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_certificate_is_laid_out_once_and_kept(volumes: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    said = certificate.lay_out(volumes, volumes / "own", {}, now)
    assert said.startswith("a certificate for localhost, 127.0.0.1, ::1, gateway, until ")
    gateway = volumes / "gateway"
    first = {path.name: path.read_bytes() for path in gateway.iterdir()}
    assert set(first) == {"tls.crt", "tls.key", "ca.crt", "gateway.conf"}
    assert stat.S_IMODE((gateway / "tls.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((volumes / "authority" / "ca.key").stat().st_mode) == 0o600
    certificate.lay_out(volumes, volumes / "own", {}, now)
    assert {path.name: path.read_bytes() for path in gateway.iterdir()} == first


def test_chosen_names_port_and_rates_reach_the_gateway(volumes: Path) -> None:
    environment = {
        "TRADEWIND_GATEWAY_NAMES": "desk.example.com, 192.0.2.7",
        "TRADEWIND_GATEWAY_PORT": "9443",
        "TRADEWIND_TLS_MIN": "1.2",
        "TRADEWIND_REQUESTS_PER_SECOND": "7",
    }
    certificate.lay_out(volumes, volumes / "own", environment, dt.datetime.now(dt.UTC))
    settings = (volumes / "gateway" / "gateway.conf").read_text()
    for told in ('"desk.example.com" 1;', '"192.0.2.7" 1;', "default 9443;", "TLSv1.2 TLSv1.3",
                 "rate=7r/s"):  # fmt: skip
        assert told in settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRADEWIND_GATEWAY_NAMES", "a name; }"),
        ("TRADEWIND_GATEWAY_PORT", "0"),
        ("TRADEWIND_REQUESTS_PER_SECOND", "-1"),
        ("TRADEWIND_TLS_MIN", "1.1"),
        ("TRADEWIND_TLS_OWN", "11"),
    ],
)
def test_unfit_setting_is_named_and_nothing_is_laid_out(
    volumes: Path, name: str, value: str
) -> None:
    with pytest.raises(TlsError) as caught:
        certificate.lay_out(volumes, volumes / "own", {name: value}, dt.datetime.now(dt.UTC))
    wanted = "TRADEWIND_TLS_CERT" if name == "TRADEWIND_TLS_OWN" else value
    assert wanted in str(caught.value) + caught.value.remedy
    assert not (volumes / "gateway" / "gateway.conf").exists()


def test_a_volume_is_opened_to_who_is_not_root(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "gotify.db").write_text("")
    make_secrets.open_to_others(tmp_path)
    assert stat.S_IMODE((tmp_path / "images").stat().st_mode) == 0o777
    assert stat.S_IMODE((tmp_path / "gotify.db").stat().st_mode) == 0o666
