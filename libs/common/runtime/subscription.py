"""A Pub/Sub connection read in bursts, for the channels that carry market data.

Market data comes in bursts of one message a symbol, to four services at once. This reads what has
arrived in one go, with hiredis, redis-py's own parser, and nothing around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import hiredis

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.redis_link import Command, connected, login, options_of, packed

_PING_S: Final = 5.0
_SILENT_MAX: Final = 3
_WAITING_MAX: Final = 20_000


class Subscription(asyncio.Protocol):
    """The messages of one pattern, in the order of their arrival. Made by `subscribe`.

    A connection that stays silent in spite of three pings counts as lost. When
    `take` is not called often enough, reading pauses, and Redis drops the connection once its
    own buffer for it is full.
    """

    def __init__(self, commands: Sequence[Command], ping_s: float) -> None:
        self._commands = commands
        self._ping_s = ping_s
        self._reader = hiredis.Reader()
        self._waiting: list[bytes] = []
        self._wake = asyncio.Event()
        self._lost: str | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._silent = 0
        self._pinger: asyncio.TimerHandle | None = None
        self.confirmed = asyncio.get_running_loop().create_future()

    async def take(self) -> list[bytes]:
        """Return everything that has come, waiting for the first; raises UnavailableError when
        the connection is lost."""
        while not self._waiting:
            if self._lost is not None:
                raise UnavailableError(f"redis: {self._lost}")
            self._wake.clear()
            await self._wake.wait()
        taken, self._waiting = self._waiting, []
        if self._paused and self._transport is not None:
            self._paused = False
            self._silent = 0
            self._transport.resume_reading()
        return taken

    def close(self) -> None:
        """End the connection."""
        self._lose("closed")
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Log in and subscribe, in one write."""
        # A cast: uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(packed(self._commands))
        self._pinger = asyncio.get_running_loop().call_later(self._ping_s, self._ping)

    def data_received(self, data: bytes) -> None:
        """Take apart what has come."""
        self._silent = 0
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._hear(reply)
        except hiredis.ProtocolError as error:
            self._lose(f"unreadable answer: {error}")
        if self._waiting:
            self._wake.set()
            if len(self._waiting) > _WAITING_MAX and not self._paused and self._transport:
                self._paused = True
                self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self._lose(str(error) if error else "connection closed by the server")

    def _hear(self, reply: Any) -> None:
        if isinstance(reply, list) and reply:
            if reply[0] == b"pmessage":
                self._waiting.append(reply[3])
            elif reply[0] == b"psubscribe" and not self.confirmed.done():
                self.confirmed.set_result(None)
        elif isinstance(reply, hiredis.ReplyError):
            self._lose(str(reply))

    def _ping(self) -> None:
        if self._lost is not None or self._transport is None:
            return
        if self._silent >= _SILENT_MAX and not self._paused:
            self._lose(f"silent for {_SILENT_MAX * self._ping_s:g} s")
            return
        self._silent += 1
        self._transport.write(packed([("PING",)]))
        self._pinger = asyncio.get_running_loop().call_later(self._ping_s, self._ping)

    def _lose(self, why: str) -> None:
        if self._lost is None:
            self._lost = why
            self._wake.set()
            if self._pinger is not None:
                self._pinger.cancel()
            if not self.confirmed.done():
                self.confirmed.set_exception(UnavailableError(f"redis: {why}"))
            if self._transport is not None:
                self._transport.abort()


@asynccontextmanager
async def subscribe(
    url: str, pattern: str, *, timeout_s: float, name: str, ping_s: float = _PING_S
) -> AsyncIterator[Subscription]:
    """Open a subscription to the channels that match `pattern`.

    `url` is one that redis-py understands (redis, rediss, unix). Raises UnavailableError when
    Redis cannot be reached or refuses.
    """
    options = options_of(url)
    commands = [*login(options, name), ("PSUBSCRIBE", pattern)]
    subscription = await connected(options, lambda: Subscription(commands, ping_s), timeout_s)
    try:
        try:
            await asyncio.wait_for(subscription.confirmed, timeout_s)
        except TimeoutError as error:
            raise UnavailableError("redis: no answer in time") from error
        yield subscription
    finally:
        subscription.close()
