"""Addresses and networks as people and servers write them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.auth.clients import is_in, networks_of, parsed_address
from libs.common.runtime.settings import ServiceSettings

NETWORKS = networks_of(["10.0.0.2", " 192.0.2.0/24", "2001:db8::/32"], "networks")


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("10.0.0.2", True),
        ("::ffff:10.0.0.2", True),
        ("192.0.2.255", True),
        ("2001:db8::1", True),
        ("10.0.0.3", False),
        ("::ffff:192.0.3.1", False),
        ("nonsense", False),
        ("", False),
        ("10.0.0.2:80", False),
    ],
)
def test_addresses_lie_in_networks_however_they_are_written(text: str, inside: bool) -> None:
    assert is_in(parsed_address(text), NETWORKS) is inside


@pytest.mark.parametrize("text", ["192.0.2.1/24", "nonsense", "", "192.0.2.0/33", "::/129"])
def test_odd_networks_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"networks: .* is not a network like"):
        networks_of([text], "networks")


def test_the_trusted_gateway_is_a_list_of_networks_and_names() -> None:
    settings = ServiceSettings.model_validate({"trusted_gateway": "127.0.0.1, 172.30.0.0/29, gate"})
    assert settings.trusted_gateway == ("127.0.0.1/32", "172.30.0.0/29", "gate")


@pytest.mark.parametrize("text", ["*", "127.0.0.1/8", "256.0.0.1", "gate way", "gate/24", "-gate"])
def test_an_odd_trusted_gateway_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="is not a network like"):
        ServiceSettings.model_validate({"trusted_gateway": text})
