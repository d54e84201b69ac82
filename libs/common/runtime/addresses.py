"""Where a request came from."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

_TOLD: Final = b"x-forwarded-for"


def address_of(client: tuple[str, int] | None, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the caller's address, of ASGI's `client` and `headers`: what the gateway says it is,
    where the peer can be a gateway (a private or loopback address); empty if unknown.

    The gateway sets `X-Forwarded-For` anew, so what a client sends under that name is not heard.
    """
    peer = client[0] if client else ""
    try:
        inside = ipaddress.ip_address(peer).is_private
    except ValueError:
        return peer
    if not inside:
        return peer
    told = next((value for name, value in headers if name == _TOLD), b"")
    last = told.decode("latin-1").rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(last)) if last else peer
    except ValueError:
        return peer
