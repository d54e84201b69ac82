"""The trading stream `/stream`: authenticate, listen, `trade_updates`; JSON, text or binary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected

from services.broker_simulator.engine.model import Account, TradeUpdate
from services.broker_simulator.engine.refusals import BrokerRefusal
from services.broker_simulator.faults import Fault, Faults, Kind, Stream
from services.broker_simulator.garble import Form, garbled, padded
from services.broker_simulator.sockets import Client
from services.broker_simulator.wire_trading import update_json

Login = Callable[[str, str], Account]
_REORDER_WAIT_S = 1.0


class TradingStream:
    """Delivers trade updates to the listening clients of each account."""

    def __init__(
        self,
        login: Login,
        faults: Faults,
        asset_id: Callable[[str], str],
        *,
        buffer_bytes: int,
        alter: Callable[[str, dict[str, Any]], dict[str, Any]],
    ) -> None:
        self._login = login
        self._faults = faults
        self._asset_id = asset_id
        self._buffer_bytes = buffer_bytes
        self._alter = alter
        self._listeners: dict[str, set[Client]] = {}
        self._clients: set[Client] = set()
        self._held: list[tuple[str, bytes]] = []

    @property
    def connections(self) -> int:
        """Return how many clients are connected."""
        return len(self._clients)

    @property
    def listeners(self) -> int:
        """Return how many clients listen to trade updates."""
        return sum(len(clients) for clients in self._listeners.values())

    def publish(self, updates: list[TradeUpdate]) -> None:
        """Send the updates, each to its account's listeners, through the faults."""
        for update in updates:
            if not self._listeners.get(update.account):
                continue
            body = update_json(update, self._asset_id(update.order.symbol))
            body["order"] = self._alter("order", body["order"])
            body = self._alter("update", body)
            message = msgspec.json.encode({"stream": "trade_updates", "data": body})
            self._pass(update.account, update.event, message)

    def drop_all(self) -> None:
        """Cut every connection."""
        for client in list(self._clients):
            client.drop()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it leaves."""
        client = Client(
            scope, receive, send, buffer_bytes=self._buffer_bytes, pack=lambda batch: batch
        )
        await client.accept()
        self._clients.add(client)
        sender = asyncio.create_task(client.run_sender())
        try:
            with suppress(ClientDisconnected):
                await self._converse(client)
        finally:
            self._clients.discard(client)
            for listeners in self._listeners.values():
                listeners.discard(client)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _converse(self, client: Client) -> None:
        account: Account | None = None
        while (message := await client.receive()) is not None:
            try:
                request = msgspec.json.decode(message, type=dict[str, Any])
                action = request.get("action")
                data = msgspec.convert(request.get("data") or {}, dict[str, Any])
            except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
                _reply(client, "error", {"error_message": "message is not a JSON object"})
                continue
            if action in ("authenticate", "auth"):
                account = self._authenticate(client, request, data)
            elif account is None:
                _reply(client, "authorization", {"status": "unauthorized", "action": str(action)})
            elif action == "listen":
                self._listen(client, account, data)
            else:
                _reply(client, "error", {"error_message": f"unknown action {action!r}"})

    def _authenticate(
        self, client: Client, request: dict[str, Any], data: dict[str, Any]
    ) -> Account | None:
        key = data.get("key_id") or request.get("key") or ""
        secret = data.get("secret_key") or request.get("secret") or ""
        try:
            account = self._login(str(key), str(secret))
        except BrokerRefusal:
            _reply(client, "authorization", {"status": "unauthorized", "action": "authenticate"})
            return None
        _reply(client, "authorization", {"status": "authorized", "action": "authenticate"})
        return account

    def _listen(self, client: Client, account: Account, data: dict[str, Any]) -> None:
        streams = data.get("streams")
        wanted = [s for s in streams if s == "trade_updates"] if isinstance(streams, list) else []
        listeners = self._listeners.setdefault(account.id, set())
        (listeners.add if wanted else listeners.discard)(client)
        _reply(client, "listening", {"streams": wanted})

    def _pass(self, account: str, event: str, message: bytes) -> None:
        faults = self._faults
        if not faults.active:
            self._deliver(account, message)
            return

        def struck(kind: Kind) -> Fault | None:
            return faults.on_message(kind, Stream.TRADING, event)

        if struck(Kind.MUTE) or struck(Kind.MISSING):
            return
        bad = struck(Kind.GARBLED_FRAME)
        if bad is not None:
            oversized = bad.form is Form.HUGE
            message = padded(message, bad.size) if oversized else garbled(bad.form, message)
        if struck(Kind.REORDER):
            self._held.append((account, message))
            asyncio.get_running_loop().call_later(_REORDER_WAIT_S, self._release)
            return
        delay = struck(Kind.DELAY)
        if delay is not None:
            wait = faults.duration(delay)
            asyncio.get_running_loop().call_later(wait, self._deliver, account, message)
            return
        self._deliver(account, message)
        if struck(Kind.DUPLICATE):
            self._deliver(account, message)
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for account, message in held:
            self._deliver(account, message)

    def _deliver(self, account: str, message: bytes) -> None:
        for client in self._listeners.get(account, ()):
            client.push(message)
            client.flush()


def _reply(client: Client, stream: str, data: dict[str, Any]) -> None:
    client.push(msgspec.json.encode({"stream": stream, "data": data}))
    client.flush()
