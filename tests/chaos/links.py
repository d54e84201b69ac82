"""The connections between parts, each through a proxy that can cut, swallow or delay it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

Target = Callable[[str], int | None]
"""Returns the port on which a server listens now, None while it has none."""

CHUNK_BYTES = 65_536
CONNECT_S_MAX = 5.0


class Weather(Enum):
    """What a link does with what is sent over it."""

    CLEAR = "clear"
    CUT = "cut"  # connections are reset, new ones refused
    HOLE = "hole"  # connections stand, nothing passes either way
    HALF = "half"  # what is asked arrives, what is answered does not
    SLOW = "slow"  # every piece comes late


@dataclass
class Link:
    """One service's way to one server."""

    service: str
    server: str
    port: int = 0
    weather: Weather = Weather.CLEAR
    delay_s: float = 0.0
    pairs: set[Pair] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Return `service>server`."""
        return f"{self.service}>{self.server}"


@dataclass(eq=False)
class Pair:
    """The two sockets of one connection."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter

    def reset(self) -> None:
        """Drop both without a word."""
        self.near.transport.abort()
        self.far.transport.abort()


class Links:
    """All proxies, on a loop in a thread of their own."""

    def __init__(self, names: Sequence[tuple[str, str]], target: Target) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self.all = {f"{a}>{b}": Link(a, b) for a, b in names}

    @property
    def via(self) -> str:
        """Return the value of TRADEWIND_VIA that leads everything through here."""
        return ",".join(f"{link.name}={link.port}" for link in self.all.values())

    def set(self, name: str, weather: Weather, delay_s: float = 0.0) -> int:
        """Change a link's weather; returns how many connections it hits.

        What a hole or a half-open link has swallowed is lost for good: at the end of either its
        connections are reset, as a stateful firewall would do with flows it forgot.
        """

        async def change() -> int:
            link = self.all[name]
            before, link.weather, link.delay_s = link.weather, weather, delay_s
            struck = len(link.pairs)
            if weather is Weather.CUT or before in {Weather.HOLE, Weather.HALF}:
                for pair in list(link.pairs):
                    pair.reset()
            return struck

        return asyncio.run_coroutine_threadsafe(change(), self._loop).result(10)

    async def _serve(self, ready: threading.Event) -> None:
        for link in self.all.values():
            server = await asyncio.start_server(_handler(link, self._target), "127.0.0.1", 0)
            link.port = server.sockets[0].getsockname()[1]
        ready.set()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(ready))
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    @contextmanager
    def running(self) -> Iterator[Links]:
        """Serve until the block ends."""
        ready = threading.Event()
        thread = threading.Thread(target=self._run, args=(ready,), name="links", daemon=True)
        thread.start()
        if not ready.wait(10):
            raise RuntimeError("the proxies did not start")
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)


def _handler(
    link: Link, target: Target
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = None if link.weather is Weather.CUT else target(link.server)
        try:
            if port is None:
                raise ConnectionRefusedError
            async with asyncio.timeout(CONNECT_S_MAX):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, TimeoutError):
            writer.transport.abort()
            return
        pair = Pair(writer, far_writer)
        link.pairs.add(pair)
        try:
            await asyncio.gather(
                _pass(link, reader, far_writer, (Weather.HOLE,)),
                _pass(link, far_reader, writer, (Weather.HOLE, Weather.HALF)),
            )
        finally:
            link.pairs.discard(pair)
            pair.reset()

    return handle


async def _pass(
    link: Link,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    swallowing: Sequence[Weather],
) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(CHUNK_BYTES):
            if link.weather in swallowing:
                continue
            if link.weather is Weather.SLOW:
                await asyncio.sleep(link.delay_s)
            writer.write(data)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
