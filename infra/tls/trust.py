"""Whom clients on this machine trust: the authority of the installation, or the owner's pin."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from infra.tls.errors import TlsError

AUTHORITY = "ca.crt"
PINNED = "pinned.crt"
"""The owner's own certificate while one is in use: a client on this machine, which asks for
127.0.0.1 and not for its name, knows it by being this very one."""
TRUSTED = "TRADEWIND_TLS_CA"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def client_context(folder: Path, url: str) -> ssl.SSLContext:
    """Return what to verify `url` with. Raises TlsError for a TRADEWIND_TLS_CA that is no file.

    TRADEWIND_TLS_CA names a file of authorities. Without it an address of this machine is held
    against `folder` alone; any other against the machine's authorities and that of `folder`.
    """
    given = os.environ.get(TRUSTED)
    if given:
        context = ssl.create_default_context()
        _load(context, Path(given).expanduser())
        return _modern(context)
    pinned, ca = folder / PINNED, folder / AUTHORITY
    here = urlsplit(url).hostname in LOOPBACK
    if here and pinned.exists():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # The pin is one certificate, not an issuer: to be it says more than to bear a name.
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _load(context, pinned)
    elif here and ca.exists():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load(context, ca)
    else:
        context = ssl.create_default_context()
        if ca.exists():
            _load(context, ca)
    return _modern(context)


def _modern(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _load(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise TlsError(
            f"{path} holds no certificate that could be trusted: {error}",
            f"{TRUSTED} names a file in PEM; see docs/how-to/tls-and-gateway.md",
        ) from error
