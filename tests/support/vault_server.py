"""A local stand-in of HashiCorp Vault's HTTP API: AppRole login and a key-value store, version 2.

Answers as https://developer.hashicorp.com/vault/api-docs says: `POST /v1/auth/approle/login`,
`GET /v1/<mount>/data/<path>`, errors as `{"errors": […]}` with 400, 403, 404, 429, 503 (sealed).
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROOT_TOKEN = "hvs.stand-in-root"
ROLE_ID = "59d6d1ca-47bb-4e7e-a40b-8be3bc5a0ba8"
SECRET_ID = "84896a0c-1347-aa90-a4f6-aca8b7558780"


@dataclass
class VaultStandIn:
    """What Vault holds (`namespace/mount/path` → data; None: deleted) and how it behaves."""

    url: str = ""
    held: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    sealed: bool = False
    mute: threading.Event | None = None
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=lambda: {ROOT_TOKEN})
    asked: list[str] = field(default_factory=list)

    def login(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Answer an AppRole login."""
        if (body.get("role_id"), body.get("secret_id")) != (ROLE_ID, SECRET_ID):
            return 400, {"errors": ["invalid role or secret ID"]}
        token = f"hvs.{uuid.uuid4().hex}"
        self.tokens.add(token)
        auth = {"client_token": token, "lease_duration": 1200, "renewable": True}
        return 200, {"request_id": str(uuid.uuid4()), "auth": auth}

    def read(self, token: str, where: str) -> tuple[int, Any]:
        """Answer a read of the newest version."""
        if token not in self.tokens:
            return 403, {"errors": ["permission denied"]}
        if where not in self.held:
            return 404, {"errors": []}
        data = self.held[where]
        deleted = "" if data is not None else "2026-01-02T03:04:05Z"
        metadata = {"version": 1, "deletion_time": deleted, "destroyed": False}
        answer = {
            "request_id": str(uuid.uuid4()),
            "data": {"data": data, "metadata": metadata},
        }
        return (404 if data is None else 200), answer


@contextmanager
def vault_server() -> Iterator[VaultStandIn]:
    """Run the stand-in on a free port."""
    vault = VaultStandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mount, _, path = self.path.removeprefix("/v1/").partition("/data/")
            where = "/".join(part for part in (self._namespace(), mount, path) if part)
            self._answer(*vault.read(self.headers.get("X-Vault-Token", ""), where))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/auth/approle/login":
                self._answer(404, {"errors": ["no handler for route"]})
                return
            self._answer(*vault.login(body))

        def _namespace(self) -> str:
            return self.headers.get("X-Vault-Namespace", "").strip("/")

        def _answer(self, status: int, value: Any) -> None:
            vault.asked.append(self.path)
            page = json.dumps(value).encode()
            if vault.mute is not None:
                vault.mute.wait(60)
            if vault.sealed:
                status, page = 503, b'{"errors":["Vault is sealed"]}'
            if vault.answers:
                status, page = vault.answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    vault.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield vault
    finally:
        if vault.mute is not None:
            vault.mute.set()
        server.shutdown()
        server.server_close()
