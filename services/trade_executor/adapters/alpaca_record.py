"""Taking down what is asked of Alpaca about an order, and what it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from libs.common.kernel.clock import Clock
from services.trade_executor.adapters.alpaca_http import ANSWER_BYTES_MAX, TimeoutAdapter
from services.trade_executor.wire_log import WireMessage

_ABOUT_AN_ORDER: Final = ("/orders/", "/orders:by_client_order_id")


class RecordingAdapter(TimeoutAdapter):
    """Notes every request that changes something and every look at one order.

    Lists, balances and activities are left out: they are asked for every few seconds, and what
    they lead to is on record as a reconciliation. Headers, and with them the keys, are never noted.
    """

    def __init__(
        self,
        timeout_s: float,
        connections: int,
        *,
        clock: Clock,
        note: Callable[[WireMessage], None],
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        super().__init__(timeout_s, connections, bytes_max=bytes_max)
        self._clock = clock
        self._note = note

    def send(self, request: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send one request, once; called in a thread of the pool."""
        address = urlsplit(request.url)
        if request.method == "GET" and not any(part in address.path for part in _ABOUT_AN_ORDER):
            return super().send(request, **options)
        at_ns, started = self._clock.now_ns(), time.perf_counter()
        response: requests.Response | None = None
        received: bytes | None = None
        error: str | None = None
        try:
            response = super().send(request, **options)
            received = response.content
        except requests.RequestException as failure:
            error = repr(failure)
            raise
        finally:
            sent = request.body
            self._note(
                WireMessage(
                    at_ns=at_ns,
                    method=request.method,
                    path=f"{address.path}?{address.query}" if address.query else address.path,
                    status=response.status_code if response is not None else None,
                    sent=sent.encode() if isinstance(sent, str) else sent,
                    received=received,
                    error=error,
                    took_us=round((time.perf_counter() - started) * 1e6),
                )
            )
        return response
