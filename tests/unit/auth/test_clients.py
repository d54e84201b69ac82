"""From which address a request came: whom to believe."""

from __future__ import annotations

import pytest

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.auth.clients import client_of, networks_of

GATEWAY = networks_of(["10.0.0.2", "fd00::/8"], "trusted_gateway")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.2", ["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.2", [], "10.0.0.2"),
        ("10.0.0.2", ["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
        ("10.0.0.2", ["198.51.100.1", "192.0.2.7"], "192.0.2.7"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.2", ["192.0.2.7"], "192.0.2.7"),
        # Nobody else is believed.
        ("10.0.0.3", ["192.0.2.7"], "10.0.0.3"),
        ("10.0.0.2", ["nonsense"], "None"),
        (None, ["192.0.2.7"], "None"),
    ],
)
def test_only_the_gateway_is_believed(peer: str | None, forwarded: list[str], client: str) -> None:
    headers = [(b"x-forwarded-for", text.encode()) for text in forwarded]
    scope = {"client": (peer, 4711) if peer else None, "headers": headers}
    assert str(client_of(scope, GATEWAY)) == client


def test_without_a_gateway_the_peer_counts() -> None:
    headers = [(b"x-forwarded-for", b"192.0.2.7")]
    assert str(client_of({"client": ("127.0.0.1", 1), "headers": headers}, ())) == "127.0.0.1"


@pytest.mark.parametrize("text", ["192.0.2.1/24", "nonsense", "", "192.0.2.0/33", "::/129"])
def test_odd_networks_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"networks: .* is not a network like"):
        networks_of([text], "networks")
