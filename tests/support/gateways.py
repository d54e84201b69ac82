"""Real Caddy and real Nginx over stub services, and a raw socket to misbehave with."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra import caddy_config, nginx_config
from infra.embedded.ports import free_ports
from infra.gateway_policy import Limits, Rates
from infra.routes import ROUTES, Route
from infra.tls import files, names
from infra.tls.trust import client_context

DEAD_AREA = "audit"
STREAM_PIECES = 5
STREAM_PAUSE_S = 0.3
BODY_S = 0.6
PAGE = "default-src 'none'; script-src 'sha256-x'; sandbox allow-scripts"
SHORT = Limits(header_s=0.7, body_s=0.5, body_s_total=1.2, send_s=0.7, idle_s=2.0, stream_s=1.5)
"""Times that a test can wait for."""


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked; `?status=` chooses the status, other paths a behaviour."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.server.seen.append(f"{self.command} {self.path}")  # type: ignore[attr-defined]
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            length = self._skip_chunks()
        elif not self._read_in_time(length):
            return
        if self.path.endswith("/events"):
            self._stream()
            return
        if self.path.endswith("/endless"):
            self._endless()
            return
        body = json.dumps(
            {
                "service": self.server.service,  # type: ignore[attr-defined]
                "method": self.command,
                "path": self.path,
                "length": length,
                "headers": {name.lower(): value for name, value in self.headers.items()},
            }
        ).encode()
        if "slow" in self.path:
            time.sleep(1.0)
        status = int(self.path.partition("status=")[2] or 200)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Correlation-ID", self.headers.get("X-Correlation-ID", ""))
        self.send_header("X-Powered-By", "a stub")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("X-Frame-Options", "SAMEORIGIN")
        if self.path.endswith("/page"):
            self.send_header("Content-Security-Policy", PAGE)
            self.send_header("Cache-Control", "max-age=60")
        if status == 204:
            body = b""
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the gateway gave up on a body too large
            self.wfile.write(body)

    def _read_in_time(self, length: int) -> bool:
        """Take the body as our services do: 408 when it is too long in coming."""
        deadline = time.monotonic() + BODY_S
        try:
            while length > 0 and (left_s := deadline - time.monotonic()) > 0:
                self.connection.settimeout(left_s)
                piece = self.rfile.read1(length)
                if not piece:
                    return False
                length -= len(piece)
            if length > 0:
                raise TimeoutError
        except TimeoutError:
            self.send_response(408)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            return False
        finally:
            self.connection.settimeout(None)
        return True

    def _stream(self) -> None:
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._web_socket()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(STREAM_PIECES):
            self.wfile.write(b"data: %d\n\n" % number)
            self.wfile.flush()
            time.sleep(STREAM_PAUSE_S)
        self.close_connection = True

    def _web_socket(self) -> None:
        """Take the upgrade and give back one byte for each byte."""
        told = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(told.encode(), usedforsecurity=False).digest())
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.wfile.flush()
        while got := self.rfile.read(1):
            self.wfile.write(got)
            self.wfile.flush()
        self.close_connection = True

    def _endless(self) -> None:
        """Send until nobody takes it any more."""
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.connection.settimeout(10)
        try:
            while True:
                self.wfile.write(b"x" * 65_536)
        except OSError:
            self.server.cut.set()  # type: ignore[attr-defined]

    def _skip_chunks(self) -> int:
        total = 0
        while size := int(self.rfile.readline().strip(), 16):
            self.rfile.read(size + 2)
            total += size
        self.rfile.readline()
        return total

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Stubs:
    """One stub service a route; the service of DEAD_AREA has a port but nobody on it."""

    ports: dict[str, int]
    seen: list[str] = field(default_factory=list)
    cut: threading.Event = field(default_factory=threading.Event)

    def upstream(self, route: Route) -> str:
        return f"127.0.0.1:{self.ports[route.area]}"


@contextmanager
def stub_services() -> Iterator[Stubs]:
    """Run the stubs."""
    stubs = Stubs({})
    servers = []
    for route in ROUTES:
        if route.area == DEAD_AREA:
            stubs.ports[route.area] = free_ports(1)[0]
            continue
        server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        server.daemon_threads = True
        server.service = route.service  # type: ignore[attr-defined]
        server.seen = stubs.seen  # type: ignore[attr-defined]
        server.cut = stubs.cut  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        stubs.ports[route.area] = server.server_address[1]
    yield stubs
    for server in servers:
        server.shutdown()
        server.server_close()


def with_logins(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Return the routes with one that tries passwords, whichever ours are by now."""
    return tuple(
        replace(route, logins=(*route.logins, "/login")) if route.area == "risk" else route
        for route in routes
    )


@dataclass(frozen=True)
class Gateway:
    """A running server."""

    kind: str
    port: int
    plain_port: int
    folder: Path
    stubs: Stubs
    client: httpx.Client
    limits: Limits

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def context(self) -> ssl.SSLContext:
        return client_context(self.folder, self.url)

    def connect(self, timeout_s: float = 8.0) -> ssl.SSLSocket:
        """Return a TLS connection to send anything on."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)
        return self.context.wrap_socket(plain, server_hostname="127.0.0.1")

    def say(self, text: bytes, timeout_s: float = 8.0) -> bytes:
        """Send `text` and return everything until the server closes; a cut is an end too."""
        with self.connect(timeout_s) as connection:
            with contextlib.suppress(ConnectionError, ssl.SSLError):  # it may have heard enough
                connection.sendall(text)
            return drain(connection)

    def ask(self, target: bytes, *, method: bytes = b"GET", extra: bytes = b"") -> Answer:
        """Send one request with a target as it stands."""
        return Answer(
            self.say(
                b"%b %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n%b\r\n"
                % (method, target, self.port, extra)
            )
        )


@dataclass(frozen=True)
class Answer:
    """An answer as it came over the wire."""

    raw: bytes

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1]) if self.raw.startswith(b"HTTP/1.1 ") else 0

    @property
    def body(self) -> Any:
        return json.loads(self.raw.partition(b"\r\n\r\n")[2])


def drain(connection: socket.socket) -> bytes:
    """Return what comes until the other side ends the connection."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except (ConnectionError, ssl.SSLError, TimeoutError):
        pass  # a cut without goodbye is what is waited for
    return b"".join(parts)


@contextmanager
def running_gateway(
    kind: str,
    folder: Path,
    stubs: Stubs,
    *,
    limits: Limits = SHORT,
    rates: Rates | None = None,
    allow_tls_12: bool = False,
) -> Iterator[Gateway]:
    """Run Caddy or Nginx in `folder` with a certificate of its own."""
    port, plain_port = free_ports(2)
    shown = files.served(folder, names.of_this_machine(), dt.datetime.now(dt.UTC))
    make = caddy_command if kind == "caddy" else nginx_command
    rates = rates or Rates(requests_per_second=2000, caller_requests_per_second=2000)
    command = make(folder, port, plain_port, stubs, limits, rates, allow_tls_12)
    environment = {
        "HOME": str(folder),
        "PATH": "/usr/bin",
        "TRADEWIND_TLS_CERT": str(shown.certificate),
        "TRADEWIND_TLS_KEY": str(shown.key),
        "TRADEWIND_TLS_MIN": "tls1.2" if allow_tls_12 else "tls1.3",
        "TRADEWIND_GATEWAY_HOSTS": " ".join(shown.names),
    }
    check(kind, command, environment, folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    url = f"https://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, timeout=10, verify=client_context(folder, url)) as client:
            until_answering(client, folder / "log")
            yield Gateway(kind, port, plain_port, folder, stubs, client, limits)
    finally:
        process.terminate()
        process.wait(10)


def check(kind: str, command: Sequence[str], environment: dict[str, str], folder: Path) -> None:
    """Let the server itself judge its configuration: `caddy validate`, `nginx -t`."""
    if kind == "caddy":
        judge = [command[0], "validate", *command[2:]]
    else:
        judge = [command[0], "-t", *command[1:]]
    done = subprocess.run(
        judge, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def caddy_command(
    folder: Path,
    port: int,
    plain_port: int,
    stubs: Stubs,
    limits: Limits,
    rates: Rates,
    allow_tls_12: bool,
) -> list[str]:
    """Write the Caddyfile and return what runs it."""
    beside = Path(sysconfig.get_path("scripts")) / "caddy"
    caddy = str(beside) if beside.exists() else shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not installed")
    file = folder / "Caddyfile"
    file.write_text(
        caddy_config.render(
            listen=str(port),
            listen_plain=str(plain_port),
            upstream=stubs.upstream,
            routes=with_logins(ROUTES),
            limits=limits,
        )
    )
    return [caddy, "run", "--adapter", "caddyfile", "--config", str(file)]


def nginx_command(
    folder: Path,
    port: int,
    plain_port: int,
    stubs: Stubs,
    limits: Limits,
    rates: Rates,
    allow_tls_12: bool,
) -> list[str]:
    """Write nginx.conf and the file of settings; return what runs it."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    shutil.copy(folder / files.LEAF, folder / "tls.crt")
    shutil.copy(folder / files.LEAF_KEY, folder / "tls.key")
    (folder / "gateway.conf").write_text(
        nginx_config.settings(
            names=names.of_this_machine(),
            https_port=port,
            allow_tls_12=allow_tls_12,
            rates=rates,
        )
    )
    file = folder / "nginx.conf"
    file.write_text(
        nginx_config.render(
            listen=f"127.0.0.1:{port} ssl",
            listen_plain=f"127.0.0.1:{plain_port}",
            resolver="127.0.0.1",
            upstream=stubs.upstream,
            directory=str(folder),
            secrets=str(folder),
            routes=with_logins(ROUTES),
            limits=limits,
        )
    )
    # Workers of a root-started nginx run as `nobody`, who cannot enter pytest's directories.
    user = "user root;" if folder.owner() == "root" else ""
    return [nginx, "-c", str(file), "-g", f"daemon off; {user}", "-p", str(folder)]


def until_answering(client: httpx.Client, log: Path) -> None:
    """Wait until it is up."""
    for _ in range(100):
        try:
            client.get("/health")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the gateway did not come up:\n{log.read_text()}")


def assert_problem(response: httpx.Response, status: int) -> None:
    """Check that this is the gateway's own refusal."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["correlation_id"] == response.headers["x-correlation-id"] != ""
