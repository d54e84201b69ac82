"""API keys held to networks, behind real gateways: the address is the one the gateway tells.

Every address of 127.0.0.0/8 is this machine's, so callers come from addresses of their own: the
service is a process that believes the gateway, by name, and nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx
import pytest

from infra.tls.trust import client_context
from tests.support.api_keys import add_key
from tests.support.gateways import Gateway, Stubs, running_gateway
from tests.support.people import Person, enroll
from tests.support.security_process import security_process
from tests.support.tokens import bearer

ME = "/api/v1/auth/me"
NEAR, FAR, DIRECT, GATEWAY = "127.0.0.7", "127.0.0.8", "127.0.0.9", "127.0.0.1"
IN = (200, "")
OUT = (403, "key-network")
SPOOFS = (
    {"X-Forwarded-For": NEAR},
    {"X-Forwarded-For": f"{NEAR}, {NEAR}"},
    {"x-forwarded-for": f"{NEAR}:443"},
    {"X-Real-IP": NEAR},
    {"Forwarded": f"for={NEAR};proto=https"},
    {"True-Client-IP": NEAR, "CF-Connecting-IP": NEAR, "X-Client-IP": NEAR},
    {"X_Forwarded_For": NEAR},
)
pytestmark = pytest.mark.timeout(300)


class Callers:
    """Clients at addresses of this machine, one each."""

    def __init__(self, url: str, gateway: Gateway | None = None) -> None:
        self._url = url
        self._verify = client_context(gateway.folder, url) if gateway else False
        self._clients: dict[str, httpx.Client] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def ask(self, key: str, source: str, spoof: Mapping[str, str]) -> tuple[int, str]:
        """Ask who the key speaks for, from address `source`."""
        if source not in self._clients:
            way = httpx.HTTPTransport(local_address=source, verify=self._verify)
            self._clients[source] = httpx.Client(transport=way, base_url=self._url, timeout=30)
        answer = self._clients[source].get(ME, headers={**bearer(key), **spoof})
        return answer.status_code, answer.json().get("code", "")


def test_a_key_is_held_to_networks_by_the_address_that_the_gateway_saw(
    database_url: str, redis_url: str, stubs: Stubs, tmp_path: Path
) -> None:
    boss = Person("boss", ("admin",))
    enroll(database_url, boss)
    near, inside = (
        add_key(database_url, boss, ["auth:self"], networks=[f"{address}/32"])
        for address in (NEAR, GATEWAY)
    )
    with security_process(
        database_url, redis_url, tmp_path / "log", trusted_gateway="localhost"
    ) as service:
        port = int(service.rpartition(":")[2])
        in_front = Stubs({**stubs.ports, "auth": port})
        for kind in ("caddy", "nginx"):
            folder = tmp_path / kind
            folder.mkdir()
            with (
                running_gateway(kind, folder, in_front) as gateway,
                Callers(gateway.url, gateway) as callers,
            ):
                assert callers.ask(near, NEAR, {}) == IN, kind
                # Neither the caller's own words count, nor where the gateway itself stands.
                assert callers.ask(inside, FAR, {}) == OUT, kind
                for spoof in ({}, *SPOOFS):
                    assert callers.ask(near, FAR, spoof) == OUT, (kind, spoof)
        # Past the gateway nobody is believed who is not the gateway; the gateway is.
        with Callers(service) as callers:
            for spoof in ({}, *SPOOFS):
                assert callers.ask(near, DIRECT, spoof) == OUT, spoof
            assert callers.ask(near, NEAR, {"X-Forwarded-For": FAR}) == IN
            assert callers.ask(near, GATEWAY, {"X-Forwarded-For": NEAR}) == IN
            assert callers.ask(near, GATEWAY, {"X-Forwarded-For": f"{NEAR}, {FAR}"}) == OUT
