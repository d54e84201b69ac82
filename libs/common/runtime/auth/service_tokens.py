"""How a service says who it is when it calls another."""

from __future__ import annotations

import datetime as dt

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.auth.tokens import SERVICE_TTL, key_of_seed, service_token


class ServiceTokens:
    """Signs short-lived tokens with the service's own key, a new one when half the time is gone.

    `seed` is the setting `service_key`, 64 hex digits; without one nothing can be asked.
    """

    def __init__(self, service: str, seed: str, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._key: Ed25519PrivateKey | None = key_of_seed(seed) if seed else None
        self._token = ""
        self._renew_at = dt.datetime.min.replace(tzinfo=dt.UTC)

    def headers(self) -> dict[str, str]:
        """Return the header of a request. Raises InvalidInputError without a key."""
        if self._key is None:
            raise InvalidInputError(
                f"{self._service} has no key of its own: set TRADEWIND_SERVICE_KEY"
            )
        now = self._clock.now()
        if now >= self._renew_at:
            self._token = service_token(self._key, self._service, now)
            self._renew_at = now + SERVICE_TTL / 2
        return {"Authorization": f"Bearer {self._token}"}
