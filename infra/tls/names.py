"""The names under which the gateway is asked: host names and addresses."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from cryptography import x509

from infra.tls.errors import TlsError

ALWAYS = ("localhost", "127.0.0.1", "::1")
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST = re.compile(rf"(?=.{{1,253}}$)(\*\.)?{LABEL}(\.{LABEL})*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(name: str) -> Address | None:
    """Return the address that `name` is, None for a host name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def parse(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list; raises TlsError naming the first unfit one."""
    names = [part.strip().lower().rstrip(".") for part in text.split(",") if part.strip()]
    for name in names:
        if address_of(name) is None and HOST.fullmatch(name) is None:
            raise TlsError(
                f"{name!r} is neither a host name nor an address",
                "TRADEWIND_GATEWAY_NAMES is a list like desk.example.com,192.0.2.7",
            )
    return tuple(dict.fromkeys(names))


def of_this_machine() -> tuple[str, ...]:
    """Return localhost by its three names, and the machine's own name where it is one."""
    own = socket.gethostname().lower().rstrip(".")
    return tuple(dict.fromkeys((*ALWAYS, *([own] if HOST.fullmatch(own) else []))))


def as_general(names: Iterable[str]) -> list[x509.GeneralName]:
    """Return the names as a certificate holds them."""
    found: list[x509.GeneralName] = []
    for name in names:
        address = address_of(name)
        found.append(x509.DNSName(name) if address is None else x509.IPAddress(address))
    return found


def of_certificate(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names and addresses that a certificate is for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    hosts = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return (*(host.lower() for host in hosts), *(str(address) for address in addresses))
