"""What the gateway lets through, how much of it and for how long, and the headers it answers with.

The two servers are rendered from these values; docs/how-to/tls-and-gateway.md says where they
differ all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.routes import ANSWER_TIMEOUT_S, BODY_BYTES_MAX, CONNECT_TIMEOUT_S

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

PLAIN_PATH = r"^/[^?#\\]*(\?[^#]*)?$"
ODD_PATH = r"^[^?]*(//|/\.\.?(/|\?|$)|%(00|2[eEfF]|5[cC]))"
"""A path that the gateway and a service could read differently: not an origin form, empty or dotted
segments, and what means a slash, dot, backslash or NUL only after decoding."""

PAGE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The content security policy of an answer that brings none of its own: it is data, no page."""
GOTIFY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Gotify's own page carries its settings in a script of its own."""

HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "accelerometer=(), camera=(), display-capture=(), geolocation=(), "
    "gyroscope=(), microphone=(), midi=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CACHING = "no-store"
STRICT_TRANSPORT = "max-age=31536000"
"""Sent for every name but localhost: browsers would hold it against all that a developer runs
there on other ports."""

FORWARDED: tuple[str, ...] = (
    "Forwarded",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "Proxy",
)
"""What clients could tell of where they come from, beside the three headers that are set anew."""
CROSS_ORIGIN: tuple[str, ...] = (
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
)
CIPHERS_12 = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds, rates for each address (or key).

    `header_s` is for the whole header, `send_s` for the time between two pieces of an answer, and
    `stream_s` for the silence in a stream. Of a body, Nginx knows the time between two pieces
    (`body_s`), Caddy that for all of it (`body_s_total`): longer than a service waits for a body,
    because Caddy, where its own time is over, forgets to answer.
    """

    body_bytes: int = BODY_BYTES_MAX
    login_body_bytes: int = 16_384
    header_bytes: int = 16_384
    connect_s: float = CONNECT_TIMEOUT_S
    answer_s: float = ANSWER_TIMEOUT_S
    header_s: float = 10.0
    body_s: float = 10.0
    body_s_total: float = 30.0
    send_s: float = 10.0
    idle_s: float = 75.0
    stream_s: float = 60.0
    requests_burst: int = 200
    caller_requests_burst: int = 100
    logins_burst: int = 5
    at_once: int = 64


@dataclass(frozen=True, slots=True)
class Rates:
    """What an installation may choose: requests each second of an address, of a key or token, and
    logins each minute of an address."""

    requests_per_second: int = 100
    caller_requests_per_second: int = 50
    logins_per_minute: int = 10


def milliseconds(seconds: float) -> str:
    """Return a time as both servers read it."""
    return f"{round(seconds * 1000)}ms"
