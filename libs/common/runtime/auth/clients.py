"""Addresses and networks that requests come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from libs.common.kernel.errors import InvalidInputError

HOST_NAME = re.compile(r"[a-z_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9])?)*", re.I)
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def networks_of(texts: Iterable[str], what: str) -> tuple[Network, ...]:
    """Return networks (`192.0.2.0/24`, `2001:db8::/32`, or one address).

    Raises InvalidInputError naming `what` and the text, also for one with host bits.
    """
    found = []
    for text in texts:
        try:
            found.append(ip_network(text.strip()))
        except ValueError as error:
            raise InvalidInputError(f"{what}: {text!r} is not a network like 192.0.2.0/24") from (
                error
            )
    return tuple(found)


def is_host_name(text: str) -> bool:
    """Tell whether `text` can name a host and is no address; a network never is."""
    return HOST_NAME.fullmatch(text) is not None


@lru_cache(maxsize=1024)  # the gateway and few others ask, again and again
def parsed_address(text: str) -> Address | None:
    """Return an address, an IPv4 one that is written as IPv6 as such; None for anything else."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_in(address: Address | None, networks: Sequence[Network]) -> bool:
    """Tell whether an address lies in one of `networks`; an unknown one lies in none."""
    return address is not None and any(address in network for network in networks)
