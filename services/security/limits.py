"""How often somebody may try, and how often in a row it went wrong."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

from libs.common.runtime.auth.errors import AccessError
from libs.common.runtime.rates import Rates
from services.security.metrics import LIMITED
from services.security.settings import SecuritySettings

NAMES_MAX: Final = 10_000


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
    """Counts tries per user and per address, whether there is such a user or not.

    Failures in a row only delay answers, so they are counted in this process alone; what locks a
    user out is counted in the database.
    """

    def __init__(self, rates: Rates, settings: SecuritySettings) -> None:
        self._rates = rates
        self._per_minute = {
            "address": settings.logins_per_minute_address,
            "user": settings.logins_per_minute_user,
        }
        self._failures: OrderedDict[str, int] = OrderedDict()

    async def count(self, name: str, address: str) -> None:
        """Count a try. Raises TooManyError."""
        for by, whom in (("address", address), ("user", name)):
            wait_s = await self._rates.wait_s(f"login:{by}:{_mark(whom)}", self._per_minute[by])
            if wait_s:
                LIMITED.labels(by).inc()
                raise TooManyError(wait_s)

    def failed(self, name: str) -> int:
        """Count a failure; return how many there were in a row."""
        mark = _mark(name)
        self._failures[mark] = self._failures.pop(mark, 0) + 1
        if len(self._failures) > NAMES_MAX:
            self._failures.popitem(last=False)
        return self._failures[mark]

    def forget(self, name: str) -> None:
        """Forget the failures of a user who got in."""
        self._failures.pop(_mark(name), None)

    async def close(self) -> None:
        """Close the connections."""
        await self._rates.close()


def _mark(text: str) -> str:
    # Of one length, and no name that somebody typed lies readable in Redis.
    return hashlib.sha256(text.encode()).hexdigest()[:32]
