"""One HTTP request, bounded: in the time of each read, in its whole time, and in its size.

The library reads answers without end and without limit. A time-out per read does not stop an
answer that sends a byte now and then, so each request is an `Exchange` that another thread can
sever: its socket is shut down, wherever the reading stands (headers, body, TLS).
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
_PIECE: Final = 64 * 1024
_CONNECT_S_MAX: Final = 2.0
_here = threading.local()


class AnswerTooLongError(requests.RequestException):
    """The answer has more bytes than any answer of the broker can have."""


class Exchange:
    """A request under way in one thread, to be severed from another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.severed = False
        self.status: int | None = None
        self.body: bytes | None = None

    def __enter__(self) -> Exchange:
        _here.exchange = self
        return self

    def __exit__(self, *_: object) -> None:
        _here.exchange = None
        self.watch(None)

    def watch(self, connection: socket.socket | None) -> None:
        """Note the socket that the answer comes by, None once it is not ours any more."""
        with self._lock:
            self._socket = connection
            if self.severed and connection is not None:
                self._cut(connection)

    def sever(self) -> None:
        """End it now; whoever reads gets an error."""
        with self._lock:
            self.severed = True
            if self._socket is not None:
                self._cut(self._socket)

    def _cut(self, connection: socket.socket) -> None:
        # Below TLS: an orderly end of that would wait for the other side.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Severable(HTTPConnection):
    def getresponse(self) -> Any:
        exchange: Exchange | None = getattr(_here, "exchange", None)
        if exchange is not None:
            exchange.watch(self.sock)
        return super().getresponse()


class _SeverableTls(HTTPSConnection):
    def getresponse(self) -> Any:
        exchange: Exchange | None = getattr(_here, "exchange", None)
        if exchange is not None:
            exchange.watch(self.sock)
        return super().getresponse()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Severable


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _SeverableTls


class TimeoutAdapter(HTTPAdapter):
    """Puts a time-out and a size on every request, and never repeats any."""

    def __init__(
        self, timeout_s: float, connections: int, *, bytes_max: int = ANSWER_BYTES_MAX
    ) -> None:
        self._timeout_s = timeout_s
        self._bytes_max = bytes_max
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def send(self, request: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send one request, once, and read its answer. Raises AnswerTooLongError."""
        if options.get("timeout") is None:
            options["timeout"] = (min(_CONNECT_S_MAX, self._timeout_s), self._timeout_s)
        response = super().send(request, **options)
        response.encoding = "utf-8"  # else the library guesses, for seconds where it is rubbish
        exchange: Exchange | None = getattr(_here, "exchange", None)
        body = bytearray()
        try:
            for piece in response.iter_content(_PIECE):
                body += piece
                if len(body) > self._bytes_max:
                    response.close()
                    raise AnswerTooLongError(f"the answer has more than {self._bytes_max} bytes")
        finally:
            if exchange is not None:
                exchange.watch(None)
                exchange.status, exchange.body = response.status_code, bytes(body)
        response._content = bytes(body)
        return response
