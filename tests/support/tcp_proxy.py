"""A TCP proxy on loopback that lets a test watch what passes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Tap = Callable[[bytes, int], None]
"""Takes a piece of what a client sent, and the wall time in ns at which it passed."""


@contextmanager
def tcp_proxy(target: Callable[[], int], tap: Tap) -> Iterator[int]:
    """Run a proxy to 127.0.0.1:`target()` (asked at each connection); yields its port."""
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    port = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target())
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            _pass(reader, far_writer, tap), _pass(far_reader, writer, lambda data, ns: None)
        )

    async def serve() -> None:
        nonlocal port
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ready.set()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tap: Tap) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            tap(data, time.time_ns())
            writer.write(data)
            await writer.drain()
    writer.close()
