"""All log streams read as one: every message reaches the log, in batches, at least once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio as redis
from redis.exceptions import RedisError, ResponseError

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.bus import FIELD, Bus, parse_entry_id
from libs.common.runtime.logging import get_logger
from libs.common.runtime.metrics import BUS_BREAKS
from libs.common.runtime.readiness import Readiness
from libs.common.runtime.resilience import pauses
from services.audit.ports import Delivery, Refused

_log = get_logger(__name__)

_NEWS: Final = ">"
_OWN: Final = "0"
_UNREAD_MAX: Final = 1_000
_PART: Final = "streams"

Record = Callable[[Sequence[Delivery]], Awaitable[Sequence[Refused]]]


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a stream holds for us: messages not recorded, and the age of the oldest of them."""

    messages: int
    age_s: float


class StreamTail:
    """Reads `streams` as consumer `consumer` of `group` and gives each batch to `record`.

    A batch is acknowledged once `record` has returned; what it refused goes to the dead letters.
    While the database is away the same batch waits. After one that was not full, messages gather
    for `gather_s`, so that those of one story are recorded together. At start, and whenever there
    is no news, come the messages that this consumer was given and does not know of: it died, or
    Redis answered a connection that had been given up. Later come those that another one holds for
    too long.
    """

    def __init__(
        self,
        bus: Bus,
        streams: Sequence[str],
        *,
        group: str,
        consumer: str,
        readiness: Readiness,
        batch: int,
        block_ms: int,
        claim_idle_s: float,
        gather_s: float = 0.0,
    ) -> None:
        self._bus = bus
        self._streams = tuple(streams)
        self._group = group
        self._consumer = consumer
        self._readiness = readiness
        self._batch = batch
        self._block_ms = block_ms
        self._claim_idle_ms = round(claim_idle_s * 1000)
        self._gather_s = gather_s

    async def run(self, record: Record) -> None:
        """Read until cancelled; outlive every loss of Redis."""
        async for _ in pauses(0.05, 2.0):
            client = self._bus.connect(self._block_ms / 1000 + 5)
            try:
                await self._ensure_groups()
                self._readiness.clear(_PART)
                await self._read(client, record)
            except (UnavailableError, RedisError, OSError, TimeoutError) as error:
                BUS_BREAKS.inc()
                self._readiness.block(_PART, f"redis: {error}")
                _log.warning("streams_interrupted", error=str(error))
            finally:
                await client.aclose()

    async def backlog(self) -> dict[str, Backlog]:
        """Return what is not recorded yet, by stream. Raises UnavailableError."""
        try:
            return {stream: await self._backlog(stream) for stream in self._streams}
        except (RedisError, OSError, TimeoutError) as error:
            raise UnavailableError(f"redis: {error}") from error

    async def _backlog(self, stream: str) -> Backlog:
        client = self._bus.client
        try:
            groups = await client.xinfo_groups(stream)
        except ResponseError:
            return Backlog(0, 0.0)
        ours: dict[str, Any] = next(
            (group for group in groups if group["name"].decode() == self._group), {}
        )
        after = ours["last-delivered-id"].decode() if ours else "0-0"
        unread: Any = await client.xrange(stream, min=f"({after}", count=1)
        oldest = [entry[0].decode() for entry in unread]
        waiting = await self._unread(stream, after, ours) if unread else 0
        if ours.get("pending"):
            waiting += ours["pending"]
            first = (await client.xpending(stream, self._group))["min"]
            # None: all was acknowledged between the two questions.
            oldest += [first.decode()] if first else []
        now_ms = time.time() * 1000
        ages = [now_ms - parse_entry_id(entry)[0] for entry in oldest]
        return Backlog(waiting, max(0.0, *ages, 0.0) / 1000)

    async def _unread(self, stream: str, after: str, group: dict[str, Any]) -> int:
        """Count what no consumer was given; Redis before 7 does not know, so look at the start."""
        if group.get("lag") is not None:
            return int(group["lag"])
        entries: Any = await self._bus.client.xrange(stream, min=f"({after}", count=_UNREAD_MAX)
        return len(entries)

    async def _ensure_groups(self) -> None:
        for stream in self._streams:
            await self._bus.ensure_group(stream, self._group)

    async def _read(self, client: redis.Redis, record: Record) -> None:
        claimed_at = 0.0
        deliveries: list[Delivery] = []
        while True:
            if not deliveries:
                while own := await self._fetch(client, _OWN):
                    await self._work(client, own, record)
            if time.monotonic() - claimed_at > self._claim_idle_ms / 2000:
                for stream in self._streams:
                    await self._work(client, await self._claim(client, stream), record)
                claimed_at = time.monotonic()
            deliveries = await self._fetch(client, _NEWS)
            await self._work(client, deliveries, record)
            if 0 < len(deliveries) < self._batch:
                await asyncio.sleep(self._gather_s)

    async def _fetch(self, client: redis.Redis, position: str) -> list[Delivery]:
        try:
            answer: Any = await client.xreadgroup(
                self._group,
                self._consumer,
                dict.fromkeys(self._streams, position),
                count=self._batch,
                block=self._block_ms if position == _NEWS else None,
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            # Redis was flushed: begin anew; the outboxes will publish again.
            await self._ensure_groups()
            return []
        return list(_deliveries(answer))

    async def _claim(self, client: redis.Redis, stream: str) -> list[Delivery]:
        """Take over what another consumer of the group holds and does not finish."""
        try:
            answer: Any = await client.xautoclaim(
                stream,
                self._group,
                self._consumer,
                min_idle_time=self._claim_idle_ms,
                count=self._batch,
            )
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            await self._bus.ensure_group(stream, self._group)
            return []
        return [_delivery(stream, entry) for entry in answer[1]]

    async def _work(
        self, client: redis.Redis, deliveries: Sequence[Delivery], record: Record
    ) -> None:
        if not deliveries:
            return
        for refused in await self._insist(deliveries, record):
            delivery = refused.delivery
            _log.error("message_buried", stream=delivery.stream, error=refused.error)
            await self._bus.bury(
                delivery.stream, self._group, delivery.entry_id, delivery.data, refused.error
            )
        pipe = client.pipeline(transaction=False)
        for delivery in deliveries:
            pipe.xack(delivery.stream, self._group, delivery.entry_id)
        await pipe.execute()

    async def _insist(self, deliveries: Sequence[Delivery], record: Record) -> Sequence[Refused]:
        """Record a batch, waiting for the database as long as it takes.

        One message that breaks the recording must not hold up the others: the batch is then given
        message by message, and what fails alone is refused.
        """
        async for _ in pauses(0.05, 2.0):
            try:
                refused = await record(deliveries)
            except UnavailableError as error:
                self._readiness.block("log", str(error))
                _log.warning("record_waits", messages=len(deliveries), error=str(error))
            except Exception as error:  # noqa: BLE001 - the edge: logged once, then a dead letter
                _log.exception("record_failed", messages=len(deliveries))
                if len(deliveries) == 1:
                    return [Refused(deliveries[0], f"{type(error).__name__}: {error}")]
                return [
                    one for delivery in deliveries for one in await self._insist([delivery], record)
                ]
            else:
                self._readiness.clear("log")
                return refused
        raise AssertionError("pauses never ends")


def _deliveries(answer: Any) -> Iterator[Delivery]:
    """Read RESP2's list of pairs and RESP3's map alike."""
    pairs = answer.items() if isinstance(answer, Mapping) else answer or ()
    for stream, entries in pairs:
        first = entries[0] if entries else None
        if isinstance(first, list) and (not first or isinstance(first[0], tuple | list)):
            entries = first
        for entry in entries:
            yield _delivery(stream.decode(), entry)


def _delivery(stream: str, entry: Any) -> Delivery:
    fields = entry[1] or {}
    return Delivery(stream, entry[0].decode(), fields.get(FIELD.encode(), b""))
