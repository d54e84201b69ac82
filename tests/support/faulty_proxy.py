"""A TCP proxy on loopback that holds back, swallows and cuts, on the word of a test.

```python
with faulty_proxy(simulator.port) as proxy:
    proxy.late_answers(b"POST /v2/orders", seconds=0.5)   # carried out at once, answered late
    proxy.late_requests(b"POST /v2/orders", seconds=3)    # the client has given up by then
    proxy.cut_answers(b'"kind":"book"')                   # carried out, the answer never comes
    proxy.silent = True                                   # a black hole
    proxy.refuse()                                        # nobody listens
```
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class _Act(Enum):
    LATE_ANSWER = auto()
    LATE_REQUEST = auto()
    CUT_ANSWER = auto()
    CUT_REQUEST = auto()


@dataclass
class Rule:
    """What happens to the next `left` requests that contain `words`."""

    words: bytes
    act: _Act
    seconds: float
    left: int
    hits: int = 0


@dataclass(eq=False)
class _Link:
    """One client's connection and what awaits its next answer."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    answer_late_s: float = 0.0
    answer_cut: bool = False


@dataclass
class FaultyProxy:
    """The switches; to be set from any thread."""

    target: int
    port: int = 0
    silent: bool = False
    slow_s: float = 0.0
    rules: list[Rule] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _links: set[_Link] = field(default_factory=set)
    _server: asyncio.Server | None = None

    def late_answers(self, words: bytes, seconds: float, count: int = 1) -> Rule:
        """Let answers come late; the requests arrive at once."""
        return self._add(Rule(words, _Act.LATE_ANSWER, seconds, count))

    def late_requests(self, words: bytes, seconds: float, count: int = 1) -> Rule:
        """Let requests arrive late, even when their client has gone."""
        return self._add(Rule(words, _Act.LATE_REQUEST, seconds, count))

    def cut_answers(self, words: bytes, count: int = 1) -> Rule:
        """Deliver requests and cut the connection in place of their answers."""
        return self._add(Rule(words, _Act.CUT_ANSWER, 0, count))

    def cut_requests(self, words: bytes, count: int = 1) -> Rule:
        """Cut the connection in place of delivering requests."""
        return self._add(Rule(words, _Act.CUT_REQUEST, 0, count))

    def cut(self) -> None:
        """Cut every connection now."""
        self._on_loop(self._cut)

    def refuse(self) -> None:
        """Stop listening, and cut every connection."""
        self._on_loop(self._close)

    def listen(self) -> None:
        """Listen again, on the same port."""
        self._on_loop(self._open)

    def _add(self, rule: Rule) -> Rule:
        self.rules.append(rule)
        return rule

    def _on_loop(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await work()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    async def _cut(self) -> None:
        for link in list(self._links):
            _abort(link.client)
            _abort(link.server)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _abort(writer)
            return
        link = _Link(writer, far_writer)
        self._links.add(link)
        try:
            await asyncio.gather(self._requests(reader, link), self._answers(far_reader, link))
        finally:
            self._links.discard(link)

    async def _requests(self, reader: asyncio.StreamReader, link: _Link) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                await self._wait(self.slow_s)
                rule = self._rule(data)
                if rule is not None:
                    match rule.act:
                        case _Act.LATE_ANSWER:
                            link.answer_late_s = rule.seconds
                        case _Act.LATE_REQUEST:
                            await asyncio.sleep(rule.seconds)
                        case _Act.CUT_ANSWER:
                            link.answer_cut = True
                        case _Act.CUT_REQUEST:
                            _abort(link.client)
                            _abort(link.server)
                            return
                link.server.write(data)
                await link.server.drain()
        with suppress(OSError):
            link.server.write_eof()

    async def _answers(self, reader: asyncio.StreamReader, link: _Link) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                if link.answer_cut:
                    _abort(link.client)
                    _abort(link.server)
                    return
                late_s, link.answer_late_s = link.answer_late_s, 0.0
                await self._wait(late_s)
                link.client.write(data)
                await link.client.drain()
        link.client.close()

    async def _wait(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        while self.silent:  # noqa: ASYNC110 - a flag that a test sets from another thread
            await asyncio.sleep(0.02)

    def _rule(self, data: bytes) -> Rule | None:
        for rule in self.rules:
            if rule.left > 0 and rule.words in data:
                rule.left -= 1
                rule.hits += 1
                return rule
        return None

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        self._loop.call_soon(ready.set)
        self._loop.run_forever()
        self._loop.run_until_complete(self._close())
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()


def _abort(writer: asyncio.StreamWriter) -> None:
    transport: Any = writer.transport
    transport.abort()


@contextmanager
def faulty_proxy(target: int) -> Iterator[FaultyProxy]:
    """Run a proxy to 127.0.0.1:`target`; it does no harm until told to."""
    proxy, ready = FaultyProxy(target), threading.Event()
    thread = threading.Thread(target=proxy._run, args=(ready,), name="proxy", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        proxy._loop.call_soon_threadsafe(proxy._loop.stop)
        thread.join(5)
