"""The HTTP server: uvicorn, with connections that can be dropped and a port that can refuse."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from libs.common.runtime.logging import get_logger
from services.broker_simulator.garbled_answers import TRANSPORT

_log = get_logger(__name__)


class DroppableHttp(HttpToolsProtocol):
    """Lets the application cut the connection without an answer."""

    def on_message_begin(self) -> None:
        """Begin a request; its scope carries the transport."""
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]


class DroppableWebSocket(WebSocketsSansIOProtocol):
    """Lets the application cut the connection without a close frame."""

    def handle_connect(self, event: Any) -> None:
        """Begin a conversation; its scope carries the transport."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]


class SimulatorServer(uvicorn.Server):
    """Serves on one listening socket, and can refuse connections for a while."""

    def __init__(self, app: Any, listener: socket.socket, shutdown_timeout_s: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                loop="uvloop",
                http=DroppableHttp,
                ws=DroppableWebSocket,
                ws_per_message_deflate=False,
                ws_max_size=16 * 1024 * 1024,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=max(round(shutdown_timeout_s), 1),
                lifespan="on",
            )
        )
        self._listener = listener
        self._address = listener.getsockname()[:2]
        self._family = listener.family
        self._refusing: asyncio.Task[None] | None = None

    def refuse(self, seconds: float) -> None:
        """Close the port and every connection; listen again after `seconds`."""
        if self._refusing is None or self._refusing.done():
            self._refusing = asyncio.create_task(self._refuse(seconds), name="refuse")

    async def _refuse(self, seconds: float) -> None:
        await asyncio.sleep(0.05)  # the answer to the request that asked for it still leaves
        for server in self.servers:
            server.close()
        self.servers = []
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await asyncio.sleep(seconds)
        listener = bind(*self._address, family=self._family)

        def protocol() -> asyncio.Protocol:
            return DroppableHttp(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
            )

        loop = asyncio.get_running_loop()
        self.servers = [await loop.create_server(protocol, sock=listener, backlog=1024)]
        _log.info("listening_again", port=self._address[1])


def bind(host: str, port: int, *, family: int | None = None) -> socket.socket:
    """Return a bound socket. Raises OSError."""
    kind = family or (socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener = socket.socket(kind, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def bind_or_exit(name: str, host: str, port: int) -> socket.socket:
    """Return a bound socket, or end the process saying why there is none."""
    try:
        return bind(host, port)
    except OSError as error:
        reason = error.strerror or error
        print(f"{name}: cannot listen on {host}:{port}: {reason}", file=sys.stderr)  # noqa: T201
        sys.exit(3)
