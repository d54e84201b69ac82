"""A Pub/Sub connection read in bursts, for the channels that carry market data.

Market data comes in bursts of one message a symbol, to four services at once. This reads what has
arrived in one go, with hiredis, redis-py's own parser, and nothing around it.
Everything else speaks to Redis through redis-py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url

from libs.common.kernel.errors import UnavailableError

_PING_S: Final = 5.0
_SILENT_MAX: Final = 3
_WAITING_MAX: Final = 20_000


class Subscription(asyncio.Protocol):
    """The messages of one pattern, in the order of their arrival. Made by `subscribe`.

    A connection that stays silent in spite of three pings counts as lost. When
    `take` is not called often enough, reading pauses, and Redis drops the connection once its
    own buffer for it is full.
    """

    def __init__(self, commands: list[tuple[str, ...]], ping_s: float) -> None:
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
        self._transport.write(b"".join(map(_packed, self._commands)))
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
        self._transport.write(_packed(("PING",)))
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


def _packed(command: tuple[Any, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(command)
    return packed


@asynccontextmanager
async def subscribe(
    url: str, pattern: str, *, timeout_s: float, name: str, ping_s: float = _PING_S
) -> AsyncIterator[Subscription]:
    """Open a subscription to the channels that match `pattern`.

    `url` is one that redis-py understands (redis, rediss, unix). Raises UnavailableError when
    Redis cannot be reached or refuses.
    """
    options: dict[str, Any] = dict(parse_url(url))
    commands: list[tuple[str, ...]] = []
    if options.get("password"):
        user = (options["username"],) if options.get("username") else ()
        commands.append(("AUTH", *user, options["password"]))
    commands += [("CLIENT", "SETNAME", name), ("PSUBSCRIBE", pattern)]
    try:
        async with asyncio.timeout(timeout_s):
            subscription = await _connect(options, lambda: Subscription(commands, ping_s))
    except (OSError, TimeoutError) as error:
        raise UnavailableError(f"redis: {error or 'no answer in time'}") from error
    try:
        try:
            await asyncio.wait_for(subscription.confirmed, timeout_s)
        except TimeoutError as error:
            raise UnavailableError("redis: no answer in time") from error
        yield subscription
    finally:
        subscription.close()


async def _connect(options: dict[str, Any], made: Callable[[], Subscription]) -> Subscription:
    loop = asyncio.get_running_loop()
    if "path" in options:
        return (await loop.create_unix_connection(made, options["path"]))[1]
    context = None
    if options.get("connection_class") is not None and issubclass(
        options["connection_class"], SSLConnection
    ):
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if options.get("ssl_certfile"):
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    return (await loop.create_connection(made, host, port, ssl=context))[1]
