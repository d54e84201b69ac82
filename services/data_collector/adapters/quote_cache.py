"""The latest quotes in Redis, for services that start and can't wait for the next tick."""

from collections.abc import Sequence

import msgspec
import redis.asyncio as redis
from redis.exceptions import RedisError

from libs.common.kernel.errors import UnavailableError
from services.data_collector.latest import LatestTick

KEY_PREFIX = "market:latest:"


class RedisQuoteCache:
    """Writes `market:latest:<symbol>`, JSON of a LatestTick, each with a time to live."""

    def __init__(self, client: redis.Redis, ttl_s: int) -> None:
        self._client = client
        self._ttl_s = ttl_s

    async def put(self, ticks: Sequence[LatestTick]) -> None:
        """Write all in one round trip. Raises UnavailableError."""
        if not ticks:
            return
        pipe = self._client.pipeline(transaction=False)
        for tick in ticks:
            pipe.set(KEY_PREFIX + tick.symbol, msgspec.json.encode(tick), ex=self._ttl_s)
        try:
            await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise UnavailableError(f"redis: {error or type(error).__name__}") from error
