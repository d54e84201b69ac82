"""Who connects to the gateway, and by which scheme, is believed of the gateway alone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from libs.common.runtime.auth.clients import is_host_name, is_in, networks_of, parsed_address
from libs.common.runtime.logging import get_logger

RESOLVE_TIMEOUT_S = 2.0
_TELLING = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
_log = get_logger(__name__)

Resolver = Callable[[str], Awaitable[Sequence[str]]]


async def addresses_of(name: str) -> Sequence[str]:
    """Return the addresses of a host; raises OSError, TimeoutError after RESOLVE_TIMEOUT_S."""
    async with asyncio.timeout(RESOLVE_TIMEOUT_S):
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class GatewayHeaders:
    """ASGI middleware: puts what the gateway's `X-Forwarded-*` say into client and scheme.

    `trusted` are networks and names of hosts. A name is looked up when somebody who is not known
    says who it speaks for, at most every `again_s`, so that a gateway that comes back at another
    address is believed at once; and what was found is held for `hold_s`. A name that cannot be
    looked up is nobody's.
    """

    def __init__(
        self,
        app: ASGIApp,
        trusted: Sequence[str],
        *,
        resolve: Resolver = addresses_of,
        again_s: float = 1.0,
        hold_s: float = 30.0,
    ) -> None:
        self._app = app
        self._networks = [text for text in trusted if not is_host_name(text)]
        self._names = [text for text in trusted if is_host_name(text)]
        self._resolve = resolve
        self._again_s = again_s
        self._hold_s = hold_s
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._found: list[str] = []
        self._believe()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._names and scope["type"] != "lifespan" and _tells(scope):
            await self._look_up(scope)
        await self._believing(scope, receive, send)

    async def _look_up(self, scope: Scope) -> None:
        client = scope.get("client")
        if not self._is_old(client):
            return
        async with self._asking:
            if not self._is_old(client):  # another request has asked meanwhile
                return
            found: list[str] = []
            for name in self._names:
                try:
                    found += await self._resolve(name)
                except OSError as error:  # a TimeoutError is one
                    _log.warning("gateway_not_found", name=name, error=str(error) or "timed out")
            self._asked_at = asyncio.get_running_loop().time()
            if found != self._found:
                self._found = found
                self._believe()

    def _is_old(self, client: tuple[str, int] | None) -> bool:
        age_s = asyncio.get_running_loop().time() - self._asked_at
        known = client is not None and is_in(parsed_address(client[0]), self._believed)
        return age_s >= (self._hold_s if known else self._again_s)

    def _believe(self) -> None:
        trusted = [*self._networks, *self._found]
        self._believed = networks_of(trusted, "trusted_gateway")
        # uvicorn's types of a scope are its own.
        reader = ProxyHeadersMiddleware(cast(Any, self._app), trusted)
        self._believing = cast(ASGIApp, reader)


def _tells(scope: Scope) -> bool:
    return any(name in _TELLING for name, _ in scope["headers"])
