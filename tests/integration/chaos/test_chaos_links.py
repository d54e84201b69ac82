"""A link in each weather, over real sockets; and a clock that jumps."""

from __future__ import annotations

import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.clocks import make_clocks
from tests.chaos.links import Links, Weather

NAME = "asker>answerer"


class Echo(socketserver.BaseRequestHandler):
    """Answers every piece with itself."""

    heard = 0

    def handle(self) -> None:
        """Serve one connection."""
        while data := self.request.recv(1000):
            Echo.heard += len(data)
            self.request.sendall(data)


@pytest.fixture
def links() -> Iterator[Links]:
    with (
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server,
        Links([("asker", "answerer")], lambda name: server.server_address[1]).running() as links,
    ):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield links
        server.shutdown()


def connected(links: Links) -> socket.socket:
    return socket.create_connection(("127.0.0.1", links.all[NAME].port), timeout=10)


def asked(connection: socket.socket) -> bytes:
    connection.sendall(b"hello")
    return connection.recv(100)


def is_gone(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionError:
        return True


def test_a_clear_link_passes_everything(links: Links) -> None:
    with connected(links) as connection:
        assert asked(connection) == b"hello"
    assert links.via == f"{NAME}={links.all[NAME].port}"


def test_a_cut_resets_what_stands_and_refuses_what_comes(links: Links) -> None:
    with connected(links) as connection:
        assert asked(connection) == b"hello"
        assert links.set(NAME, Weather.CUT) == 1
        assert is_gone(connection)
    with connected(links) as connection:
        assert is_gone(connection)
    links.set(NAME, Weather.CLEAR)
    with connected(links) as connection:
        assert asked(connection) == b"hello"


@pytest.mark.parametrize(("weather", "arrives"), [(Weather.HOLE, 0), (Weather.HALF, 5)])
def test_a_hole_swallows_both_ways_and_a_half_open_link_the_answers(
    links: Links, weather: Weather, arrives: int
) -> None:
    with connected(links) as connection:
        assert asked(connection) == b"hello"
        before = Echo.heard
        links.set(NAME, weather)
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            asked(connection)
        assert Echo.heard - before == arrives
        connection.settimeout(10)
        links.set(NAME, Weather.CLEAR)
        assert is_gone(connection)


def test_a_slow_link_delivers_late(links: Links) -> None:
    with connected(links) as connection:
        asked(connection)
        links.set(NAME, Weather.SLOW, 0.2)
        began = time.monotonic()
        assert asked(connection) == b"hello"
        assert time.monotonic() - began >= 0.4


def test_a_clock_jumps_in_the_service_on_its_port_only(tmp_path: Path) -> None:
    clocks = make_clocks(tmp_path)
    if clocks is None:
        pytest.skip("there is no C compiler to build movable clocks with")
    told = [read_clock(clocks.environment, port) for port in ("1", "2")]
    clocks.move(1, -7200)
    moved = [read_clock(clocks.environment, port) for port in ("1", "2")]
    assert abs(moved[0][0] - told[0][0] + 7200) < 60
    assert abs(moved[1][0] - told[1][0]) < 60
    assert 0 <= moved[0][1] - told[0][1] < 60, "the monotonic clock is left alone"
    clocks.move(3, 3600)
    early, told_by = read_clock(clocks.environment, "3"), read_clock({}, "3")
    assert abs(early[0] - told_by[0] - 3600) < 60, "a service that starts later has jumped, too"


def read_clock(environment: dict[str, str], port: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time(), time.monotonic())"],
        env={**os.environ, **environment, "TRADEWIND_PORT": port},
        capture_output=True,
        text=True,
        check=True,
    )
    wall, monotonic = map(float, done.stdout.split())
    return wall, monotonic
