"""The person at the machine: requests signed with the key that lies in the home."""

from __future__ import annotations

from collections.abc import Generator

import httpx

from infra.embedded.errors import EmbeddedError
from infra.embedded.home import Home, read_json
from libs.common.runtime.auth.roles import OPERATOR
from libs.common.runtime.auth.service_tokens import ServiceTokens
from libs.common.runtime.clocks import SystemClock

SECRET = f"service_key_{OPERATOR}"


class OperatorAuth(httpx.Auth):
    """Signs each request as the operator of `home`, unless it says already who makes it."""

    def __init__(self, seed: str) -> None:
        self._tokens = ServiceTokens(OPERATOR, seed, SystemClock())

    def headers(self) -> dict[str, str]:
        """Return the headers of a request, for clients that are not httpx."""
        return self._tokens.headers()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        if not request.headers.keys() & {"authorization", "x-api-key"}:
            request.headers.update(self._tokens.headers())
        yield request


def broker_headers_of(home: Home) -> dict[str, str]:
    """Return what opens the simulated broker of a home: its account's keys."""
    known = read_json(home.credentials / "secrets.json")
    return {
        "APCA-API-KEY-ID": str(known.get("broker_key", "")),
        "APCA-API-SECRET-KEY": str(known.get("broker_secret", "")),
    }


def operator_of(home: Home) -> OperatorAuth | None:
    """Return the operator of a home, None where no system has been started yet or the key is not
    ours to read."""
    try:
        seed = read_json(home.credentials / "secrets.json").get(SECRET)
    except (EmbeddedError, PermissionError):
        return None
    return OperatorAuth(str(seed)) if seed else None
