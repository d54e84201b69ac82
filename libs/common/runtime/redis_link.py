"""A connection to Redis that says several commands in one write and reads their answers in one.

For the channels that an order passes: redis-py spends a quarter of a millisecond of work on each
command, and twice that where its code is not in the cache. This is hiredis, redis-py's own parser,
and nothing around it. What nobody waits for goes through redis-py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url

from libs.common.kernel.errors import UnavailableError

Command = tuple[str | bytes | int, ...]
L = TypeVar("L", bound=asyncio.Protocol)

_PORT: Final = 6379
# Its stub knows commands of one word only.
_pack: Final[Callable[[Command], bytes]] = cast(Any, hiredis.pack_command)


class Link(asyncio.Protocol):
    """Commands there, answers back, in order. Made by `open_link`.

    A link that was lost, or did not answer in time, is `closed` and is not used again.
    """

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._asked: deque[tuple[int, list[Any], asyncio.Future[list[Any]]]] = deque()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.closed = False

    async def ask(self, commands: Sequence[Command], timeout_s: float) -> list[Any]:
        """Say `commands` in one write; return their answers, errors of the server among them.

        Raises UnavailableError when the connection is lost or nothing comes for `timeout_s`;
        whether the commands were carried out is then unknown.
        """
        return await self.say(commands, timeout_s)

    def say(self, commands: Sequence[Command], timeout_s: float) -> asyncio.Future[list[Any]]:
        """Do as `ask`, at once: what is said next is said after it."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if self.closed or self._transport is None:
            future.set_exception(UnavailableError("redis: connection closed"))
            return future
        self._asked.append((len(commands), [], future))
        self._transport.write(packed(commands))
        timer = self._loop.call_later(timeout_s, self._lose, "no answer in time")

        def done(future: asyncio.Future[list[Any]]) -> None:
            timer.cancel()
            if not future.cancelled():
                future.exception()  # seen, also where nobody waits any more

        future.add_done_callback(done)
        return future

    def close(self) -> None:
        """End the connection."""
        self._lose("connection closed")

    # What the event loop calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport."""
        # A cast: uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand out the answers that are complete."""
        try:
            self._reader.feed(data)
            while self._asked and (reply := self._reader.gets()) is not False:
                wanted, answers, future = self._asked[0]
                answers.append(reply)
                if len(answers) == wanted:
                    self._asked.popleft()
                    if not future.done():
                        future.set_result(answers)
        except hiredis.ProtocolError as error:
            self._lose(f"unreadable answer: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self._lose(str(error) if error else "connection closed by the server")

    def _lose(self, why: str) -> None:
        if self.closed:
            return
        self.closed = True
        for _, _, future in self._asked:
            if not future.done():
                future.set_exception(UnavailableError(f"redis: {why}"))
        self._asked.clear()
        if self._transport is not None:
            self._transport.abort()


async def open_link(url: str, *, timeout_s: float, name: str) -> Link:
    """Open a link, logged in. Raises UnavailableError where Redis cannot be reached or refuses."""
    options = options_of(url)
    link = await connected(options, Link, timeout_s)
    commands: list[Command] = login(options, name)
    if options.get("db"):
        commands.append(("SELECT", int(options["db"])))
    try:
        for answer in await link.ask(commands, timeout_s):
            good(answer)
    except BaseException:
        link.close()
        raise
    return link


def packed(commands: Sequence[Command]) -> bytes:
    """Return commands as they go over the wire."""
    return b"".join([_pack(one) for one in commands])


def good(answer: Any) -> Any:
    """Return an answer that is none of the server's errors. Raises UnavailableError."""
    if isinstance(answer, hiredis.ReplyError):
        raise UnavailableError(f"redis: {answer}") from answer
    return answer


def options_of(url: str) -> dict[str, Any]:
    """Return what a URL says (redis, rediss, unix), in redis-py's words."""
    return dict(parse_url(url))


def login(options: dict[str, Any], name: str) -> list[Command]:
    """Return the commands that a connection begins with."""
    commands: list[Command] = []
    if options.get("password"):
        user = (options["username"],) if options.get("username") else ()
        commands.append(("AUTH", *user, options["password"]))
    return [*commands, ("CLIENT", "SETNAME", name)]


async def connected(options: dict[str, Any], made: Callable[[], L], timeout_s: float) -> L:
    """Connect. Raises UnavailableError."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _connect(options, made)
    except (OSError, TimeoutError) as error:
        raise UnavailableError(f"redis: {error or 'no answer in time'}") from error


async def _connect(options: dict[str, Any], made: Callable[[], L]) -> L:
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
    host, port = options.get("host", "localhost"), options.get("port", _PORT)
    return (await loop.create_connection(made, host, port, ssl=context))[1]
