"""Real Caddy and real Nginx in front of stub services: both must behave the same."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from infra import caddy_config, nginx_config
from infra.routes import BODY_BYTES_MAX, ROUTES, Route

DEAD_AREA = "audit"


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked; `?status=` chooses the status."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            length = self._skip_chunks()
        else:
            self.rfile.read(length)
        body = json.dumps(
            {
                "service": self.server.service,  # type: ignore[attr-defined]
                "method": self.command,
                "path": self.path,
                "length": length,
                "headers": {name.lower(): value for name, value in self.headers.items()},
            }
        ).encode()
        status = int(self.path.partition("status=")[2] or 200)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Correlation-ID", self.headers.get("X-Correlation-ID", ""))
        if status == 204:
            body = b""
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the gateway gave up on a body too large
            self.wfile.write(body)

    def _skip_chunks(self) -> int:
        total = 0
        while size := int(self.rfile.readline().strip(), 16):
            self.rfile.read(size + 2)
            total += size
        self.rfile.readline()
        return total

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Stubs:
    """One stub service a route; the service of DEAD_AREA has a port but nobody on it."""

    ports: dict[str, int]

    def upstream(self, route: Route) -> str:
        return f"127.0.0.1:{self.ports[route.area]}"


@pytest.fixture(scope="module")
def stubs() -> Iterator[Stubs]:
    servers = []
    ports = {}
    for route in ROUTES:
        if route.area == DEAD_AREA:
            ports[route.area] = free_port()
            continue
        server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        server.service = route.service  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        ports[route.area] = server.server_address[1]
    yield Stubs(ports)
    for server in servers:
        server.shutdown()
        server.server_close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture(scope="module", params=["caddy", "nginx"])
def gateway(
    request: pytest.FixtureRequest, stubs: Stubs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    directory = tmp_path_factory.mktemp("gateway")
    port = free_port()
    if request.param == "caddy":
        command = caddy_command(directory, port, stubs)
    else:
        command = nginx_command(directory, port, stubs)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={"HOME": str(directory), "PATH": "/usr/bin"}
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            until_answering(client, directory / "log")
            yield client
    finally:
        process.terminate()
        process.wait(10)


def caddy_command(directory: Path, port: int, stubs: Stubs) -> list[str]:
    beside = Path(sysconfig.get_path("scripts")) / "caddy"
    caddy = str(beside) if beside.exists() else shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not installed")
    file = directory / "Caddyfile"
    file.write_text(caddy_config.render(listen=str(port), upstream=stubs.upstream))
    return [caddy, "run", "--adapter", "caddyfile", "--config", str(file)]


def nginx_command(directory: Path, port: int, stubs: Stubs) -> list[str]:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    file = directory / "nginx.conf"
    file.write_text(
        nginx_config.render(
            listen=f"127.0.0.1:{port}",
            resolver="127.0.0.1",
            upstream=stubs.upstream,
            directory=str(directory),
        )
    )
    # Workers of a root-started nginx run as `nobody`, who cannot enter pytest's directories.
    user = "user root;" if directory.owner() == "root" else ""
    return [nginx, "-c", str(file), "-g", f"daemon off; {user}", "-p", str(directory)]


def until_answering(client: httpx.Client, log: Path) -> None:
    for _ in range(100):
        try:
            client.get("/health")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the gateway did not come up:\n{log.read_text()}")


def assert_problem(response: httpx.Response, status: int) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["correlation_id"] == response.headers["x-correlation-id"] != ""


def test_health_is_the_gateways_own(gateway: httpx.Client) -> None:
    response = gateway.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "service": "gateway"}
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.area != DEAD_AREA], ids=lambda route: route.area
)
def test_each_area_reaches_its_service(gateway: httpx.Client, route: Route) -> None:
    for path in (route.path, f"{route.path}/", f"{route.path}/a/b?x=1&y=a%20b"):
        seen = gateway.get(path).json()
        assert seen["service"] == route.service
        assert seen["path"] == path


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v1/", "/api/v1/marketplace", "/api/v2/market", "/metrics", "/ready",
     "/docs", "/sim/clock", "/v2/orders"],
)  # fmt: skip
def test_unknown_path_is_a_404_problem(gateway: httpx.Client, path: str) -> None:
    response = gateway.get(path)
    assert_problem(response, 404)
    assert response.json()["instance"] == path


def test_path_cannot_break_the_problems_json(gateway: httpx.Client) -> None:
    response = gateway.get('/x%22y"z?q=%22"')
    assert_problem(response, 404)
    assert '"' not in response.json()["instance"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_methods_and_bodies_pass(gateway: httpx.Client, method: str) -> None:
    seen = gateway.request(method, "/api/v1/orders", content=b"x" * 1000).json()
    assert (seen["method"], seen["length"]) == (method, 1000)


def test_largest_body_passes(gateway: httpx.Client) -> None:
    seen = gateway.post("/api/v1/orders", content=b"x" * BODY_BYTES_MAX).json()
    assert seen["length"] == BODY_BYTES_MAX


def test_larger_body_is_a_413_problem(gateway: httpx.Client) -> None:
    assert_problem(gateway.post("/api/v1/orders", content=b"x" * (BODY_BYTES_MAX + 1)), 413)


def test_larger_chunked_body_is_a_413_problem(gateway: httpx.Client) -> None:
    chunks = (b"x" * 65_536 for _ in range(32))
    assert_problem(gateway.post("/api/v1/orders", content=chunks), 413)


def test_absent_service_is_a_502_problem(gateway: httpx.Client) -> None:
    assert_problem(gateway.get(f"/api/v1/{DEAD_AREA}/events"), 502)


@pytest.mark.parametrize("status", [201, 204, 400, 404, 409, 413, 422, 429, 500, 502, 503, 504])
def test_a_services_own_answer_is_left_alone(gateway: httpx.Client, status: int) -> None:
    response = gateway.get(f"/api/v1/risk/x?status={status}")
    assert response.status_code == status
    if status != 204:
        assert response.json()["service"] == "risk_manager"


def test_headers_are_passed(gateway: httpx.Client) -> None:
    response = gateway.post(
        "/api/v1/orders",
        json={},
        headers={"Idempotency-Key": "k-1", "X-Correlation-ID": "c-1", "X-Forwarded-For": "9.9.9.9"},
    )
    seen = response.json()["headers"]
    assert seen["idempotency-key"] == "k-1"
    assert seen["x-correlation-id"] == "c-1"
    assert response.headers["x-correlation-id"] == "c-1"
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["host"] == f"127.0.0.1:{gateway.base_url.port}"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("given", ["", 'a"b', "a b", "x" * 129])
def test_unfit_correlation_id_is_replaced(gateway: httpx.Client, given: str) -> None:
    response = gateway.get("/api/v1/risk/state", headers={"X-Correlation-ID": given})
    made = response.json()["headers"]["x-correlation-id"]
    assert made not in ("", given)


def test_error_carries_the_callers_correlation_id(gateway: httpx.Client) -> None:
    response = gateway.get("/nowhere", headers={"X-Correlation-ID": "c-2"})
    assert_problem(response, 404)
    assert response.json()["correlation_id"] == "c-2"
