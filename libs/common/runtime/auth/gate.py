"""The gate of a service: nobody unknown comes in, and each route asks for its permission.

A pure ASGI middleware identifies the caller before a byte of the body is read; whoever is unknown
gets 401 whatever the path, unless the path is public. What a route demands (`requires`) is then
asked of the caller by `admit`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from starlette.exceptions import WebSocketException
from starlette.requests import HTTPConnection
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.auth.authenticator import STEP_UP_WITHIN, Authenticator
from libs.common.runtime.auth.clients import Address, parsed_address
from libs.common.runtime.auth.errors import GATE_CODES, AccessError, denied, unauthenticated
from libs.common.runtime.auth.principal import SCOPE_KEY, Kind, Principal, principal_in
from libs.common.runtime.auth.roles import ACCOUNT_AREAS
from libs.common.runtime.metrics import ACCESS_GRANTED, ACCESS_REFUSED
from libs.common.runtime.problems import problem

# FastAPI's own pages; they show the form of the API, which is no secret.
DOCUMENTATION: Final = ("/openapi.json", "/docs", "/docs/oauth2-redirect")

# All there from the start: what has not happened reads as zero, and a first time is an increase.
_GRANTED: Final = {kind: ACCESS_GRANTED.labels(kind.value) for kind in Kind}
for _code in GATE_CODES:
    ACCESS_REFUSED.labels(_code)


class Gate:
    """Identifies callers and judges what they may."""

    def __init__(
        self,
        authenticator: Authenticator,
        clock: Clock,
        account_id: str,
    ) -> None:
        self.authenticator = authenticator
        self._clock = clock
        self._account_id = account_id
        self._public: list[re.Pattern[str]] = []

    def open(self, patterns: Iterable[re.Pattern[str]]) -> None:
        """Let everybody reach the paths that match one of `patterns`."""
        self._public.extend(patterns)

    def is_public(self, path: str) -> bool:
        """Tell whether a path is open to everybody."""
        return path in DOCUMENTATION or any(pattern.match(path) for pattern in self._public)

    async def identify(self, scope: Scope) -> Principal:
        """Return who makes the request or opens the socket.

        Raises AccessError, or UnavailableError while it cannot be known.
        """
        return await self.authenticator.identify(credential_in(scope), address_in(scope))

    async def admit(self, connection: HTTPConnection, permission: str, *, step_up: bool) -> None:
        """Let a caller pass who has `permission` here.

        Raises AccessError, for a socket WebSocketException, which denies it.
        """
        refused = self._judge(connection, permission, step_up)
        if refused is None:
            return
        ACCESS_REFUSED.labels(refused.code).inc()
        if connection.scope["type"] == "websocket":
            raise WebSocketException(WS_1008_POLICY_VIOLATION, str(refused))
        raise refused

    def _judge(
        self, connection: HTTPConnection, permission: str, step_up: bool
    ) -> AccessError | None:
        who = principal_in(connection.scope)
        if who is None:
            return unauthenticated("no-token", "This needs a token.")
        if not who.may(permission):
            return denied("permission-denied", f"{who.name} lacks the permission {permission}.")
        area = permission.partition(":")[0]
        if area in ACCOUNT_AREAS and not who.sees(self._account_id):
            return denied(
                "wrong-account", f"{who.name} is not admitted to account {self._account_id}."
            )
        if step_up and not who.is_stepped_up(self._clock.now(), STEP_UP_WITHIN):
            return denied("step-up-required", "Prove again that it is you, then repeat this.")
        return None


def address_in(scope: Scope) -> Address | None:
    """Return where a request comes from; the server has looked through a trusted gateway."""
    client = scope.get("client")
    return parsed_address(client[0]) if client else None


def credential_in(scope: Scope) -> str:
    """Return the bearer token or API key of a request. Raises AccessError."""
    authorization = key = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            if authorization is not None:
                raise unauthenticated("malformed-token", "Two Authorization headers were sent.")
            authorization = value
        elif name == b"x-api-key":
            key = value
    if authorization is None:
        if key is None:
            raise unauthenticated("no-token", "This needs a token: Authorization: Bearer …")
        return _text(key)
    scheme, _, credential = _text(authorization).partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        raise unauthenticated("malformed-token", "Authorization must be: Bearer <token>.")
    return credential.strip()


def _text(value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError as error:
        raise unauthenticated("malformed-token", "The token is not ASCII.") from error


class Gatekeeper:
    """Pure ASGI middleware: identifies the caller of everything that is not public."""

    def __init__(self, app: ASGIApp, *, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a known caller on, with its principal in the scope; answer all others."""
        if scope["type"] not in ("http", "websocket") or self._gate.is_public(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            who = await self._gate.identify(scope)
        except AccessError as error:
            ACCESS_REFUSED.labels(error.code).inc()
            await refusal(scope, error)(scope, receive, send)
        except UnavailableError as error:
            answer = problem(503, str(error), code="unavailable", instance=scope["path"])
            await answer(scope, receive, send)
        else:
            _GRANTED[who.kind].inc()
            scope[SCOPE_KEY] = who
            await self._app(scope, receive, send)


def refusal(scope: Scope, error: AccessError) -> ASGIApp:
    """Return the answer that tells a caller why it is turned away."""
    return problem(
        error.status,
        str(error),
        code=error.code,
        instance=scope["path"],
        headers=error.headers,
    )
