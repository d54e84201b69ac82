"""Alpaca's stream clients run in a thread, their messages collected."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alpaca.data.live.stock import StockDataStream
from alpaca.trading.stream import TradingStream


class Ears:
    """What a stream has said so far."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def hear(self, message: Any) -> None:
        """Take one message."""
        self.heard.append(message)

    def wait(self, condition: Callable[[list[Any]], bool], timeout_s: float = 15) -> list[Any]:
        """Return what was heard once `condition` holds of it; fails after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not condition(self.heard):
            if time.monotonic() > deadline:
                raise AssertionError(f"not heard within {timeout_s} s; heard {self.heard}")
            time.sleep(0.01)
        return self.heard


@contextmanager
def running(stream: TradingStream | StockDataStream) -> Iterator[None]:
    """Run a stream client until the block ends."""
    thread = threading.Thread(target=_run, args=(stream,), daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 15
        while not stream._running:
            if time.monotonic() > deadline:
                raise AssertionError("the stream client did not connect")
            time.sleep(0.01)
        yield
    finally:
        if stream._loop is not None and stream._loop.is_running():
            asyncio.run_coroutine_threadsafe(_end(stream), stream._loop).result(10)
        thread.join(10)


def _run(stream: TradingStream | StockDataStream) -> None:
    asyncio.run(stream._run_forever())


async def _end(stream: TradingStream | StockDataStream) -> None:
    await stream.stop_ws()
    socket = stream._ws
    if socket is not None:
        await socket.close()
