"""The HTTP edge: a thin ASGI layer between uvicorn and the handlers.

FastAPI costs several times what these handlers do, so Alpaca's paths are dispatched by hand. The
edge is also where request faults happen, since a lost answer must be lost below any framework.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope, Send

from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.runtime.logging import get_logger
from services.broker_simulator.engine.model import Account
from services.broker_simulator.engine.refusals import BrokerRefusal, malformed
from services.broker_simulator.faults import Faults, Kind
from services.broker_simulator.garbled_answers import abort, send_garbled

_TIMED_OUT = 504
_log = get_logger(__name__)
_JSON = [(b"content-type", b"application/json; charset=UTF-8")]


@dataclass(slots=True)
class Request:
    """One request, its account known."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    account: Account
    params: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """Return the body. Raises BrokerRefusal when it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            malformed(f"request body is not JSON: {error}")
        except RecursionError:
            malformed("request body is nested too deeply")


@dataclass(slots=True)
class Answer:
    """A status and a JSON body; None is an empty one."""

    body: Any = None
    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def encode(self) -> bytes:
        """Return the bytes of the body."""
        return b"" if self.body is None else msgspec.json.encode(self.body)


Handler = Callable[[Request], Awaitable[Answer]]


class Router:
    """Finds the handler of a method and path; `{name}` in a path is a parameter."""

    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], Handler] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Handler]] = []
        self.declared: list[tuple[str, str, str]] = []

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Register `handler`."""
        self.declared.append((method, path, (handler.__doc__ or "").split("\n")[0]))
        if "{" not in path:
            self._exact[(method, path)] = handler
            return
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
        self._patterns.append((method, re.compile(f"{pattern}\\Z"), handler))

    def find(self, method: str, path: str) -> tuple[Handler, Mapping[str, str]] | None:
        """Return the handler and the path's parameters, None when nothing is there."""
        handler = self._exact.get((method, path))
        if handler is not None:
            return handler, {}
        for verb, pattern, candidate in self._patterns:
            if verb == method:
                match = pattern.match(path)
                if match is not None:
                    return candidate, match.groupdict()
        return None


class Edge:
    """Serves the router's paths; every request is authenticated and may meet a fault."""

    def __init__(
        self,
        router: Router,
        faults: Faults,
        authenticate: Callable[[Mapping[bytes, bytes]], Account],
        *,
        body_bytes_max: int,
        observe: Callable[[str, int], None],
    ) -> None:
        self._router = router
        self._faults = faults
        self._authenticate = authenticate
        self._body_bytes_max = body_bytes_max
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        method, path = scope["method"], scope["path"]
        faults = self._faults
        if faults.active and await self._before(scope, method, path, send):
            return
        try:
            body = await self._read(receive)
            answer = await self._serve(scope, method, path, body)
        except BrokerRefusal as refusal:
            answer = Answer(refusal.body(), refusal.status)
        except UnavailableError as error:
            answer = Answer({"code": 50310000, "message": str(error)}, 503)
        except InvalidInputError as error:
            answer = Answer({"code": 42210000, "message": str(error)}, 422)
        except Exception:  # noqa: BLE001 - the edge: a bug is logged once and told no more
            _log.exception("request_failed", method=method, path=path)
            answer = Answer({"code": 50010000, "message": "internal server error"}, 500)
        self._observe(method, answer.status)
        payload = answer.encode()
        if faults.active and await self._after(scope, method, path, answer, payload, send):
            return
        await _send(send, answer.status, payload, answer.headers)

    async def _serve(self, scope: Scope, method: str, path: str, body: bytes) -> Answer:
        account = self._authenticate(dict(scope["headers"]))
        found = self._router.find(method, path)
        if found is None:
            raise BrokerRefusal(404, 40410000, f"endpoint not found: {method} {path}")
        handler, params = found
        request = Request(method, path, _query(scope["query_string"]), body, account, params)
        return await handler(request)

    async def _read(self, receive: Receive) -> bytes:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BrokerRefusal(400, 40010000, "client disconnected")
            body += bytes(message.get("body", b""))
            if len(body) > self._body_bytes_max:
                raise BrokerRefusal(413, 41310000, "request body too large")
            if not message.get("more_body"):
                return body

    async def _before(self, scope: Scope, method: str, path: str, send: Send) -> bool:
        """Let faults strike before the request is handled; True when it is over with that."""
        faults = self._faults
        latency = faults.on_request(Kind.LATENCY, method, path)
        if latency is not None:
            await asyncio.sleep(faults.duration(latency))
        if faults.on_request(Kind.DROP_REQUEST, method, path):
            abort(scope)
            return True
        if faults.on_request(Kind.RATE_LIMIT, method, path):
            limits = [
                (b"x-ratelimit-limit", b"200"),
                (b"x-ratelimit-remaining", b"0"),
                (b"x-ratelimit-reset", b"1"),
                (b"retry-after", b"1"),
            ]
            body = msgspec.json.encode({"code": 42910000, "message": "rate limit exceeded"})
            await _send(send, 429, body, limits)
            return True
        error = faults.on_request(Kind.ERROR_BEFORE, method, path)
        if error is not None:
            body = msgspec.json.encode({"code": 50010000, "message": "internal server error"})
            await _send(send, error.status or _TIMED_OUT, body, [])
            return True
        return False

    async def _after(
        self, scope: Scope, method: str, path: str, answer: Answer, payload: bytes, send: Send
    ) -> bool:
        """Let faults strike the answer; True when it is over with that."""
        faults = self._faults
        if faults.on_request(Kind.LOST_ANSWER, method, path):
            abort(scope)
            return True
        error = faults.on_request(Kind.ERROR_AFTER, method, path)
        if error is not None:
            body = msgspec.json.encode({"code": 50410000, "message": "the request timed out"})
            await _send(send, error.status or _TIMED_OUT, body, [])
            return True
        bad = faults.on_request(Kind.GARBLED_ANSWER, method, path)
        if bad is not None:
            status = 200 if answer.status == 204 else answer.status  # 204 has no body to garble
            await send_garbled(scope, send, bad, bad.status or status, payload)
            return True
        return False


@functools.lru_cache(maxsize=256)
def _query(raw: bytes) -> Mapping[str, str]:
    if not raw:
        return {}
    return {name: values[-1] for name, values in parse_qs(raw.decode("latin-1")).items()}


async def _send(
    send: Send, status: int, payload: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    if status == 204:
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    length = [(b"content-length", str(len(payload)).encode())]
    await send(
        {"type": "http.response.start", "status": status, "headers": _JSON + length + headers}
    )
    await send({"type": "http.response.body", "body": payload})
