"""A local HTTP stand-in of Gotify's `POST /message` that can misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "A-stand-in"


@dataclass
class GotifyStandIn:
    """What was received; `answers` are given first, one a request: a status, or None to hang up."""

    url: str = ""
    received: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    answers: list[int | None] = field(default_factory=list)


@contextmanager
def gotify_server() -> Iterator[GotifyStandIn]:
    """Run the stand-in on a free port."""
    stand_in = GotifyStandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stand_in.requests += 1
            answer = stand_in.answers.pop(0) if stand_in.answers else 200
            if answer is None:
                self.close_connection = True
                return
            if self.path != "/message" or self.headers["X-Gotify-Key"] != TOKEN:
                answer = 401
            if answer == 200:
                stand_in.received.append(body)
            self.send_response(answer)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            page = b"<html>bad gateway</html>" if answer == 502 else b'{"id":1,"error":"x"}'
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
