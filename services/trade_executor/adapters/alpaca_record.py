"""Taking down what is asked of Alpaca about an order, and what it answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from libs.common.kernel.clock import Clock
from services.trade_executor.adapters.alpaca_http import ANSWER_BYTES_MAX, TimeoutAdapter
from services.trade_executor.adapters.http_line import Reply
from services.trade_executor.wire_log import WireMessage

_ABOUT_AN_ORDER: Final = ("/orders/", "/orders:by_client_order_id")


class Recorder:
    """Notes what was sent and what came back. Headers, and with them the keys, are never noted."""

    def __init__(self, clock: Clock, note: Callable[[WireMessage], None]) -> None:
        self._clock = clock
        self._note = note

    async def taken_down(
        self, request: Awaitable[None], method: str, path: str, body: bytes | None, reply: Reply
    ) -> None:
        """Await a request of the line and note it."""
        at_ns, started = self._clock.now_ns(), time.perf_counter()
        error: str | None = None
        try:
            await request
        except BaseException as failure:
            error = repr(failure)
            raise
        finally:
            self.note(
                at_ns, started, method, path,
                status=reply.status or None, sent=body,
                received=reply.body if reply.status else None, error=error,
            )  # fmt: skip

    def note(
        self,
        at_ns: int,
        started: float,
        method: str | None,
        path: str,
        *,
        status: int | None,
        sent: bytes | None,
        received: bytes | None,
        error: str | None,
    ) -> None:
        """Note one request; `started` is the performance counter then."""
        took_us = round((time.perf_counter() - started) * 1e6)
        self._note(WireMessage(at_ns, method, path, status, sent, received, error, took_us))

    def now(self) -> tuple[int, float]:
        """Return wall time in ns and the performance counter."""
        return self._clock.now_ns(), time.perf_counter()


class RecordingAdapter(TimeoutAdapter):
    """Notes every request of the library's that changes something and every look at one order.

    Lists, balances and activities are left out: they are asked for every few seconds, and what
    they lead to is on record as a reconciliation.
    """

    def __init__(
        self,
        timeout_s: float,
        connections: int,
        *,
        recorder: Recorder,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        super().__init__(timeout_s, connections, bytes_max=bytes_max)
        self._recorder = recorder

    def send(self, request: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send one request, once; called in a thread of the pool."""
        address = urlsplit(request.url)
        if request.method == "GET" and not any(part in address.path for part in _ABOUT_AN_ORDER):
            return super().send(request, **options)
        at_ns, started = self._recorder.now()
        response: requests.Response | None = None
        error: str | None = None
        try:
            response = super().send(request, **options)
        except requests.RequestException as failure:
            error = repr(failure)
            raise
        finally:
            sent = request.body
            self._recorder.note(
                at_ns,
                started,
                request.method,
                f"{address.path}?{address.query}" if address.query else address.path,
                status=response.status_code if response is not None else None,
                sent=sent.encode() if isinstance(sent, str) else sent,
                received=response.content if response is not None else None,
                error=error,
            )
        return response
