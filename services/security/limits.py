"""How often somebody may try, and how often in a row it went wrong."""

from __future__ import annotations

import hashlib

from libs.common.runtime.auth.errors import AccessError
from libs.common.runtime.rates import Rates, Streaks
from services.security.metrics import LIMITED
from services.security.settings import SecuritySettings


class TooManyError(AccessError):
    """Too many tries."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            429,
            "too-many-tries",
            f"Too many tries; the next one is welcome in {retry_after_s} s.",
            {"Retry-After": str(retry_after_s)},
        )


class LoginLimits:
    """Counts tries per user and per address, whether there is such a user or not, and failures in
    a row, which delay answers; what locks a user out is counted in the database."""

    def __init__(self, rates: Rates, streaks: Streaks, settings: SecuritySettings) -> None:
        self._rates = rates
        self._streaks = streaks
        self._per_minute = {
            "address": settings.logins_per_minute_address,
            "user": settings.logins_per_minute_user,
        }

    async def count(self, name: str, address: str) -> None:
        """Count a try. Raises TooManyError."""
        for by, whom in (("address", address), ("user", name)):
            wait_s = await self._rates.wait_s(f"login:{by}:{_mark(whom)}", self._per_minute[by])
            if wait_s:
                LIMITED.labels(by).inc()
                raise TooManyError(wait_s)

    async def failed(self, name: str) -> int:
        """Count a failure; return how many there were in a row."""
        return await self._streaks.failed(f"login:{_mark(name)}")

    async def forget(self, name: str) -> None:
        """Forget the failures of a user who got in."""
        await self._streaks.forget(f"login:{_mark(name)}")

    async def close(self) -> None:
        """Close the connections."""
        await self._rates.close()
        await self._streaks.close()


def _mark(text: str) -> str:
    # Of one length, and no name that somebody typed lies readable in Redis.
    return hashlib.sha256(text.encode()).hexdigest()[:32]
