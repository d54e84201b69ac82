"""Whose address a request is taken to come from."""

from __future__ import annotations

import pytest

from libs.common.runtime.addresses import address_of


@pytest.mark.parametrize(
    ("peer", "told", "address"),
    [
        ("172.18.0.9", b"203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", b"10.0.0.1, 2001:db8::1", "2001:db8::1"),
        ("172.18.0.9", b"", "172.18.0.9"),
        ("172.18.0.9", b"not an address", "172.18.0.9"),
        # Nobody outside says where they come from.
        ("8.8.8.8", b"198.51.100.1", "8.8.8.8"),
        ("unix", b"198.51.100.1", "unix"),
    ],
)
def test_a_gateway_inside_is_believed_and_nobody_else(peer: str, told: bytes, address: str) -> None:
    assert address_of((peer, 1), [(b"host", b"x"), (b"x-forwarded-for", told)]) == address
    assert address_of((peer, 1), []) == peer


def test_no_peer_is_no_address() -> None:
    assert address_of(None, [(b"x-forwarded-for", b"198.51.100.1")]) == ""
