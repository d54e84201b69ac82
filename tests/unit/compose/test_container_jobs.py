"""The jobs of the stack may run again and again."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.containers import gotify_token, make_secrets


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
