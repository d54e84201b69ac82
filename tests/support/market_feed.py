"""A small server that speaks Alpaca's market data stream, for tests of what goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.runtimes import eventually


class MarketFeed:
    """Authenticates, accepts subscriptions, then sends what the test pushes."""

    def __init__(self) -> None:
        self.url = ""
        self.subscriptions: list[dict[str, Any]] = []
        self.sessions = 0
        self.refuse_with: tuple[int, str] | None = None
        self._clients: set[ServerConnection] = set()
        self._server: Server | None = None

    async def push(self, *messages: dict[str, Any]) -> None:
        """Send one frame with `messages` to every subscriber."""
        await self.push_raw(msgpack.packb(list(messages)))

    async def push_raw(self, frame: bytes) -> None:
        """Send bytes as they are."""
        for client in list(self._clients):
            await client.send(frame)

    async def drop(self) -> None:
        """Cut every connection without a word."""
        for client in list(self._clients):
            client.transport.abort()
        self._clients.clear()

    async def subscribed(self, sessions: int = 1) -> None:
        """Wait until that many subscriptions have been made in all."""
        await eventually(
            lambda: len(self.subscriptions) >= sessions, what=f"subscription {sessions}"
        )

    async def _handle(self, client: ServerConnection) -> None:
        self.sessions += 1
        try:
            await client.send(msgpack.packb([{"T": "success", "msg": "connected"}]))
            hello = msgpack.unpackb(await client.recv())
            if self.refuse_with or hello.get("action") != "auth":
                code, text = self.refuse_with or (401, "not authenticated")
                await client.send(msgpack.packb([{"T": "error", "code": code, "msg": text}]))
                return
            await client.send(msgpack.packb([{"T": "success", "msg": "authenticated"}]))
            wanted = msgpack.unpackb(await client.recv())
            wanted.pop("action")
            await client.send(msgpack.packb([{"T": "subscription", **wanted}]))
            self.subscriptions.append(wanted)
            self._clients.add(client)
            await client.wait_closed()
        except ConnectionClosed:
            return
        finally:
            self._clients.discard(client)


@asynccontextmanager
async def market_feed() -> AsyncIterator[MarketFeed]:
    """Run a MarketFeed on a free port."""
    feed = MarketFeed()
    async with serve(feed._handle, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        feed.url = f"ws://127.0.0.1:{port}/v2/iex"
        yield feed


def stamp(ns: int) -> msgpack.Timestamp:
    """A wire timestamp."""
    return msgpack.Timestamp.from_unix_nano(ns)


def wire_quote(symbol: str, ns: int, bid: float, ask: float, size: float = 1) -> dict[str, Any]:
    """A `q` message."""
    return {
        "T": "q", "S": symbol, "t": stamp(ns), "bx": "V", "bp": bid, "bs": size, "ax": "V",
        "ap": ask, "as": size, "c": ["R"], "z": "A",
    }  # fmt: skip


def wire_trade(symbol: str, ns: int, price: float, size: float = 1) -> dict[str, Any]:
    """A `t` message."""
    return {
        "T": "t", "S": symbol, "t": stamp(ns), "i": 1, "x": "V", "p": price, "s": size,
        "c": ["@"], "z": "A",
    }  # fmt: skip


def wire_bar(symbol: str, ns: int, close: float, volume: float = 100) -> dict[str, Any]:
    """A `b` message with one price."""
    return {
        "T": "b", "S": symbol, "t": stamp(ns), "o": close, "h": close, "l": close, "c": close,
        "v": volume, "n": 1, "vw": close,
    }  # fmt: skip
