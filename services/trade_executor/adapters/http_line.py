"""HTTP/1.1 for requests that are sent once and waited for: connections that stay open, written to
and read from by the event loop itself.

Every request ends: when the server has been silent for too long, when its answer takes too long as
a whole, or when it is larger than any answer can be. Nothing is ever repeated here.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import SplitResult, urlsplit

import httptools
from certifi import where

from libs.common.kernel.errors import TradewindError

_CONNECT_S_MAX: Final = 2.0
_HEAD_BYTES_MAX: Final = 64 * 1024


class ConnectError(TradewindError):
    """There is no connection; the request never left."""


class BrokenError(TradewindError):
    """The request left, and no answer began."""


class BrokenAnswerError(TradewindError):
    """An answer began that has no end, or is too long."""


@dataclass(slots=True)
class Reply:
    """An answer, or the part of it that came: `status` 0 before its head was complete."""

    status: int = 0
    body: bytes = b""
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class LineLimits:
    """Seconds between two pieces of an answer, seconds for a request as a whole, bytes of an
    answer."""

    silence_s: float
    whole_s: float
    bytes_max: int


class HttpLine:
    """Connections to one server; the one that was used last is used next.

    How many there are is bounded by whoever sends.
    """

    def __init__(self, url: str, headers: Mapping[str, str], limits: LineLimits) -> None:
        self._parts: SplitResult = urlsplit(url.rstrip("/"))
        self._limits = limits
        self._tls = self._parts.scheme == "https"
        lines = [f"Host: {self._parts.netloc.rpartition('@')[2]}", "Accept-Encoding: identity"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        self._idle: list[_Connection] = []
        self._context: ssl.SSLContext | None = None

    @property
    def path(self) -> str:
        """What the paths of all requests begin with."""
        return self._parts.path

    async def request(self, method: str, path: str, body: bytes | None, reply: Reply) -> None:
        """Send one request, once; fill `reply` with the answer, or with what came of it.

        Raises ConnectError, BrokenError or BrokenAnswerError.
        """
        connection = self._warm() or await self._connect()
        target = self._parts.path + path
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        kind = "" if body is None else "Content-Type: application/json\r\n"
        start = f"{method} {target} HTTP/1.1\r\n{length}{kind}".encode("ascii")
        await connection.ask(start + self._head + b"\r\n" + (body or b""), reply)
        if not connection.closed:
            self._idle.append(connection)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while (connection := self._warm()) is not None:
            connection.close()

    def _warm(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def _connect(self) -> _Connection:
        limits = self._limits
        if self._tls and self._context is None:
            self._context = ssl.create_default_context(cafile=where())
        made: Callable[[], _Connection] = lambda: _Connection(limits)  # noqa: E731
        port = self._parts.port or (443 if self._tls else 80)
        try:
            async with asyncio.timeout(min(_CONNECT_S_MAX, limits.silence_s, limits.whole_s)):
                loop = asyncio.get_running_loop()
                return (
                    await loop.create_connection(
                        made, self._parts.hostname or "localhost", port, ssl=self._context
                    )
                )[1]
        except (OSError, TimeoutError) as error:
            raise ConnectError(str(error) or "no answer in time") from error


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, limits: LineLimits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._reply = Reply()
        self._body = bytearray()
        self._received = 0
        self._sized = False  # the head says where the body ends
        self._heard_at = 0.0
        self._waiting: asyncio.Future[None] | None = None
        self._silence: asyncio.TimerHandle | None = None
        self.closed = False

    async def ask(self, request: bytes, reply: Reply) -> None:
        """Send and wait; the caller closes nothing."""
        assert self._transport is not None
        assert self._waiting is None
        self._parser = httptools.HttpResponseParser(self)
        self._reply, self._body, self._received, self._sized = reply, bytearray(), 0, False
        self._waiting = self._loop.create_future()
        self._heard_at = self._loop.time()
        whole = self._loop.call_later(
            self._limits.whole_s, self._fail, "the answer did not end in time", True
        )
        self._listen()
        try:
            self._transport.write(request)
            await self._waiting
        except BaseException:
            self.close()
            raise
        finally:
            reply.body = bytes(self._body)
            self._waiting = self._parser = None
            whole.cancel()
            if self._silence is not None:
                self._silence.cancel()

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def _listen(self) -> None:
        quiet_s = self._loop.time() - self._heard_at
        if quiet_s >= self._limits.silence_s:
            self._fail("no answer in time", False)
            return
        self._silence = self._loop.call_later(self._limits.silence_s - quiet_s, self._listen)

    def _fail(self, why: str, answer: bool) -> None:
        """End the request: without an answer, or with a broken one where one began."""
        self.closed = True
        if self._waiting is not None and not self._waiting.done():
            began = answer or self._reply.status
            self._waiting.set_exception(BrokenAnswerError(why) if began else BrokenError(why))
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        # A cast: uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read a piece of the answer."""
        if self._parser is None or self._waiting is None or self._waiting.done():
            self.close()  # nothing was asked
            return
        self._heard_at = self._loop.time()
        self._received += len(data)
        if self._received > self._limits.bytes_max + _HEAD_BYTES_MAX:
            self._fail(f"the answer has more than {self._limits.bytes_max} bytes", True)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"no HTTP: {error}", False)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits; an answer without a length ends here."""
        if self._reply.status and not self._sized and error is None:
            self.closed = True
            self.on_message_complete()
            return
        self._fail(f"connection broke: {error or 'closed by the server'}", False)

    # What the parser calls ----------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the headers that matter."""
        lower = name.lower()
        if lower in (b"content-length", b"transfer-encoding"):
            self._sized = True
        elif lower == b"retry-after":
            self._reply.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note the status."""
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status >= 200:
            self._reply.status = status

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body."""
        self._body += piece

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if not self._reply.status:
            return  # "100 Continue": the answer is still to come
        if self._parser is not None and not self._parser.should_keep_alive():
            self.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
