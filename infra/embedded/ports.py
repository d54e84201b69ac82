"""TCP ports on the loopback interface: is it free, who has it, give me another."""

from __future__ import annotations

import contextlib
import socket

import psutil  # type: ignore[import-untyped]

from infra.embedded.errors import PortTakenError

LOOPBACK = "127.0.0.1"


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
    """Return `count` different ports that were free a moment ago."""
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
