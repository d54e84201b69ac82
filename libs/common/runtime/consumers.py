"""Reading channels: log consumers that must not miss, listeners that may."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from hiredis import ReplyError

from libs.common.contracts.channels import Channel
from libs.common.contracts.envelope import Envelope, Reader
from libs.common.contracts.messages import Payload
from libs.common.kernel.clock import parse_ns
from libs.common.kernel.errors import ContractError, UnavailableError
from libs.common.runtime.bus import FIELD, Bus
from libs.common.runtime.logging import correlation_id_var, get_logger
from libs.common.runtime.metrics import (
    BUS_BREAKS,
    BUS_CONSUMED,
    BUS_DEAD,
    BUS_FAILED,
    BUS_LAG,
)
from libs.common.runtime.readiness import Readiness
from libs.common.runtime.redis_link import Command, Link, good
from libs.common.runtime.resilience import pauses
from libs.common.runtime.subscription import Subscription

_log = get_logger(__name__)

P = TypeVar("P", bound=Payload)
Entry = tuple[bytes, dict[bytes, bytes]]
DeadLetterHook = Callable[[str, str, str], Awaitable[None]]

_BLOCK_MS: Final = 2000
_ANSWER_S: Final = _BLOCK_MS / 1000 + 5
_RETRY_DELAY_S: Final = 0.05
_RETRY_DELAY_S_MAX: Final = 2.0
_TURN: Final = 100


@dataclass(frozen=True)
class LogConsumer(Generic[P]):
    """Acts on a log channel: `handle` gets up to `batch` messages, oldest first.

    Returning means done; the messages are then acknowledged. When `handle` raises, the batch is
    given again, one message at a time. UnavailableError is waited out for as long as it takes;
    any other exception counts, and after the fifth the message goes to the dead letters.
    Handling must bear repetition.
    """

    channel: Channel
    handle: Callable[[Sequence[Envelope[P]]], Awaitable[None]]
    batch: int = 64
    group: str | None = None


@dataclass(frozen=True)
class BroadcastListener(Generic[P]):
    """Follows a broadcast channel (all keys of its topic). What is missed is missed."""

    channel: Channel
    handle: Callable[[Envelope[P]], Awaitable[None]]


class LogReader:
    """Runs one LogConsumer as consumer `instance` of group `service`."""

    def __init__(
        self,
        bus: Bus,
        consumer: LogConsumer[Any],
        *,
        service: str,
        instance: str,
        readiness: Readiness,
        claim_idle_s: float,
        deliveries_max: int,
        on_dead: DeadLetterHook | None = None,
    ) -> None:
        self._bus = bus
        self._consumer = consumer
        self._stream = consumer.channel.stream
        self._topic = consumer.channel.topic
        self._group = consumer.group or service
        self._name = instance
        self._readiness = readiness
        self._claim_idle_ms = round(claim_idle_s * 1000)
        self._deliveries_max = deliveries_max
        self._on_dead = on_dead
        self._reader = Reader(consumer.channel.payload)
        self._failures: dict[bytes, int] = defaultdict(int)
        self._acknowledged: list[bytes] = []  # done, and not yet told

    async def run(self) -> None:
        """Read until cancelled; outlive every loss of Redis."""
        part = f"consumer {self._topic}"
        delays = pauses(_RETRY_DELAY_S, _RETRY_DELAY_S_MAX)
        async for _ in delays:
            try:
                await self._bus.ensure_group(self._stream, self._group)
                link = await self._bus.link()
                try:
                    self._readiness.clear(part)
                    await self._read(link)
                finally:
                    link.close()
                    self._acknowledged.clear()
            except UnavailableError as error:
                BUS_BREAKS.inc()
                self._readiness.block(part, str(error))
                _log.warning("consumer_interrupted", topic=self._topic, error=str(error))

    async def _read(self, link: Link) -> None:
        # First what this very consumer had been given before it died, then the news.
        position = "0"
        claimed_at = 0.0
        while True:
            if time.monotonic() - claimed_at > self._claim_idle_ms / 2000:
                await self._claim(link)
                claimed_at = time.monotonic()
            entries = await self._fetch(link, position)
            if position != ">":
                if not entries:
                    position = ">"
                    continue
                position = entries[-1][0].decode()
            if entries:
                await self._work(entries)

    async def _ask(self, link: Link, command: Command) -> Any:
        """Acknowledge what is done and ask for more, in one write; None without the group.

        Until then an entry that is done is not acknowledged: should we die now it comes again.
        """
        commands: list[Command] = [command]
        if self._acknowledged:
            commands.insert(0, ("XACK", self._stream, self._group, *self._acknowledged))
            self._acknowledged.clear()
        *before, answer = await link.ask(commands, _ANSWER_S)
        for one in before:
            good(one)
        if isinstance(answer, ReplyError) and "NOGROUP" in str(answer):
            # Redis was flushed: begin anew; the outboxes will publish again.
            await self._bus.ensure_group(self._stream, self._group)
            return None
        return good(answer)

    async def _fetch(self, link: Link, position: str) -> list[Entry]:
        news = position == ">"
        answer = await self._ask(
            link,
            (
                "XREADGROUP", "GROUP", self._group, self._name, "COUNT", self._consumer.batch,
                *(("BLOCK", _BLOCK_MS) if news else ()), "STREAMS", self._stream, position,
            ),
        )  # fmt: skip
        return [_entry(found) for found in answer[0][1]] if answer else []

    async def _claim(self, link: Link) -> None:
        """Take over what another consumer of the group holds and does not finish."""
        answer = await self._ask(
            link,
            (
                "XAUTOCLAIM", self._stream, self._group, self._name, self._claim_idle_ms, "0-0",
                "COUNT", self._consumer.batch,
            ),
        )  # fmt: skip
        # What was trimmed from the stream has no fields any more.
        entries = [_entry(found) for found in answer[1] if found and found[1]] if answer else []
        if entries:
            await self._work(entries)

    async def _work(self, entries: list[Entry]) -> None:
        readable: list[tuple[Entry, Envelope[Any]]] = []
        for entry in entries:
            try:
                readable.append((entry, self._reader.read(entry[1][FIELD.encode()])))
            except (ContractError, KeyError) as error:
                await self._bury(entry, f"{type(error).__name__}: {error}")
        if not readable:
            return
        if await self._attempt([envelope for _, envelope in readable], single=len(readable) == 1):
            self._acknowledged += [entry[0] for entry, _ in readable]
            return
        for entry, envelope in readable:
            if await self._insist(entry, envelope):
                self._acknowledged.append(entry[0])

    async def _insist(self, entry: Entry, envelope: Envelope[Any]) -> bool:
        """Handle one message until it is done, or has failed too often and is buried: False."""
        async for _ in pauses(_RETRY_DELAY_S, _RETRY_DELAY_S_MAX):
            if await self._attempt([envelope], single=True, entry=entry):
                self._failures.pop(entry[0], None)
                return True
            if self._failures[entry[0]] >= self._deliveries_max:
                break
        self._failures.pop(entry[0])
        await self._bury(entry, "failed too often, see the log")
        return False

    async def _attempt(
        self, envelopes: list[Envelope[Any]], *, single: bool, entry: Entry | None = None
    ) -> bool:
        token = correlation_id_var.set(envelopes[0].correlation_id if single else None)
        try:
            await self._consumer.handle(envelopes)
        except UnavailableError as error:
            BUS_FAILED.labels(self._topic).inc()
            _log.warning("message_waits", topic=self._topic, error=str(error))
            return False
        except Exception:  # noqa: BLE001 - the edge: logged once, retried, then buried
            BUS_FAILED.labels(self._topic).inc()
            if entry is not None:
                self._failures[entry[0]] += 1
            _log.exception("message_failed", topic=self._topic, messages=len(envelopes))
            return False
        finally:
            correlation_id_var.reset(token)
        now = time.time_ns()
        lag = BUS_LAG.labels(self._topic)
        for envelope in envelopes:
            lag.observe(max(0.0, (now - parse_ns(envelope.ts)) / 1e9))
        BUS_CONSUMED.labels(self._topic).inc(len(envelopes))
        return True

    async def _bury(self, entry: Entry, error: str) -> None:
        entry_id = entry[0].decode()
        BUS_DEAD.labels(self._topic).inc()
        _log.error("message_buried", topic=self._topic, entry=entry_id, error=error)
        data = entry[1].get(FIELD.encode(), b"")
        await self._bus.bury(self._stream, self._group, entry_id, data, error)
        if self._on_dead is not None:
            await self._on_dead(self._topic, entry_id, error)


def _entry(found: list[Any]) -> Entry:
    """Return an entry's id and fields; one that was trimmed away meanwhile has none."""
    values = found[1] or []
    return found[0], dict(zip(values[::2], values[1::2], strict=True))


class BroadcastReader:
    """Runs one BroadcastListener."""

    def __init__(
        self,
        bus: Bus,
        listener: BroadcastListener[Any],
        *,
        readiness: Readiness,
        pattern: str | None = None,
    ) -> None:
        """`pattern` narrows what is followed; without it all keys of the topic are."""
        self._bus = bus
        self._listener = listener
        self._topic = listener.channel.topic
        self._pattern = pattern or listener.channel.pattern
        self._readiness = readiness
        self._reader = Reader(listener.channel.payload)

    async def run(self) -> None:
        """Listen until cancelled; outlive every loss of Redis."""
        part = f"listener {self._topic}"
        async for _ in pauses(_RETRY_DELAY_S, _RETRY_DELAY_S_MAX):
            try:
                async with self._bus.subscribe(self._pattern) as subscription:
                    self._readiness.clear(part)
                    await self._listen(subscription)
            except UnavailableError as error:
                BUS_BREAKS.inc()
                self._readiness.block(part, str(error))
                _log.warning("listener_interrupted", topic=self._topic, error=str(error))

    async def _listen(self, subscription: Subscription) -> None:
        while True:
            messages = await subscription.take()
            for position, data in enumerate(messages, start=1):
                await self._hear(data)
                if position % _TURN == 0:
                    await asyncio.sleep(0)  # a flood must not keep the service from its other work

    async def _hear(self, data: bytes) -> None:
        try:
            await self._listener.handle(self._reader.read(data))
        except ContractError as error:
            BUS_FAILED.labels(self._topic).inc()
            _log.error("broadcast_unreadable", topic=self._topic, error=str(error))
        except UnavailableError as error:
            BUS_FAILED.labels(self._topic).inc()
            _log.warning("broadcast_dropped", topic=self._topic, error=str(error))
        except Exception:  # noqa: BLE001 - one bad message must not deafen the service
            BUS_FAILED.labels(self._topic).inc()
            _log.exception("broadcast_failed", topic=self._topic)
        else:
            BUS_CONSUMED.labels(self._topic).inc()
