"""What happens around every request: correlation id, size limit, figures."""

from __future__ import annotations

import time
import uuid

from prometheus_client import Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import correlation_id_var
from libs.common.runtime.metrics import HTTP_DURATION, HTTP_REQUESTS
from libs.common.runtime.problems import internal_problem, problem
from libs.common.runtime.recording import CallRecorder

HEADER = "X-Correlation-ID"
_HEADER = HEADER.lower().encode()
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class BodyTooLargeError(HTTPException):
    """More body arrived than is allowed."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(413, f"The body is larger than {bytes_max} bytes.")


class RequestFrame:
    """Pure ASGI middleware: takes or makes the correlation id, bounds the body, counts, records."""

    def __init__(
        self, app: ASGIApp, *, ids: IdSource, calls: CallRecorder, body_bytes_max: int
    ) -> None:
        self._app = app
        self._ids = ids
        self._calls = calls
        self._body_bytes_max = body_bytes_max
        self._figures: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given, length = _read_headers(scope)
        correlation_id = _read_uuid(given) if given else self._ids.new()
        known_as = correlation_id or self._ids.new()
        token = correlation_id_var.set(known_as)
        started = time.perf_counter()
        status = 500
        answering = False

        async def counted_send(message: Message) -> None:
            nonlocal status, answering
            if message["type"] == "http.response.start":
                status = message["status"]
                answering = True
                told = str(correlation_id_var.get()).encode("ascii")
                message["headers"] = [*message["headers"], (_HEADER, told)]
            await send(message)

        received = 0

        async def bounded_receive() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._body_bytes_max:
                    raise BodyTooLargeError(self._body_bytes_max)
            return message

        try:
            refusal = self._refusal(scope, length, given, correlation_id)
            if refusal is not None:
                await refusal(scope, receive, counted_send)
            else:
                try:
                    await self._app(scope, bounded_receive, counted_send)
                except Exception as error:
                    # The edge: a bug is logged once, with its correlation id, and told no more.
                    if answering:
                        raise
                    failure = internal_problem(scope["path"], error)
                    await failure(scope, receive, counted_send)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            seconds = time.perf_counter() - started
            self._count(scope["method"], route, status, seconds)
            self._calls.note(scope, route, status, seconds, known_as)
            correlation_id_var.reset(token)

    def _count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; finding a figure by its labels costs more than the figure."""
        figures = self._figures.get((method, route, status))
        if figures is None:
            requests = HTTP_REQUESTS.labels(method, route, status)
            figures = requests, HTTP_DURATION.labels(method, route)
            if method in _METHODS:
                self._figures[method, route, status] = figures
        figures[0].inc()
        figures[1].observe(seconds)

    def _refusal(
        self, scope: Scope, length: str, given: str | None, correlation_id: uuid.UUID | None
    ) -> ASGIApp | None:
        path: str = scope["path"]
        if given and correlation_id is None:
            return problem(400, f"{HEADER}: not a UUID", code="invalid-input", instance=path)
        if b"%00" in scope["query_string"] or "\0" in path:
            # No text of ours holds one, and PostgreSQL takes none.
            return problem(400, "The address holds a NUL.", code="invalid-input", instance=path)
        if not length.isdigit():
            return problem(400, "Content-Length: not a number", instance=path)
        if int(length) > self._body_bytes_max:
            return self._too_large(scope)
        return None

    def _too_large(self, scope: Scope) -> ASGIApp:
        return problem(
            413,
            f"The body is larger than {self._body_bytes_max} bytes.",
            code="body-too-large",
            instance=scope["path"],
        )


def _read_headers(scope: Scope) -> tuple[str | None, str]:
    """Return the correlation id that was sent, if any, and the content length."""
    given, length = None, "0"
    for name, value in scope["headers"]:
        if name == _HEADER:
            given = given or value.decode("latin-1")
        elif name == b"content-length":
            length = value.decode("latin-1")
    return given, length


def _read_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
