"""Lay out what the gateway of the Compose stack is given: certificate, key, and chosen settings.

Runs as a job before the gateway, as its user. The volume `authority` keeps the key of the
authority and is mounted by nobody else; the gateway's is written from it at every start.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from infra import nginx_config
from infra.gateway_policy import Rates
from infra.tls import names
from infra.tls.errors import TlsError
from infra.tls.files import served, write
from infra.tls.trust import AUTHORITY

OUT = Path("/out")
OWN = Path("/run/own")
NAMES = (*names.ALWAYS, "gateway")
TLS_VERSIONS = ("1.2", "1.3")
RATE_MAX = 1_000_000


def lay_out(out: Path, own: Path, environment: Mapping[str, str], now: dt.datetime) -> str:
    """Write the gateway's files under `out`; return what was laid out. Raises TlsError."""
    given = names.parse(environment.get("TRADEWIND_GATEWAY_NAMES", ""))
    is_own = bool(environment.get("TRADEWIND_TLS_OWN"))
    oldest = environment.get("TRADEWIND_TLS_MIN") or "1.3"
    if oldest not in TLS_VERSIONS:
        raise TlsError(f"TRADEWIND_TLS_MIN={oldest} is neither 1.2 nor 1.3")
    wanted = tuple(dict.fromkeys((*NAMES, *given)))
    shown = served(
        out / "authority",
        wanted,
        now,
        own_certificate=own / "tls.crt" if is_own else None,
        own_key=own / "tls.key" if is_own else None,
    )
    gateway = out / "gateway"
    write(gateway / "tls.crt", shown.certificate.read_bytes(), 0o444)
    write(gateway / "tls.key", shown.key.read_bytes(), 0o600)
    if is_own:
        (gateway / AUTHORITY).unlink(missing_ok=True)
    else:
        write(gateway / AUTHORITY, (out / "authority" / AUTHORITY).read_bytes(), 0o444)
    settings = nginx_config.settings(
        names=tuple(dict.fromkeys((*wanted, *shown.names))),
        https_port=_whole(environment, "TRADEWIND_GATEWAY_PORT", 8443, 65_535),
        allow_tls_12=oldest == "1.2",
        rates=Rates(
            _whole(environment, "TRADEWIND_REQUESTS_PER_SECOND", 100),
            _whole(environment, "TRADEWIND_CALLER_REQUESTS_PER_SECOND", 50),
            _whole(environment, "TRADEWIND_LOGINS_PER_MINUTE", 10),
        ),
    )
    write(gateway / "gateway.conf", settings.encode(), 0o444)
    return f"a certificate for {', '.join(shown.names)}, until {shown.ends:%Y-%m-%d}"


def _whole(environment: Mapping[str, str], name: str, default: int, most: int = RATE_MAX) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise TlsError(f"{name}={text} is no whole number between 1 and {most}")
    return int(text)


def main() -> int:
    """Lay out the gateway's files; return the exit code."""
    try:
        print(lay_out(OUT, OWN, os.environ, dt.datetime.now(dt.UTC)))
    except TlsError as error:
        print(error, error.remedy, sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
