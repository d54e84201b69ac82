"""Redis: Pub/Sub for what may be missed, Streams for what may not."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from libs.common.contracts.channels import DEAD_LETTERS, Channel, Kind
from libs.common.contracts.envelope import Envelope, encode
from libs.common.kernel.errors import ContractError, UnavailableError
from libs.common.runtime.metrics import BUS_PUBLISHED
from libs.common.runtime.redis_link import Command, Link, good, open_link
from libs.common.runtime.subscription import Subscription, subscribe

FIELD: Final = "message"
_EPOCH_KEY: Final = "tradewind:epoch"
_DEAD_LENGTH_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class LogMessage:
    """A sealed message on its way to a log channel: Pub/Sub name, stream, bytes."""

    id: uuid.UUID
    channel: str
    stream: str
    data: bytes


class Posted:
    """The answer to messages that are on their way."""

    def __init__(self, answers: asyncio.Future[list[Any]]) -> None:
        self._answers = answers

    async def stream_ids(self) -> list[str]:
        """Wait for it; as `Bus.append`."""
        # Shielded: who stops waiting leaves the answer to who asks next.
        answers = await asyncio.shield(self._answers)
        for answer in answers:
            good(answer)
        return _appended(answers)


class Bus:
    """The service's way to Redis. Connections are opened on first use."""

    def __init__(self, url: str, *, timeout_s: float, name: str) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._name = name
        self.client = self.connect(timeout_s)
        self._link: Link | None = None
        self._opening = asyncio.Lock()

    def connect(self, timeout_s: float | None) -> redis.Redis:
        """Return a new client whose reads wait at most `timeout_s` (None: for ever)."""
        return redis.Redis.from_url(
            self._url,
            socket_timeout=timeout_s,
            socket_connect_timeout=self._timeout_s,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            client_name=self._name,
        )

    async def link(self) -> Link:
        """Open a link that is the caller's to close. Raises UnavailableError."""
        return await open_link(self._url, timeout_s=self._timeout_s, name=self._name)

    async def _say(self, commands: Sequence[Command]) -> list[Any]:
        """Say `commands` over the bus' own link; raise UnavailableError unless all went well."""
        link = self._link
        if link is None or link.closed:
            async with self._opening:
                if self._link is None or self._link.closed:
                    self._link = await self.link()
                link = self._link
        answers = await link.ask(commands, self._timeout_s)
        for answer in answers:
            good(answer)
        return answers

    def subscribe(self, pattern: str) -> AbstractAsyncContextManager[Subscription]:
        """Open a subscription to the channels that match `pattern`. Raises UnavailableError."""
        return subscribe(self._url, pattern, timeout_s=self._timeout_s, name=self._name)

    async def ping(self) -> None:
        """Raise UnavailableError unless Redis answers."""
        await _reached(self.client.ping())

    async def epoch(self) -> str:
        """Return the name of Redis' present life; another name means that streams may be lost.

        It joins the server's run id (new at each restart) with a random key (gone after a flush).
        """
        pipe = self.client.pipeline(transaction=False)
        pipe.set(_EPOCH_KEY, uuid.uuid4().hex, nx=True)
        pipe.get(_EPOCH_KEY)
        pipe.info("server")
        _, key, info = await _reached(pipe.execute())
        return f"{info['run_id']}:{key.decode()}"

    async def broadcast(self, channel: Channel, envelope: Envelope[Any], *, key: str = "") -> None:
        """Publish on a broadcast channel; nobody may be listening. Raises UnavailableError."""
        if channel.kind is not Kind.BROADCAST:
            raise ContractError(f"{channel.topic} is a log channel: it goes through the outbox")
        await self._say([("PUBLISH", channel.name(key), encode(envelope))])
        BUS_PUBLISHED.labels(channel.topic).inc()

    async def broadcast_many(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish encoded (channel name, envelope) pairs in one round trip."""
        if messages:
            await self._say([("PUBLISH", name, data) for name, data in messages])

    async def append(self, messages: Sequence[LogMessage]) -> list[str]:
        """Append each message to its stream and publish it; return the stream ids.

        One MULTI for all, so either every message is on its stream or none. Raises
        UnavailableError, after which the outcome is unknown and sending again is right.
        """
        return _appended(await self._say(_append(messages)))

    def post(self, messages: Sequence[LogMessage]) -> Posted | None:
        """Do as `append`, at once, without waiting for the answer; None, and nothing done, while
        there is no connection."""
        if self._link is None or self._link.closed:
            return None
        return Posted(self._link.say(_append(messages), self._timeout_s))

    async def ensure_group(self, stream: str, group: str) -> None:
        """Create the consumer group at the stream's beginning unless it exists."""
        try:
            await _reached(self.client.xgroup_create(stream, group, id="0", mkstream=True))
        except UnavailableError as error:
            if not (isinstance(error.__cause__, ResponseError) and "BUSYGROUP" in str(error)):
                raise

    async def bury(self, stream: str, group: str, entry_id: str, data: bytes, error: str) -> None:
        """Put a message that cannot be handled on the dead-letter stream and acknowledge it."""
        pipe = self.client.pipeline(transaction=True)
        pipe.xadd(
            DEAD_LETTERS,
            {"stream": stream, "group": group, "id": entry_id, "error": error, FIELD: data},
            maxlen=_DEAD_LENGTH_MAX,
            approximate=True,
        )
        pipe.xack(stream, group, entry_id)
        await _reached(pipe.execute())

    async def positions(self, stream: str) -> dict[str, tuple[int, int]]:
        """Return, for each group of `stream`, the last entry below which all is acknowledged."""
        try:
            groups = await _reached(self.client.xinfo_groups(stream))
        except UnavailableError as error:
            if isinstance(error.__cause__, ResponseError):
                return {}
            raise
        positions = {}
        for group in groups:
            name = group["name"].decode()
            if group["pending"]:
                summary = await _reached(self.client.xpending(stream, name))
                milliseconds, sequence = parse_entry_id(summary["min"] or b"0-0")
                positions[name] = (milliseconds, sequence - 1)
            else:
                positions[name] = parse_entry_id(group["last-delivered-id"])
        return positions

    async def length(self, stream: str) -> int:
        """Return how many messages lie on `stream`."""
        return int(await _reached(self.client.xlen(stream)))

    async def trim(self, stream: str, minimum: tuple[int, int]) -> None:
        """Drop the entries of `stream` below `minimum`."""
        # What lies below the first entry of a millisecond lies below the millisecond.
        minid = f"{minimum[0]}-{max(minimum[1], 0)}"
        await _reached(self.client.xtrim(stream, minid=minid, approximate=True))

    async def close(self) -> None:
        """Close all connections."""
        if self._link is not None:
            self._link.close()
        await self.client.aclose()


def _append(messages: Sequence[LogMessage]) -> list[Command]:
    commands: list[Command] = [("MULTI",)]
    for message in messages:
        commands.append(("XADD", message.stream, "*", FIELD, message.data))
        commands.append(("PUBLISH", message.channel, message.data))
    return [*commands, ("EXEC",)]


def _appended(answers: Sequence[Any]) -> list[str]:
    """Return the ids that EXEC told, the last answer; each message has two."""
    told = [good(answer) for answer in answers[-1]]
    BUS_PUBLISHED.labels("log").inc(len(told) // 2)
    return [answer.decode() for answer in told[::2]]


def parse_entry_id(text: bytes | str) -> tuple[int, int]:
    """Return a stream entry id as (milliseconds, sequence)."""
    decoded = text.decode() if isinstance(text, bytes) else text
    milliseconds, _, sequence = decoded.partition("-")
    return int(milliseconds), int(sequence or 0)


async def _reached(call: Any) -> Any:
    """Await a Redis call; turn every failure of it into UnavailableError."""
    try:
        return await call
    except (RedisError, OSError, TimeoutError) as error:
        raise UnavailableError(f"redis: {error or type(error).__name__}") from error
