"""The market data stream `/v2/{feed}`: msgpack arrays to each client of what it subscribed to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected

from services.broker_simulator.engine.model import Account
from services.broker_simulator.engine.refusals import BrokerRefusal
from services.broker_simulator.faults import Faults, Kind, Stream
from services.broker_simulator.market.tape import Candle
from services.broker_simulator.sockets import Client
from services.broker_simulator.wire_data import StreamEncoder, array_head

Login = Callable[[str, str], Account]
CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses")
_KIND_CHANNEL = {"b": "bars", "u": "updatedBars", "d": "dailyBars"}
_FRAME_MESSAGES_MAX = 2000
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    413: "insufficient scope",
}


def frames(batch: list[bytes]) -> list[bytes]:
    """Return the messages as msgpack arrays of bounded length."""
    parts = [batch[i : i + _FRAME_MESSAGES_MAX] for i in range(0, len(batch), _FRAME_MESSAGES_MAX)]
    return [array_head(len(part)) + b"".join(part) for part in parts]


def json_frames(batch: list[bytes]) -> list[bytes]:
    """Return the messages as one JSON array, for clients that do not ask for msgpack."""
    if not batch:
        return []
    decoded = [msgspec.msgpack.decode(message) for message in batch]
    return [msgspec.json.encode(decoded)]


class Subscriber:
    """One client and what it subscribed to, by channel."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.wanted: dict[str, set[str]] = {channel: set() for channel in CHANNELS}
        self.authenticated = False

    def wants(self, channel: str, symbol: str) -> bool:
        """Tell whether a message of the channel and symbol is for this client."""
        wanted = self.wanted[channel]
        return symbol in wanted or "*" in wanted

    def listing(self) -> dict[str, Any]:
        """Return the `subscription` message."""
        body: dict[str, Any] = {"T": "subscription"}
        body |= {channel: sorted(symbols) for channel, symbols in self.wanted.items()}
        trades = sorted(self.wanted["trades"])
        return body | {"lulds": [], "corrections": trades, "cancelErrors": trades}


class DataStream:
    """Encodes each event once and hands it to the clients that want it; is the exchange's sink."""

    def __init__(
        self,
        login: Login,
        faults: Faults,
        *,
        buffer_bytes: int,
        connections_max: int,
        symbols_max: int,
    ) -> None:
        self._login = login
        self._faults = faults
        self._buffer_bytes = buffer_bytes
        self._connections_max = connections_max
        self._symbols_max = symbols_max
        self._encoder = StreamEncoder()
        self._subscribers: set[Subscriber] = set()
        self._targets: dict[tuple[str, str], tuple[Client, ...]] = {}
        self.sent = 0

    @property
    def connections(self) -> int:
        """Return how many clients are connected."""
        return len(self._subscribers)

    def quote(self, symbol: str, ns: int, bid: int, ask: int, bid_size: int, ask_size: int) -> None:
        """Queue a quote for its subscribers."""
        targets = self._find("quotes", symbol)
        if targets:
            message = self._encoder.quote(symbol, ns, bid, ask, bid_size, ask_size)
            self._queue(targets, "q", message)

    def trade(self, symbol: str, ns: int, price: int, size: int, number: int) -> None:
        """Queue a print for its subscribers."""
        targets = self._find("trades", symbol)
        if targets:
            self._queue(targets, "t", self._encoder.trade(symbol, ns, price, size, number))

    def bar(self, kind: str, symbol: str, candle: Candle) -> None:
        """Queue a bar for its subscribers."""
        targets = self._find(_KIND_CHANNEL[kind], symbol)
        if targets:
            self._queue(targets, kind, self._encoder.bar(kind, symbol, candle))

    def status(self, symbol: str, ns: int, halted: bool, reason: str) -> None:
        """Queue a trading status for its subscribers."""
        targets = self._find("statuses", symbol)
        if targets:
            self._queue(targets, "s", self._encoder.status(symbol, ns, halted, reason))

    def flush(self) -> None:
        """Let what was queued leave."""
        for subscriber in self._subscribers:
            subscriber.client.flush()

    def drop_all(self) -> None:
        """Cut every connection."""
        for subscriber in list(self._subscribers):
            subscriber.client.drop()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it leaves."""
        packed = b"msgpack" in dict(scope["headers"]).get(b"content-type", b"")
        client = Client(
            scope,
            receive,
            send,
            buffer_bytes=self._buffer_bytes,
            pack=frames if packed else json_frames,
            overflow=_error(407),
            text=not packed,
        )
        subscriber = Subscriber(client)
        await client.accept()
        sender = asyncio.create_task(client.run_sender())
        if len(self._subscribers) >= self._connections_max:
            client.push(_error(406))
            client.closed = True
            client.flush()
            await asyncio.gather(sender, return_exceptions=True)
            return
        self._subscribers.add(subscriber)
        _say(client, {"T": "success", "msg": "connected"})
        try:
            with suppress(ClientDisconnected):
                await self._converse(subscriber)
        finally:
            self._subscribers.discard(subscriber)
            self._targets.clear()
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _converse(self, subscriber: Subscriber) -> None:
        client = subscriber.client
        while (message := await client.receive()) is not None:
            try:
                decode = msgspec.json.decode if client.text else msgspec.msgpack.decode
                request = decode(message, type=dict[str, Any])
            except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
                _fail(client, 400)
                continue
            match request.get("action"):
                case "auth":
                    self._authenticate(subscriber, request)
                case "subscribe" | "unsubscribe" as action:
                    self._subscribe(subscriber, request, add=action == "subscribe")
                case _:
                    _fail(client, 400)

    def _authenticate(self, subscriber: Subscriber, request: dict[str, Any]) -> None:
        if subscriber.authenticated:
            _fail(subscriber.client, 403)
            return
        try:
            self._login(str(request.get("key")), str(request.get("secret")))
        except BrokerRefusal:
            _fail(subscriber.client, 402)
            return
        subscriber.authenticated = True
        _say(subscriber.client, {"T": "success", "msg": "authenticated"})

    def _subscribe(self, subscriber: Subscriber, request: dict[str, Any], *, add: bool) -> None:
        if not subscriber.authenticated:
            _fail(subscriber.client, 401)
            return
        changes = {c: _symbols(request[c]) for c in CHANNELS if c in request}
        if any(symbols is None for symbols in changes.values()):
            _fail(subscriber.client, 400)
            return
        for channel, symbols in changes.items():
            wanted = subscriber.wanted[channel]
            (wanted.update if add else wanted.difference_update)(symbols or ())
        distinct = set().union(*subscriber.wanted.values())
        if self._symbols_max and len(distinct) > self._symbols_max:
            for channel, symbols in changes.items():
                subscriber.wanted[channel].difference_update(symbols or ())
            _fail(subscriber.client, 405)
            return
        self._targets.clear()
        _say(subscriber.client, subscriber.listing())

    def _find(self, channel: str, symbol: str) -> tuple[Client, ...]:
        key = (channel, symbol)
        found = self._targets.get(key)
        if found is None:
            found = self._targets[key] = tuple(
                s.client for s in self._subscribers if s.wants(channel, symbol)
            )
        return found

    def _queue(self, targets: Iterable[Client], event: str, message: bytes) -> None:
        copies = 1
        if self._faults.active:
            copies = self._copies(event)
        for client in targets:
            for _ in range(copies):
                client.push(message)
        self.sent += copies

    def _copies(self, event: str) -> int:
        faults = self._faults
        if faults.on_message(Kind.MUTE, Stream.DATA, event):
            return 0
        if faults.on_message(Kind.MISSING, Stream.DATA, event):
            return 0
        return 2 if faults.on_message(Kind.DUPLICATE, Stream.DATA, event) else 1


def _symbols(value: object) -> list[str] | None:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    return None


def _error(code: int) -> bytes:
    return msgspec.msgpack.encode({"T": "error", "code": code, "msg": ERRORS[code]})


def _fail(client: Client, code: int) -> None:
    client.push(_error(code))
    client.flush()


def _say(client: Client, body: dict[str, Any]) -> None:
    client.push(msgspec.msgpack.encode(body))
    client.flush()
