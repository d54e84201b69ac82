"""How much of everything: sizes, streams, rates, requests at once."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from infra.gateway_policy import Limits, Rates
from tests.support.gateways import (
    STREAM_PAUSE_S,
    STREAM_PIECES,
    Gateway,
    Stubs,
    assert_problem,
    running_gateway,
)


def test_a_header_as_large_as_allowed_passes(served: Gateway) -> None:
    value = "x" * (served.limits.header_bytes - 2000)
    seen = served.client.get("/api/v1/risk/state", headers={"X-Large": value}).json()
    assert seen["headers"]["x-large"] == value


def test_a_long_query_passes(served: Gateway) -> None:
    symbols = ",".join(["AAAA"] * 1600)  # 8000 characters, what the longest list of symbols takes
    answer = served.client.get(f"/api/v1/market/quotes/latest?symbols={symbols}")
    assert answer.json()["path"].endswith(symbols)


@pytest.mark.parametrize("count", [1, 60])
def test_a_header_too_large_is_refused(served: Gateway, count: int) -> None:
    before = len(served.stubs.seen)
    size = 3 * served.limits.header_bytes // count
    lines = b"".join(b"X-%d: %b\r\n" % (number, b"x" * size) for number in range(count))
    assert served.ask(b"/api/v1/risk/state", extra=lines).status == 431
    assert len(served.stubs.seen) == before


def test_a_path_too_long_is_refused(served: Gateway) -> None:
    before = len(served.stubs.seen)
    answer = served.ask(b"/api/v1/risk/" + b"x" * 3 * served.limits.header_bytes)
    assert answer.status in (414, 431)
    assert len(served.stubs.seen) == before


def test_a_login_may_bring_little(served: Gateway) -> None:
    most = served.limits.login_body_bytes
    assert served.client.post("/api/v1/risk/login", content=b"x" * most).json()["length"] == most
    assert_problem(served.client.post("/api/v1/risk/login", content=b"x" * (most + 1)), 413)
    chunks = (b"x" * 4096 for _ in range(8))
    assert_problem(served.client.post("/api/v1/risk/login", content=chunks), 413)


def test_a_stream_flows_piece_by_piece_for_longer_than_a_body_may_take(served: Gateway) -> None:
    times = []
    with served.client.stream("GET", "/api/v1/backtests/1/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        times = [time.monotonic() for _ in answer.iter_raw()]
    assert len(times) == STREAM_PIECES
    assert times[-1] - times[0] > (STREAM_PIECES - 2) * STREAM_PAUSE_S
    assert served.limits.body_s_total < STREAM_PIECES * STREAM_PAUSE_S


UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef") + b"\r\n"
)


def test_a_web_socket_passes_where_a_route_streams(served: Gateway) -> None:
    with served.connect() as connection:
        connection.sendall(
            b"GET /api/v1/backtests/1/events HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % UPGRADE
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        connection.sendall(b"hello")
        got = b""
        while len(got) < 5:
            got += connection.recv(5)
        assert got == b"hello"


def test_no_upgrade_passes_elsewhere(served: Gateway) -> None:
    answer = served.client.get(
        "/api/v1/risk/state",
        headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
    )
    assert answer.status_code == 200
    assert "upgrade" not in answer.json()["headers"]


def test_an_upgrade_to_something_else_passes_nowhere(served: Gateway) -> None:
    with served.client.stream(
        "GET", "/api/v1/backtests/1/events", headers={"Upgrade": "h2c", "Connection": "Upgrade"}
    ) as answer:
        assert answer.status_code in (200, 400, 403, 502)


@pytest.fixture(scope="module")
def strict(stubs: Stubs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Nginx with rates that a test reaches at once."""
    limits = Limits(requests_burst=20, caller_requests_burst=5, logins_burst=2, at_once=4)
    rates = Rates(requests_per_second=10, caller_requests_per_second=1, logins_per_minute=6)
    folder = tmp_path_factory.mktemp("strict")
    with running_gateway("nginx", folder, stubs, limits=limits, rates=rates) as gateway:
        yield gateway


@contextmanager
def from_address(strict: Gateway, address: str) -> Iterator[httpx.Client]:
    """Ask from an address of its own: each test meets a rate that nobody else has used."""
    transport = httpx.HTTPTransport(verify=strict.context, local_address=address)
    with httpx.Client(base_url=strict.url, transport=transport, timeout=10) as client:
        yield client


def refused(answers: list[httpx.Response]) -> list[httpx.Response]:
    return [answer for answer in answers if answer.status_code != 200]


def test_a_login_more_is_a_429(strict: Gateway) -> None:
    with from_address(strict, "127.0.0.11") as client:
        answers = [client.post("/api/v1/risk/login") for _ in range(6)]
        assert [answer.status_code for answer in answers[:3]] == [200] * 3
        for answer in answers[3:]:
            assert_problem(answer, 429)
            assert answer.headers["retry-after"] == "1"
        assert client.get("/api/v1/risk/state").status_code == 200


def test_one_token_has_its_own_rate_wherever_it_comes_from(strict: Gateway) -> None:
    def ask(client: httpx.Client, token: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer header.payload.{token * 43}"}
        return client.get("/api/v1/risk/state", headers=sent)

    with from_address(strict, "127.0.0.12") as one, from_address(strict, "127.0.0.13") as other:
        first = [ask(one, "a") for _ in range(8)]
        assert 1 <= len(refused(first)) <= 2
        assert_problem(refused(first)[0], 429)
        assert ask(other, "a").status_code == 429
        assert ask(one, "b").status_code == 200


def test_one_address_has_a_rate(strict: Gateway) -> None:
    with from_address(strict, "127.0.0.14") as one, from_address(strict, "127.0.0.15") as other:
        answers = [one.get("/api/v1/risk/state") for _ in range(60)]
        assert 10 <= len(refused(answers)) <= 39
        for answer in refused(answers):
            assert_problem(answer, 429)
        assert other.get("/api/v1/risk/state").status_code == 200


def test_one_address_may_ask_only_so_much_at_once(strict: Gateway) -> None:
    statuses: list[int] = []

    def ask() -> None:
        with from_address(strict, "127.0.0.16") as client:
            statuses.append(client.get("/api/v1/risk/slow").status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    assert sorted(statuses) == [200] * 4 + [429] * 4


def test_folder_holds_what_the_server_wrote(strict: Gateway) -> None:
    assert Path(strict.folder, "nginx.pid").exists()
