"""A small local stand-in of the gateway, and the `tradewind` command run against it."""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typer.testing import CliRunner

from cli.main import app


@dataclass
class StandIn:
    """Answers what it was told to, and keeps what it was asked."""

    url: str = ""
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    first: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def says(self, path: str, body: Any, status: int = 200) -> None:
        self.answers[path] = (status, body)

    def says_in_turn(self, path: str, *bodies: Any) -> None:
        self.answers[path] = (200, deque(bodies))

    def says_first(self, path: str, *answers: tuple[int, Any]) -> None:
        """Give these answers, one a request, before the usual one."""
        self.first.setdefault(path, []).extend(answers)

    def calls(self) -> list[tuple[str, str, Any]]:
        """Return method, path and body of all requests."""
        return [(one["method"], one["path"], one["body"]) for one in self.asked]


@contextmanager
def standing_in(tls: ssl.SSLContext | None = None) -> Iterator[StandIn]:
    """Serve on a free port until the end of the block, by HTTPS where `tls` is given."""
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            path, _, query = self.path.partition("?")
            stand_in.asked.append(
                {
                    "method": self.command,
                    "path": path,
                    "query": query,
                    "authorization": self.headers.get("Authorization"),
                    "key": self.headers.get("Idempotency-Key"),
                    "body": json.loads(body) if body else None,
                }
            )
            usual = stand_in.answers.get(path, (404, {"detail": "no such thing"}))
            queued = stand_in.first.get(path)
            status, answer = queued.pop(0) if queued else usual
            if isinstance(answer, deque):
                answer = answer.popleft()
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    scheme = "http" if tls is None else "https"
    stand_in.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    yield stand_in
    server.shutdown()
    server.server_close()


def tradewind(*arguments: str, typed: str | None = None) -> Any:
    """Run the command with what is typed; return what came of it."""
    return CliRunner().invoke(app, list(arguments), input=typed)
