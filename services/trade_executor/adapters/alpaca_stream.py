"""Alpaca's order stream, by a thin client of our own.

The library's TradingStream ends its task on an unknown word and hides a dead socket for minutes.
This client speaks the same protocol (authenticate, listen, `trade_updates`; text or binary
frames), reads what it can, reports what it cannot, and reconnects for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, WebSocketException
from websockets.frames import CloseCode

from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.runtime.logging import get_logger
from libs.common.runtime.resilience import pauses
from services.trade_executor.adapters.alpaca_words import update_from
from services.trade_executor.metrics import STREAM_CONNECTS, STREAM_UNREADABLE
from services.trade_executor.ports import Gap, StreamItem

_log = get_logger(__name__)

_FRAME_BYTES_MAX = 4 * 1024 * 1024


class StreamRefusedError(UnavailableError):
    """The broker's stream does not take our key, or does not speak as expected."""


class AlpacaStream:
    """Yields updates; reports through `report` why there are none, None when all is well, and
    hands every frame to `heard` as it came, and what cannot be read to `unreadable`, too."""

    def __init__(
        self,
        url: str,
        key: str,
        secret: str,
        *,
        ping_s: float,
        reconnect_s_max: float,
        timeout_s: float,
        report: Callable[[str | None], None],
        heard: Callable[[bytes], None] = lambda _: None,
        unreadable: Callable[[str, bytes], None] = lambda *_: None,
    ) -> None:
        self._url = url
        self._key = key
        self._secret = secret
        self._ping_s = ping_s
        self._reconnect_s_max = reconnect_s_max
        self._timeout_s = timeout_s
        self._report = report
        self._heard = heard
        self._unreadable = unreadable
        self._socket: ClientConnection | None = None
        self._distrusted = False

    def distrust(self) -> None:
        """Give the present connection up; the next begins with a gap."""
        self._distrusted = True
        if self._socket is not None:
            self._socket.transport.abort()

    async def items(self) -> AsyncIterator[StreamItem]:
        """Yield for ever: a gap after every connection, then updates as they come."""
        while True:
            async for _ in pauses(0.1, self._reconnect_s_max):
                try:
                    async with connect(
                        self._url,
                        open_timeout=self._timeout_s,
                        ping_interval=self._ping_s,
                        ping_timeout=self._ping_s,
                        close_timeout=1,
                        max_size=_FRAME_BYTES_MAX,
                        compression=None,
                        proxy=None,
                    ) as socket:
                        async with asyncio.timeout(self._timeout_s):
                            await self._introduce(socket)
                        self._socket, self._distrusted = socket, False
                        STREAM_CONNECTS.inc()
                        self._report(None)
                        yield Gap("connected")
                        async for frame in socket:
                            self._heard(frame.encode() if isinstance(frame, str) else frame)
                            for item in self._read(frame):
                                yield item
                    self._report("the broker's stream was closed")
                    break  # it had been there: begin with the shortest pause
                except (WebSocketException, OSError, TimeoutError, StreamRefusedError) as error:
                    why = "given up: mute" if self._distrusted else str(error) or repr(error)
                    if isinstance(error, ConnectionClosedError) and _is_too_long(error):
                        self._put_aside("a frame is too long", b"")
                    self._report(f"the broker's stream: {why}")
                    _log.warning("stream_broken", error=why)
                    if self._socket is not None:
                        break
                finally:
                    self._socket = None

    async def _introduce(self, socket: ClientConnection) -> None:
        """Authenticate and listen. Raises StreamRefusedError."""
        credentials = {"key_id": self._key, "secret_key": self._secret}
        await socket.send(_encoded({"action": "authenticate", "data": credentials}))
        answer = _decoded(await socket.recv())
        data = answer.get("data")
        status = data.get("status") if isinstance(data, dict) else None
        if status != "authorized":
            raise StreamRefusedError(f"not authorised: {ascii(status or answer)[:200]}")
        await socket.send(_encoded({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        while _decoded(await socket.recv()).get("stream") != "listening":
            pass

    def _read(self, frame: str | bytes) -> list[StreamItem]:
        try:
            message = _decoded(frame)
            if message.get("stream") != "trade_updates":
                return []
            return [update_from(message.get("data"))]
        except (StreamRefusedError, InvalidInputError) as error:
            self._put_aside(str(error), frame.encode() if isinstance(frame, str) else frame)
            return [Gap(f"unreadable frame: {error}")]

    def _put_aside(self, reason: str, frame: bytes) -> None:
        STREAM_UNREADABLE.inc()
        self._unreadable(reason, frame)


def _is_too_long(error: ConnectionClosedError) -> bool:
    return error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG


def _encoded(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()


def _decoded(frame: str | bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(frame, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StreamRefusedError(f"not a JSON object: {ascii(str(error))[:200]}") from error
