"""How often somebody may do something: counted in Redis for all services together, and in this
process alone while Redis is away."""

from __future__ import annotations

import math
import time
from typing import Any, Final

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from libs.common.runtime.logging import get_logger
from libs.common.runtime.settings import ServiceSettings

_log = get_logger(__name__)

PREFIX: Final = "tw:rates"
TIMEOUT_S: Final = 0.25
LOCAL_FOR_S: Final = 5.0
"""How long Redis is left alone after it was not there: a request waits for it once in that time."""


class Rates:
    """Counts by the sliding window of the `limits` library. Making one opens no connection."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._pool = ConnectionPool.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        # Typed as Any: its options are more than its signature says. The address is the pool's.
        options: dict[str, Any] = {"connection_pool": self._pool}
        storage = RedisStorage(
            "async+redis://",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix=PREFIX,
            **options,
        )
        self._together = SlidingWindowCounterRateLimiter(storage)
        self._alone = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._alone_until = 0.0

    async def wait_s(self, whom: str, per_minute: int) -> int:
        """Count one more of `whom`; return 0, or after how many seconds to come again."""
        limit = RateLimitItemPerMinute(per_minute)
        if time.monotonic() >= self._alone_until:
            try:
                return await _wait_s(self._together, limit, whom)
            except StorageError as error:
                self._alone_until = time.monotonic() + LOCAL_FOR_S
                _log.warning("rates_counted_alone", error=str(error))
        return await _wait_s(self._alone, limit, whom)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.disconnect()


async def _wait_s(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, whom: str) -> int:
    if await limiter.hit(limit, whom):
        return 0
    stats = await limiter.get_window_stats(limit, whom)
    return max(1, math.ceil(stats.reset_time - time.time()))
