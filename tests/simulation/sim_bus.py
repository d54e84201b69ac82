"""The bus in memory: logs that deliver at least once, broadcasts that may be missed, and a whole
that can be flushed. Readers keep the promises of `libs/common/runtime/consumers.py`."""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from libs.common.contracts.channels import Channel
from libs.common.contracts.envelope import Envelope, Reader
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from libs.common.runtime.resilience import pauses
from tests.simulation.dice import Dice, Weather
from tests.simulation.loop import LIFE, Bell, Letterbox, Life, until, wake
from tests.simulation.tables import Row
from tests.simulation.trace import Trace
from tests.simulation.vault import Server

_log = get_logger(__name__)

_DELIVERIES_MAX = 5
_SWEEP_S = 1.0
# What was acknowledged less than this ago may not be confirmed yet, and is told again.
_CONFIRM_S = 2.0

Handle = Callable[[Sequence[Envelope[Any]]], Awaitable[None]]


class Group:
    """The messages that one group has to act on: those to come and those in its hands."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, int, Row]] = []
        self.in_hand: dict[int, Row] = {}
        self.wake: asyncio.Future[None] | None = None


class SimBus:
    """Carries everything; holds nothing durable."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, dice: Dice, weather: Weather, trace: Trace,
        server: Server, context: Any,
    ) -> None:  # fmt: skip
        self._loop = loop
        self._dice = dice
        self._weather = weather
        self._trace = trace
        self._server = server
        self._context = context
        self._count = 0
        self._epoch = 0
        self._groups: defaultdict[tuple[str, str], Group] = defaultdict(Group)
        self._listeners: list[tuple[Life, str, Letterbox]] = []
        self.buried: list[str] = []

    # Logs -------------------------------------------------------------------------------------

    def groups(self, channel: Channel) -> list[str]:
        """Return the groups of a channel that are part of the simulation."""
        return [group for group in channel.acting if (channel.topic, group) in self._groups]

    def publish(self, row: Row) -> None:
        """Put a message before every group of its channel."""
        for name in self.groups(row.channel):
            group = self._groups[row.channel.topic, name]
            for _ in range(1 + self._dice.chance(self._weather.bus_twice)):
                late = self._dice.chance(self._weather.bus_late)
                due = self._loop.time() + self._dice.latency()
                due += self._dice.between(0.0, 3.0) if late else 0.0
                self._count += 1
                heapq.heappush(group.waiting, (due, self._count, row))
            if group.wake is not None and not group.wake.done():
                group.wake.set_result(None)

    def flush(self) -> None:
        """Lose every stream; the outboxes notice another epoch and tell again."""
        self._trace.note("bus.flushed")
        for group in self._groups.values():
            group.waiting.clear()
            group.in_hand.clear()
        self._epoch += 1
        now = self._loop.time()
        for row in self._server.tables.outbox.values():
            # An acknowledgement that is not swept yet is lost with the stream.
            row.confirmed = row.confirmed or all(
                now - row.acked_at.get(name, now) > _CONFIRM_S for name in self.groups(row.channel)
            )

    def _due(self, row: Row) -> bool:
        return not row.confirmed and row.epoch != self._epoch

    async def pump(self, source: str) -> None:
        """Publish what a service has committed: at once, and again by a sweep; for ever."""
        bell = self._server.bells[source] = Bell(self._loop)
        outbox, epoch, begin = self._server.tables.outbox, self._epoch, 0
        while True:
            await bell.wait(_SWEEP_S)
            if epoch != self._epoch:
                epoch, begin = self._epoch, 0
            whole = True  # so far everything is published: the next look begins behind it
            for row in list(islice(outbox.values(), begin, None)):
                if row.source == source and self._due(row):
                    if self._dice.chance(self._weather.outbox_skips):
                        whole = False
                        continue  # left to the next sweep
                    present = self._epoch
                    self.publish(row)
                    if self._dice.chance(self._weather.bus_twice):
                        await asyncio.sleep(self._dice.latency())  # dead before it was marked
                    row.epoch = present
                begin += whole

    def pending(self) -> int:
        """Return how many messages are still to be acted on."""
        unpublished = sum(
            self._due(row) and bool(self.groups(row.channel))
            for row in self._server.tables.outbox.values()
        )
        return unpublished + sum(
            len(group.waiting) + len(group.in_hand) for group in self._groups.values()
        )

    def join(self, channel: Channel, group: str) -> None:
        """Make a group known before its first message."""
        self._groups[channel.topic, group]

    async def consume(self, channel: Channel, name: str, handle: Handle, batch: int) -> None:
        """Act on a log for ever, first on what the life before had in its hands."""
        group = self._groups[channel.topic, name]
        reader = Reader(channel.payload)
        now = self._loop.time()
        for number, row in list(group.in_hand.items()):
            heapq.heappush(group.waiting, (now, number, row))
        group.in_hand.clear()
        while True:
            entries = await self._take(group, batch)
            letters = [(number, row, reader.read(row.data)) for number, row in entries]
            if await self._attempt(channel, handle, [one[2] for one in letters]):
                for number, row, _ in letters:
                    self._done(group, name, number, row)
                continue
            for number, row, letter in letters:
                await self._insist(channel, handle, letter)
                self._done(group, name, number, row)

    async def _take(self, group: Group, batch: int) -> list[tuple[int, Row]]:
        while True:
            now = self._loop.time()
            taken: list[tuple[int, Row]] = []
            while group.waiting and group.waiting[0][0] <= now and len(taken) < batch:
                _, number, row = heapq.heappop(group.waiting)
                taken.append((number, row))
                group.in_hand[number] = row
            if taken:
                return taken
            group.wake = self._loop.create_future()
            left = group.waiting[0][0] - now if group.waiting else None
            waiter: asyncio.Future[None] = self._loop.create_future()
            heard = partial(_wake, waiter)
            group.wake.add_done_callback(heard)
            await until(waiter, left, self._loop)
            group.wake.remove_done_callback(heard)

    def _done(self, group: Group, name: str, number: int, row: Row) -> None:
        group.in_hand.pop(number, None)
        row.acked_at.setdefault(name, self._loop.time())

    async def _insist(self, channel: Channel, handle: Handle, letter: Envelope[Any]) -> None:
        failures = 0
        async for _ in pauses(0.05, 2.0):
            done = await self._attempt(channel, handle, [letter])
            if done:
                return
            failures += done is None
            if failures >= _DELIVERIES_MAX:
                self.buried.append(f"{channel.topic} {letter.id}")
                return

    async def _attempt(
        self, channel: Channel, handle: Handle, letters: list[Envelope[Any]]
    ) -> bool | None:
        """Return True when it was done, False when it has to wait, None when it failed."""
        try:
            await handle(letters)
        except UnavailableError as error:
            _log.warning("message_waits", topic=channel.topic, error=str(error))
            return False
        except Exception:  # noqa: BLE001 - the edge, as in the real reader
            _log.exception("message_failed", topic=channel.topic)
            return None
        return True

    # Broadcasts -------------------------------------------------------------------------------

    async def broadcast(self, channel: Channel, envelope: Envelope[Any], *, key: str = "") -> None:
        """Tell whoever listens."""
        del key
        self.call_out(channel, envelope)

    def call_out(self, channel: Channel, envelope: Envelope[Any]) -> None:
        """Tell whoever listens, now or a little later, or not at all."""
        self._listeners = [one for one in self._listeners if not one[0].dead]
        for _, topic, letters in self._listeners:
            if topic != channel.topic or self._dice.chance(self._weather.broadcast_lost):
                continue
            self._loop.call_later(
                self._dice.latency(), letters.put, envelope, context=self._context
            )

    async def listen(
        self, channel: Channel, handle: Callable[[Envelope[Any]], Awaitable[None]]
    ) -> None:
        """Follow a broadcast for ever."""
        letters = Letterbox(self._loop)
        life = LIFE.get()
        assert life is not None
        self._listeners.append((life, channel.topic, letters))
        while True:
            await handle(await letters.take())


def _wake(waiter: asyncio.Future[None], heard: object) -> None:
    wake(waiter)


__all__ = ["Group", "SimBus"]
