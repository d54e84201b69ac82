"""A stand-in of OSV's query API on the loopback, for tests of what asks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from infra.supply.advisories import CANARY

Package = tuple[str, str]


@dataclass
class AdvisoryService:
    """What it knows, by name and version, and what it was asked."""

    url: str = ""
    known: Mapping[Package, str] = field(default_factory=dict)
    asked: list[Package] = field(default_factory=list)


@contextmanager
def advisory_service(
    known: Mapping[Package, str], *, canary: bool = True
) -> Iterator[AdvisoryService]:
    """Serve advisories; it has heard of the canary's unless told otherwise."""
    told = {**known, **({CANARY: "PYSEC-2019-217"} if canary else {})}
    service = AdvisoryService(known=told)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            package = (query["package"]["name"], query["version"])
            service.asked.append(package)
            body = json.dumps(_answer(package, service.known)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the test looks at `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}/v1/query"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(package: Package, known: Mapping[Package, str]) -> dict[str, object]:
    if package not in known:
        return {}
    name, _ = package
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}]
    affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}]
    hole = {
        "id": known[package],
        "schema_version": "1.0.0",
        "summary": "Anybody may do anything.",
        "published": "2019-04-07T00:29:00Z",
        "affected": affected,
    }
    return {"vulns": [hole]}
