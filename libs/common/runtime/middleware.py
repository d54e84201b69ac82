"""What happens around every request: correlation id, limits of size, time and number, figures."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Final, NamedTuple

from prometheus_client import Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import correlation_id_var
from libs.common.runtime.metrics import HTTP_DURATION, HTTP_REQUESTS, HTTP_THROTTLED
from libs.common.runtime.problems import internal_problem, problem
from libs.common.runtime.recording import UNMATCHED, CallRecorder
from libs.common.runtime.throttle import CALLER_BYTES, Throttle

HEADER = "X-Correlation-ID"
_HEADER = HEADER.lower().encode()
_CALLER: Final = (b"authorization", b"x-api-key")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class BodyTooLargeError(HTTPException):
    """More body arrived than is allowed."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(413, f"The body is larger than {bytes_max} bytes.")


class BodyTooSlowError(HTTPException):
    """The body did not come in time."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(408, f"The body was not there in {timeout_s:g} s.")


class Told(NamedTuple):
    """What of a request's header matters here; an address is told by the gateway alone."""

    correlation_id: str | None
    length: str
    address: int | None
    caller: int | None


class RequestFrame:
    """Pure ASGI middleware: takes or makes the correlation id, bounds the body, counts, records.

    What comes through the gateway is throttled besides; what services ask of each other is not.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        ids: IdSource,
        calls: CallRecorder,
        throttle: Throttle,
        body_bytes_max: int,
        body_timeout_s: float,
    ) -> None:
        self._app = app
        self._ids = ids
        self._calls = calls
        self._throttle = throttle
        self._body_bytes_max = body_bytes_max
        self._body_timeout_s = body_timeout_s
        self._figures: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = _read_headers(scope)
        given = told.correlation_id
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
                known = str(correlation_id_var.get()).encode("ascii")
                message["headers"] = [*message["headers"], (_HEADER, known)]
            await send(message)

        received = 0
        body_ends_at = 0.0
        whole = False

        async def bounded_receive() -> Message:
            nonlocal received, body_ends_at, whole
            if whole:
                return await receive()
            body_ends_at = body_ends_at or asyncio.get_running_loop().time() + self._body_timeout_s
            try:
                async with asyncio.timeout_at(body_ends_at):
                    message = await receive()
            except TimeoutError as error:
                raise BodyTooSlowError(self._body_timeout_s) from error
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._body_bytes_max:
                    raise BodyTooLargeError(self._body_bytes_max)
                whole = not message.get("more_body", False)
            return message

        inside = None
        try:
            refusal = self._refusal(scope, told.length, given, correlation_id)
            if refusal is None and told.address is not None:
                refusal = self._too_many(scope, told.address, told.caller)
                inside = told.address if refusal is None else None
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
            if inside is not None:
                self._throttle.leave(inside)
            route = getattr(scope.get("route"), "path", UNMATCHED)
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

    def _too_many(self, scope: Scope, address: int, caller: int | None) -> ASGIApp | None:
        found = self._throttle.enter(address, caller, time.monotonic_ns())
        if found is None:
            return None
        HTTP_THROTTLED.labels(found.of).inc()
        return problem(
            429,
            "Too many requests; wait as long as Retry-After says.",
            code="too-many-requests",
            instance=scope["path"],
            headers={"Retry-After": str(found.retry_after_s)},
        )

    def _too_large(self, scope: Scope) -> ASGIApp:
        return problem(
            413,
            f"The body is larger than {self._body_bytes_max} bytes.",
            code="body-too-large",
            instance=scope["path"],
        )


def _read_headers(scope: Scope) -> Told:
    given, length, address, caller = None, "0", None, None
    for name, value in scope["headers"]:
        if name == _HEADER:
            given = given or value.decode("latin-1")
        elif name == b"content-length":
            length = value.decode("latin-1")
        elif name == b"x-forwarded-for":
            address = hash(value)
        elif name in _CALLER:
            caller = hash(value[-CALLER_BYTES:])
    return Told(given, length, address, caller)


def _read_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
