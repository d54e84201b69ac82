"""How often somebody may do something, and how often in a row it went wrong: counted in Redis for
all processes together, and in this process alone while Redis is away."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from typing import Any, Final

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from libs.common.runtime.logging import get_logger
from libs.common.runtime.settings import ServiceSettings

_log = get_logger(__name__)

PREFIX: Final = "tw:rates"
STREAKS: Final = "tw:streaks"
STREAKS_MAX: Final = 10_000
"""Streaks that a process keeps by itself; the oldest is forgotten."""
TIMEOUT_S: Final = 0.25
LOCAL_FOR_S: Final = 5.0
"""How long Redis is left alone after it was not there: a request waits for it once in that time."""


class _Alone:
    """Remembers for a while that Redis was not there."""

    def __init__(self) -> None:
        self._until = 0.0

    def __bool__(self) -> bool:
        return time.monotonic() < self._until

    def begin(self, error: Exception) -> None:
        """Leave Redis alone from now on for LOCAL_FOR_S."""
        self._until = time.monotonic() + LOCAL_FOR_S
        _log.warning("rates_counted_alone", error=str(error))


class Rates:
    """Counts by the sliding window of the `limits` library. Making one opens no connection."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._pool = _pool_of(settings)
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
        self._is_alone = _Alone()

    async def wait_s(self, whom: str, per_minute: int) -> int:
        """Count one more of `whom`; return 0, or after how many seconds to come again."""
        limit = RateLimitItemPerMinute(per_minute)
        if not self._is_alone:
            try:
                return await _wait_s(self._together, limit, whom)
            except StorageError as error:
                self._is_alone.begin(error)
        return await _wait_s(self._alone, limit, whom)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.disconnect()


class Streaks:
    """Counts what went wrong in a row, each streak for `lasting_s` after its last failure. Making
    one opens no connection."""

    def __init__(self, settings: ServiceSettings, lasting_s: float) -> None:
        self._redis = Redis(connection_pool=_pool_of(settings))
        self._lasting_ms = max(1, round(lasting_s * 1000))
        self._alone: OrderedDict[str, int] = OrderedDict()
        self._is_alone = _Alone()

    async def failed(self, whom: str) -> int:
        """Count a failure; return how many there were in a row."""
        if not self._is_alone:
            key = f"{STREAKS}:{whom}"
            try:
                async with self._redis.pipeline(transaction=True) as both:
                    both.incr(key)
                    both.pexpire(key, self._lasting_ms)
                    counted, _ = await both.execute()
            except RedisError as error:
                self._is_alone.begin(error)
            else:
                return int(counted)
        self._alone[whom] = self._alone.pop(whom, 0) + 1
        if len(self._alone) > STREAKS_MAX:
            self._alone.popitem(last=False)
        return self._alone[whom]

    async def forget(self, whom: str) -> None:
        """End a streak."""
        self._alone.pop(whom, None)
        if not self._is_alone:
            try:
                await self._redis.delete(f"{STREAKS}:{whom}")
            except RedisError as error:
                self._is_alone.begin(error)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.connection_pool.disconnect()


def _pool_of(settings: ServiceSettings) -> ConnectionPool:
    return ConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


async def _wait_s(limiter: SlidingWindowCounterRateLimiter, limit: RateLimitItem, whom: str) -> int:
    if await limiter.hit(limit, whom):
        return 0
    stats = await limiter.get_window_stats(limit, whom)
    return max(1, math.ceil(stats.reset_time - time.time()))
