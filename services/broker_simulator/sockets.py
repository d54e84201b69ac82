"""One WebSocket client: an outgoing buffer with a limit, and a task that empties it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from services.broker_simulator.garbled_answers import abort


class Client:
    """Buffers what is sent to one WebSocket; a client that does not keep up is cut off.

    `pack` turns the buffered messages into frames. `overflow`, where given, is the last frame that
    a slow client gets. `text` chooses the kind of frame; None follows the client's own.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        buffer_bytes: int,
        pack: Callable[[list[bytes]], list[bytes]],
        overflow: bytes | None = None,
        text: bool | None = None,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._buffer_bytes = buffer_bytes
        self._pack = pack
        self._overflow = overflow
        self._messages: list[bytes] = []
        self._size = 0
        self._wake = asyncio.Event()
        self.text = bool(text)
        self._follow_client = text is None
        self.closed = False

    def push(self, message: bytes) -> None:
        """Queue one message; it leaves with the next `flush`."""
        if self.closed:
            return
        self._messages.append(message)
        # A message of any size may leave: it is a queue that grows that is cut off.
        self._size += min(len(message), self._buffer_bytes // 16)
        if self._size > self._buffer_bytes:
            self._messages = [] if self._overflow is None else [self._overflow]
            self._size = 0
            self.closed = True
            self._wake.set()

    def flush(self) -> None:
        """Let what was queued leave."""
        if self._messages:
            self._wake.set()

    async def receive(self) -> bytes | None:
        """Return the next message of the client, None when it is gone."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            return None
        text = message.get("text")
        if text is not None:
            self.text = self.text or self._follow_client
            encoded: bytes = text.encode()
            return encoded
        data: bytes = message.get("bytes") or b""
        return data

    async def accept(self) -> None:
        """Complete the handshake."""
        await self._receive()
        await self._send({"type": "websocket.accept"})

    async def run_sender(self) -> None:
        """Send what is queued until the client is gone or cut off."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._messages, self._size = self._messages, [], 0
            for frame in self._pack(batch):
                await self._send(self._frame(frame))
            if self.closed:
                await self._send({"type": "websocket.close", "code": 1008})
                return

    def drop(self) -> None:
        """Cut the connection without a close frame."""
        self.closed = True
        abort(self._scope)

    def _frame(self, payload: bytes) -> dict[str, object]:
        if self.text:
            try:
                return {"type": "websocket.send", "text": payload.decode()}
            except UnicodeDecodeError:
                pass  # a garbled frame that is no text
        return {"type": "websocket.send", "bytes": payload}
