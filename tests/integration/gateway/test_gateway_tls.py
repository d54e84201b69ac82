"""HTTPS alone: what the certificate says, which versions are spoken, where HTTP leads."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import httpx
import pytest

from infra.tls import files
from infra.tls.trust import client_context
from tests.support.gateways import Gateway, Stubs, running_gateway


def handshake(gateway: Gateway, context: ssl.SSLContext, name: str = "127.0.0.1") -> str | None:
    """Return the version that was agreed on; raises ssl.SSLError."""
    plain = socket.create_connection(("127.0.0.1", gateway.port), timeout=5)
    with context.wrap_socket(plain, server_hostname=name) as connection:
        return connection.version()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "::1"])
def test_certificate_holds_for_each_name_of_this_machine(served: Gateway, name: str) -> None:
    assert handshake(served, served.context, name) == "TLSv1.3"


def test_certificate_does_not_hold_for_another_name(served: Gateway) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(served, served.context, "example.com")


def test_nobody_trusts_it_who_was_not_told(served: Gateway) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(served, ssl.create_default_context())


def test_older_versions_are_refused(served: Gateway) -> None:
    context = served.context
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(served, context)


@pytest.mark.parametrize("kind", ["caddy", "nginx"])
def test_tls_1_2_is_spoken_where_it_is_allowed_and_1_1_never(
    kind: str, stubs: Stubs, tmp_path: Path
) -> None:
    with running_gateway(kind, tmp_path, stubs, allow_tls_12=True) as gateway:
        context = gateway.context
        assert handshake(gateway, context) == "TLSv1.3"
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert handshake(gateway, context) == "TLSv1.2"
        context.set_ciphers("AES128-SHA:AES256-SHA:ECDHE-ECDSA-AES128-SHA")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(gateway, context)
        old = client_context(gateway.folder, gateway.url)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(gateway, old)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/api/v1/orders?limit=1&symbol=A%20B", "/health", "/x"])
def test_http_leads_to_https_and_nowhere_else(served: Gateway, method: str, path: str) -> None:
    before = len(served.stubs.seen)
    answer = httpx.request(method, f"http://127.0.0.1:{served.plain_port}{path}", trust_env=False)
    assert answer.status_code == 308
    assert answer.headers["location"] == f"{served.url}{path}"
    assert len(served.stubs.seen) == before


def test_http_does_not_lead_to_a_strangers_name(served: Gateway) -> None:
    answer = httpx.get(
        f"http://127.0.0.1:{served.plain_port}/", headers={"Host": "evil.example"}, trust_env=False
    )
    assert answer.status_code == 421
    assert "location" not in answer.headers


def test_plain_http_on_the_port_of_https_is_not_answered_by_a_service(served: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        connection.sendall(b"GET /api/v1/orders HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 400 " in connection.recv(1000).split(b"\r\n")[0]


def test_keys_are_private(served: Gateway) -> None:
    for name in (files.LEAF_KEY, files.AUTHORITY_KEY):
        assert (served.folder / name).stat().st_mode & 0o777 == 0o600
