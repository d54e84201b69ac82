"""Figures of `security`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

LOGINS: Final = Counter("security_logins_total", "Logins by outcome", ["outcome"])
LOCK_OUTS: Final = Counter("security_lock_outs_total", "Users locked out")
REFRESHES: Final = Counter(
    "security_refreshes_total", "Uses of refresh tokens by outcome", ["outcome"]
)
REVOCATIONS: Final = Counter("security_revocations_total", "Revocations published")
LIMITED: Final = Counter("security_limited_total", "Logins refused for their rate", ["by"])
for _by in ("address", "user"):
    LIMITED.labels(_by)
PASSWORDS_WAITING: Final = Gauge(
    "security_passwords_waiting", "Passwords being checked or waiting for it"
)
PASSWORDS_REFUSED: Final = Counter(
    "security_passwords_refused_total", "Passwords not checked because too many waited"
)
LOGIN_DURATION: Final = Histogram(
    "security_login_seconds", "Time of a login that went well",
    buckets=(0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5),
)  # fmt: skip
