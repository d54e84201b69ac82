"""The head and the body of an answer leave in one packet.

uvicorn writes the head, then the body, and each write is a call into the kernel which wakes the
reader: for a small answer the second costs about as much as finding the answer.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class JoinedTransport:
    """A transport that holds back a first write until the second, or until the event loop has
    turned; all else is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.bare = transport
        self.is_closing = transport.is_closing
        self._loop = loop
        self._held: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        """Return what the transport has under `name`."""
        return getattr(self.bare, name)

    def write(self, data: bytes) -> None:
        """Send `data` after what is held, or hold it."""
        if self._held is None:
            self._held = data
            self._loop.call_soon(self.flush)
        else:
            held, self._held = self._held, None
            self.bare.write(held + data)

    def flush(self) -> None:
        """Send what is held."""
        if self._held is not None:
            held, self._held = self._held, None
            self.bare.write(held)

    def close(self) -> None:
        """Send what is held, then close."""
        self.flush()
        self.bare.close()


class JoiningProtocol(HttpToolsProtocol):
    """uvicorn's own, on a transport that joins."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a connection."""
        joined = JoinedTransport(transport, asyncio.get_running_loop())
        super().connection_made(cast(asyncio.Transport, joined))

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to a socket, bare."""
        joined = cast(JoinedTransport, self.transport)
        joined.flush()
        self.transport = joined.bare
        super().handle_websocket_upgrade()
