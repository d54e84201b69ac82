"""What was published on a log channel."""

from __future__ import annotations

from typing import Any

import redis

from libs.common.contracts.envelope import Envelope, Reader


def messages(redis_url: str, stream: str, kind: type[Any]) -> list[Envelope[Any]]:
    """Return all messages of a stream, oldest first."""
    with redis.Redis.from_url(redis_url) as client:
        return [Reader(kind).read(fields[b"message"]) for _, fields in client.xrange(stream)]
