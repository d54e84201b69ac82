"""The gateway's routes, once: Nginx (Compose) and Caddy (embedded) are rendered from here.

`python -m infra.gateway` writes `nginx/nginx.conf` and `infra/embedded/Caddyfile`. What it lets
through, and how much of it, is `infra/gateway_policy.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BODY_BYTES_MAX = 1_048_576
CONNECT_TIMEOUT_S = 2
ANSWER_TIMEOUT_S = 30
CORRELATION_PATTERN = "[A-Za-z0-9._-]{1,128}"
INSTANCE_PATTERN = "[A-Za-z0-9/._~%:-]{1,256}"
"""The part of a path that may be repeated inside a JSON string as it is."""

API = "/api/v1/"
HEALTH = "/health"


@dataclass(frozen=True, slots=True)
class Route:
    """`/api/v1/<area>` and everything below it goes to `service`.

    `streams` and `logins` are regular expressions of what follows the area: answers that flow for
    as long as they are read (server-sent events, WebSockets), and requests that try a password.
    """

    area: str
    service: str
    streams: tuple[str, ...] = ()
    logins: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Return the path prefix, without a slash at its end."""
        return f"{API}{self.area}"


PORTS: Mapping[str, int] = {
    "data_collector": 9101,
    "strategy_engine": 9102,
    "risk_manager": 9103,
    "trade_executor": 9104,
    "portfolio": 9105,
    "backtester": 9107,
    "broker_simulator": 9109,
    "monitoring": 8008,
    "security": 8009,
    "audit": 8010,
}

ROUTES: tuple[Route, ...] = (
    Route("market", "data_collector"),
    Route("strategies", "strategy_engine"),
    Route("risk", "risk_manager"),
    Route("orders", "trade_executor"),
    Route("portfolio", "portfolio"),
    Route("backtests", "backtester", streams=("/[^/]+/events",)),
    Route("auth", "security", logins=("/login", "/step-up", "/password")),
    Route("users", "security"),
    Route("keys", "security"),
    Route("secrets", "security"),
    Route("monitoring", "monitoring"),
    Route("audit", "audit"),
)

TITLES: Mapping[int, tuple[str, str]] = {
    400: ("Bad Request", "the path is not written plainly: no empty or dotted parts, no %2F"),
    403: ("Forbidden", "only pages of the gateway itself may ask, not those of another origin"),
    404: ("Not Found", "the gateway has no route for this path"),
    405: ("Method Not Allowed", "this method is not used here"),
    413: ("Content Too Large", f"the body is larger than {BODY_BYTES_MAX} bytes"),
    421: ("Misdirected Request", "the gateway does not answer to this host name"),
    429: ("Too Many Requests", "too many requests; wait as long as Retry-After says"),
    431: ("Request Header Fields Too Large", "the header is too large"),
    502: ("Bad Gateway", "the service behind this path cannot be reached"),
    504: ("Gateway Timeout", f"the service did not answer within {ANSWER_TIMEOUT_S} s"),
    505: ("HTTP Version Not Supported", "the gateway speaks HTTP/1.1"),
}
"""Errors that the gateway itself answers. 503 is left to the services, which say why."""


def problem(status: int, instance: str, correlation_id: str) -> str:
    """Return the problem+json body; the last two are the server's placeholders for them."""
    title, detail = TITLES[status]
    return json.dumps(
        {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": detail,
            "instance": instance,
            "correlation_id": correlation_id,
        },
        separators=(",", ":"),
    )
