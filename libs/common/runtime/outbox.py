"""The outbox: a log message exists if and only if its transaction committed."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import orjson
from sqlalchemy import delete, select, text

from libs.common.contracts.channels import LOG_CHANNELS, Channel, channel_of
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import Payload
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.bus import Bus, LogMessage, Posted
from libs.common.runtime.database import Database, WriteSession
from libs.common.runtime.endings import end_all
from libs.common.runtime.logging import get_logger
from libs.common.runtime.metrics import OUTBOX_EPOCHS, OUTBOX_PENDING, OUTBOX_SWEPT
from libs.common.runtime.readiness import Readiness
from libs.common.runtime.schema.outbox import outbox
from libs.common.runtime.single import Transaction

_log = get_logger(__name__)

_BATCH: Final = 500
_GRACE: Final = dt.timedelta(seconds=3)
_TRIM_EVERY_S: Final = 60.0
_STOPPING_S: Final = 0.2

_MARK = text(
    """
    UPDATE outbox SET published_at = now(), epoch = :epoch, stream_id = sent.stream_id
    FROM unnest(CAST(:ids AS uuid[]), CAST(:stream_ids AS text[])) AS sent(id, stream_id)
    WHERE outbox.id = sent.id
    """
)
_CONFIRM = text(
    """
    UPDATE outbox SET confirmed_at = now()
    WHERE source = :source AND stream = :stream AND epoch = :epoch AND confirmed_at IS NULL
      AND (split_part(stream_id, '-', 1)::bigint, split_part(stream_id, '-', 2)::bigint)
          <= (CAST(:milliseconds AS bigint), CAST(:sequence AS bigint))
    """
)


# Writes the messages of a batch, alone or as part of a statement that writes other rows with
# them; its parameters come from `Outbox.rows`. Two of them hold everything, a list as JSON and one
# string of all bytes: an array costs the driver some twenty microseconds, however short it is, and
# an order waits for them.
INSERT_MESSAGES: Final = """
    INSERT INTO outbox (id, source, channel, stream, message)
    SELECT m.id, :message_source, m.channel, m.stream,
           substring(CAST(:message_bytes AS bytea) FROM m.start FOR m.size)
    FROM ROWS FROM (json_to_recordset(CAST(:messages AS json))
                    AS (id uuid, channel text, stream text, start int, size int))
         WITH ORDINALITY AS m(id, channel, stream, start, size, place)
    """
_INSERT: Final = text(f"{INSERT_MESSAGES} ORDER BY m.place")


class Outbox:
    """Publishes the log messages of one service, at commit and again after every loss.

    Messages are stored in the caller's transaction; once that has committed they are published
    in the order of the commits. What a crash or an absent Redis left unpublished is found by the
    sweeper. A row counts as delivered only when every acting consumer group has acknowledged it;
    until then it is published again whenever Redis turns out to be a new one.
    """

    def __init__(
        self,
        *,
        source: str,
        database: Database,
        bus: Bus,
        clock: Clock,
        ids: IdSource,
        readiness: Readiness,
        sweep_s: float,
        stream_days_max: int,
    ) -> None:
        self._source = source
        self._database = database
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._readiness = readiness
        self._sweep_s = sweep_s
        self._age_max = dt.timedelta(days=stream_days_max)
        self._queue: deque[LogMessage] = deque()
        self._posted: deque[tuple[Sequence[LogMessage], Posted]] = deque()
        self._turns = 0
        self._unmarked: list[tuple[uuid.UUID, str]] = []
        self._wake = asyncio.Event()
        self._behind = True
        self._epoch = ""
        self._full: frozenset[str] = frozenset()
        self._streams = {
            channel.stream: channel
            for channel in LOG_CHANNELS
            if channel.producer == source or channel.producer not in _SINGLE_PRODUCERS
        }

    def prepare(
        self,
        channel: Channel,
        payload: Payload,
        *,
        correlation_id: uuid.UUID,
        causation_id: uuid.UUID | None = None,
        key: str = "",
    ) -> LogMessage:
        """Seal `payload` for `channel`; store it with `store`, or by a statement of your own."""
        envelope = seal(
            payload,
            message_id=self._ids.new(),
            ts_ns=self._clock.now_ns(),
            source=self._source,
            correlation_id=correlation_id,
            causation_id=causation_id,
        )
        return LogMessage(envelope.id, channel.name(key), channel.stream, encode(envelope))

    async def add(
        self,
        tx: WriteSession,
        channel: Channel,
        payload: Payload,
        *,
        correlation_id: uuid.UUID,
        causation_id: uuid.UUID | None = None,
        key: str = "",
    ) -> uuid.UUID:
        """Store one message in `tx`, publish it after the commit; return its id."""
        message = self.prepare(
            channel,
            payload,
            correlation_id=correlation_id,
            causation_id=causation_id,
            key=key,
        )
        await self.store(tx, [message])
        return message.id

    async def store(self, tx: WriteSession, messages: Sequence[LogMessage]) -> None:
        """Store prepared messages in `tx` with one statement, publish them after the commit."""
        if not messages:
            return
        await tx.execute(_INSERT, self.rows(messages))
        self.publish_after(tx, messages)

    def rows(self, messages: Sequence[LogMessage]) -> dict[str, Any]:
        """Return the parameters of INSERT_MESSAGES, for a statement of the caller's own, which
        is followed by `publish_after`."""
        starts = accumulate((len(message.data) for message in messages), initial=1)
        rows = [
            {
                "id": message.id,
                "channel": message.channel,
                "stream": message.stream,
                "start": start,
                "size": len(message.data),
            }
            for message, start in zip(messages, starts, strict=False)
        ]
        return {
            "message_source": self._source,
            "messages": orjson.dumps(rows).decode(),
            "message_bytes": b"".join(message.data for message in messages),
        }

    def publish_after(self, tx: Transaction, messages: Sequence[LogMessage]) -> None:
        """Publish `messages`, stored in `tx` by the caller's own statement, after its commit."""
        tx.after_commit(lambda: self._enqueue(messages))

    async def hasten(self, tx: WriteSession, channel: Channel) -> None:
        """Publish after `tx` what a trigger stored for `channel`, without the sweeper's grace."""
        rows = await tx.rows(
            select(outbox.c.id, outbox.c.channel, outbox.c.message)
            .where(
                outbox.c.source == self._source,
                outbox.c.stream == channel.stream,
                outbox.c.confirmed_at.is_(None),
                outbox.c.published_at.is_(None),
            )
            .order_by(outbox.c.seq)
            .limit(_BATCH)
        )
        if rows:
            self.publish_after(
                tx,
                [LogMessage(row["id"], row["channel"], channel.stream, row["message"])
                 for row in rows],
            )  # fmt: skip

    def give_way(self, turns: int) -> None:
        """Let what a commit made ready go on for so many turns of the event loop before its
        messages are published: for a service where something more urgent follows a commit than
        the news of it."""
        self._turns = turns

    def _enqueue(self, messages: Sequence[LogMessage]) -> None:
        if self._full:
            messages = [one for one in messages if one.stream not in self._full]
            if not messages:
                return
        # Straight to the wire where nothing is before them.
        posted = None if self._turns or self._queue else self._bus.post(messages)
        if posted is None:
            self._queue.extend(messages)
        else:
            self._posted.append((messages, posted))
        self._wake.set()

    async def run(self) -> None:
        """Publish at once what commits, sweep what was left, until cancelled."""
        # Not gather: that is over when its first child is cancelled, and the other would go on
        # publishing beside `drain`. Not a task group: it asks a child to stop only once.
        tasks = {
            asyncio.create_task(self._publish_forever(), name="outbox publisher"),
            asyncio.create_task(self._sweep_forever(), name="outbox sweeper"),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            await end_all(tasks, _STOPPING_S)

    async def drain(self) -> None:
        """Publish what is queued; called at shutdown. Raises UnavailableError."""
        await self._publish_queued()
        await self._mark()

    async def _publish_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for _ in range(self._turns):
                await asyncio.sleep(0)
            try:
                await self._publish_queued()
            except UnavailableError as error:
                # The rows are in the table: let the sweeper find them, in order.
                self._posted.clear()
                self._queue.clear()
                self._behind = True
                self._readiness.block("outbox", str(error))

    async def _publish_queued(self) -> None:
        while self._posted:
            messages, posted = self._posted[0]
            stream_ids = await posted.stream_ids()
            self._posted.popleft()
            self._unmarked.extend(zip((m.id for m in messages), stream_ids, strict=True))
        while self._queue:
            batch = [self._queue[i] for i in range(min(_BATCH, len(self._queue)))]
            stream_ids = await self._bus.append(batch)
            for _ in batch:
                self._queue.popleft()
            self._unmarked.extend(zip((m.id for m in batch), stream_ids, strict=True))

    async def _sweep_forever(self) -> None:
        trimmed_at = time.monotonic()
        while True:
            try:
                await self._sweep()
                if time.monotonic() - trimmed_at > _TRIM_EVERY_S:
                    trimmed_at = time.monotonic()
                    await self._trim()
                self._readiness.clear("outbox")
            except UnavailableError as error:
                self._readiness.block("outbox", str(error))
                _log.warning("outbox_waits", error=str(error))
            await asyncio.sleep(self._sweep_s)

    async def _sweep(self) -> None:
        epoch = await self._bus.epoch()
        if epoch != self._epoch:
            if self._epoch:
                OUTBOX_EPOCHS.inc()
                _log.warning("redis_is_new", epoch=epoch)
            await self._mark()
            self._epoch = epoch
            self._behind = True
        await self._mark()
        self._full = await self._find_full()
        await self._republish(everything=self._behind)
        self._behind = False
        await self._confirm()

    async def _find_full(self) -> frozenset[str]:
        """Return the streams on which as many messages wait as may; what nobody needs any more is
        dropped from those that are long."""
        full = set()
        for stream, channel in self._streams.items():
            if not channel.length_max or await self._bus.length(stream) <= channel.length_max:
                continue
            positions = await self._bus.positions(stream)
            if positions:
                await self._bus.trim(stream, min(positions.values()))
            if await self._bus.length(stream) > channel.length_max:
                full.add(stream)
        if full - self._full:
            _log.warning("streams_full", streams=sorted(full))
        if self._full - full:
            self._behind = True
        return frozenset(full)

    async def _mark(self) -> None:
        """Note in the table what has been published."""
        if not self._unmarked:
            return
        batch, self._unmarked = self._unmarked, []
        try:
            async with self._database.write() as tx:
                await tx.execute(
                    _MARK,
                    {
                        "epoch": self._epoch,
                        "ids": [message_id for message_id, _ in batch],
                        "stream_ids": [stream_id for _, stream_id in batch],
                    },
                )
        except UnavailableError:
            self._unmarked = batch + self._unmarked
            raise

    async def _republish(self, *, everything: bool) -> None:
        """Publish, oldest first, every row that the present Redis has not seen.

        Unless `everything`, rows younger than the grace time are left to the queue.
        """
        unseen = outbox.c.published_at.is_(None) | (outbox.c.epoch != self._epoch)
        last_seq = 0
        while True:
            query = (
                select(outbox.c.seq, outbox.c.id, outbox.c.channel, outbox.c.message)
                .where(
                    outbox.c.source == self._source,
                    outbox.c.confirmed_at.is_(None),
                    unseen,
                    outbox.c.seq > last_seq,
                )
                .order_by(outbox.c.seq)
                .limit(_BATCH)
            )
            if self._full:
                query = query.where(outbox.c.stream.not_in(self._full))
            if not everything:
                query = query.where(outbox.c.created_at < text(f"now() - interval '{_GRACE}'"))
            async with self._database.read() as session:
                rows = await session.rows(query)
            OUTBOX_PENDING.set(len(rows))
            if not rows:
                return
            messages = [
                LogMessage(
                    row["id"], row["channel"], channel_of(row["channel"])[0].stream, row["message"]
                )
                for row in rows
            ]
            stream_ids = await self._bus.append(messages)
            self._unmarked.extend(zip((m.id for m in messages), stream_ids, strict=True))
            await self._mark()
            OUTBOX_SWEPT.inc(len(messages))
            last_seq = rows[-1]["seq"]

    async def _confirm(self) -> None:
        """Mark the rows that every acting group has acknowledged."""
        for stream, channel in self._streams.items():
            positions = await self._bus.positions(stream)
            if any(group not in positions for group in channel.acting):
                continue
            floor = min(positions[group] for group in channel.acting)
            if floor <= (0, 0):
                continue
            async with self._database.write() as tx:
                await tx.execute(
                    _CONFIRM,
                    {
                        "source": self._source,
                        "stream": stream,
                        "epoch": self._epoch,
                        "milliseconds": floor[0],
                        "sequence": floor[1],
                    },
                )

    async def _trim(self) -> None:
        """Drop what is old: confirmed rows, and stream entries below every group's position."""
        now = self._clock.now()
        horizons = {
            stream: now - min(self._age_max, dt.timedelta(hours=channel.hours_max))
            for stream, channel in self._streams.items()
        }
        async with self._database.write() as tx:
            for horizon in set(horizons.values()):
                streams = [name for name, until in horizons.items() if until == horizon]
                await tx.execute(
                    delete(outbox).where(
                        outbox.c.source == self._source,
                        outbox.c.stream.in_(streams),
                        outbox.c.confirmed_at < horizon,
                    )
                )
        for stream, horizon in horizons.items():
            positions = await self._bus.positions(stream)
            if positions:
                oldest = (int(horizon.timestamp() * 1000), 0)
                await self._bus.trim(stream, min(oldest, *positions.values()))


_SINGLE_PRODUCERS: Final = frozenset(
    {"strategy_engine", "risk_manager", "trade_executor", "portfolio"}
)
