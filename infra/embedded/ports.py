"""TCP ports on the loopback interface: is it free, who has it, give me another."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from infra.embedded.errors import PortTakenError

LOOPBACK = "127.0.0.1"
GIVEN_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 12_000
ENOUGH = 4_000
TRIES = 1_000


def is_free(port: int) -> bool:
    """Tell whether nobody listens on `port` and we may."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that was free a moment ago."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that were free a moment ago.

    None of them is one that the system gives to connections going out: a part that is down for a
    second could find its port taken by a connection of its neighbour, for as long as that lasts.
    """
    first_given = _first_given()
    if first_given - LOWEST < ENOUGH:
        return _given(count)
    chance = random.SystemRandom()
    found: set[int] = set()
    for _ in range(TRIES):
        port = chance.randrange(LOWEST, first_given)
        if port not in found and is_free(port):
            found.add(port)
        if len(found) == count:
            return list(found)
    return _given(count)


def _first_given() -> int:
    """Return the lowest port that the system gives by itself, 0 where it does not say."""
    try:
        return int(GIVEN_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _given(count: int) -> list[int]:
    """Return ports that the system gives."""
    with contextlib.ExitStack() as listeners:
        ports = []
        for _ in range(count):
            listener = listeners.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.bind((LOOPBACK, 0))
            ports.append(int(listener.getsockname()[1]))
        return ports


def holder(port: int) -> str:
    """Return who listens on `port`, as `name (pid 12)`, or a phrase when it cannot be seen."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "another process"
    for connection in connections:
        listening = connection.status == psutil.CONN_LISTEN
        if listening and connection.laddr.port == port and connection.pid is not None:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                break
    return "another process"


def claim(port: int, user: str, setting: str) -> int:
    """Return `port` if it is free; raises PortTakenError naming it, who needs it and who has it."""
    if not is_free(port):
        raise PortTakenError(
            f"port {port}, which {user} needs, is taken by {holder(port)}",
            f"stop that process, or choose another port with {setting}=<port>",
        )
    return port
