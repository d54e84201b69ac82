"""The broker at work: exchange, clock, storage, streams and faults tied together.

One task moves the exchange along with the clock; requests act on the exchange between its steps.
Whatever changed is stored in one commit per turn of the event loop, and only then answered and
announced: no client ever learns of something that a crash could undo.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from prometheus_client import Counter

from libs.common.kernel.clock import from_ns
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from services.broker_simulator.alterations import Alterations
from services.broker_simulator.clock import MarketTime
from services.broker_simulator.data_stream import DataStream
from services.broker_simulator.engine.behaviour import Mishap
from services.broker_simulator.engine.engine import Engine
from services.broker_simulator.engine.model import Account, Order
from services.broker_simulator.engine.refusals import BrokerRefusal
from services.broker_simulator.engine.registry import Changes, Registry
from services.broker_simulator.exchange import Exchange
from services.broker_simulator.faults import Faults
from services.broker_simulator.ports import Marks, StateStore
from services.broker_simulator.switches import Switches
from services.broker_simulator.trading_stream import TradingStream
from services.broker_simulator.wire_trading import order_json

_log = get_logger(__name__)
_COMMITS = Counter("simulator_commits_total", "State commits")
_EXECUTIONS = Counter("simulator_executions_total", "Executions")
_STEPS_PER_TURN = 1


class Broker:
    """What requests and streams talk to."""

    def __init__(
        self,
        *,
        engine: Engine,
        exchange: Exchange,
        clock: MarketTime,
        store: StateStore,
        faults: Faults,
        data: DataStream,
        secrets_by_key: dict[str, str],
        tick_s: float,
        state_s: float,
        buffer_bytes: int,
    ) -> None:
        self.engine = engine
        self.exchange = exchange
        self.clock = clock
        self.faults = faults
        self.data = data
        self.alterations = Alterations(faults)
        self.trading = TradingStream(
            self.login,
            faults,
            self.asset_id,
            buffer_bytes=buffer_bytes,
            alter=self.alterations.alter,
        )
        self.switches = Switches(self)
        engine.registry.struck = self._struck
        self._store = store
        self._secrets = secrets_by_key
        self._accounts = {a.key: a for a in self.registry.accounts.values()}
        self._tick_s = tick_s
        self._state_s = state_s
        self._commit_due: asyncio.Future[None] | None = None
        self._saved_at = 0.0
        self.failure: str | None = None
        self.on_failure: Callable[[], None] = lambda: None

    @property
    def registry(self) -> Registry:
        """Return the books."""
        return self.engine.registry

    @property
    def now_ns(self) -> int:
        """Return the market time that the exchange has reached."""
        return self.exchange.now_ns

    def login(self, key: str, secret: str) -> Account:
        """Return the account of a key pair. Raises BrokerRefusal 401."""
        expected = self._secrets.get(key)
        if expected is None or not secrets.compare_digest(expected.encode(), secret.encode()):
            raise BrokerRefusal(401, 40110000, "request is not authorized")
        return self._accounts[key]

    def open_account(self, key: str, secret: str, cash: Decimal, multiplier: Decimal) -> Account:
        """Open an account, or return the one that `key` has."""
        self._secrets[key] = secret
        account = self._accounts.get(key)
        if account is None:
            account = self.engine.open_account(key, cash, multiplier, self.now_ns)
            self._accounts[key] = account
        return account

    def asset_id(self, symbol: str) -> str:
        """Return the id of a symbol's asset."""
        return self.registry.assets[symbol].id

    def order_body(self, order: Order, *, nested: bool = True) -> dict[str, Any]:
        """Return an order as it goes over the wire."""
        asset_id = self.asset_id(order.symbol)
        legs = [self.registry.orders[leg] for leg in order.legs] if nested else []
        return self.alterations.alter(
            "order", order_json(order, asset_id, [order_json(leg, asset_id, None) for leg in legs])
        )

    async def settle(self) -> None:
        """Return once everything that happened so far is stored; then it is announced, too."""
        if self._commit_due is None:
            loop = asyncio.get_running_loop()
            self._commit_due = loop.create_future()
            loop.call_soon(self._commit)
        await asyncio.shield(self._commit_due)

    async def run(self) -> None:
        """Move the exchange along with the clock, for ever."""
        self.switches.begin()
        while True:
            arrived = self.turn()
            await asyncio.sleep(self._tick_s if arrived else 0)

    def turn(self) -> bool:
        """Move the exchange one step towards the clock's time; tells whether it got there."""
        arrived = self.exchange.advance(self.clock.now_ns(), steps_max=_STEPS_PER_TURN)
        self._after_move()
        if arrived and self.clock.rate == 0 and self.clock.factor > 0:
            self.exchange.prepare()
        return arrived

    async def step_to(self, ns: int) -> None:
        """Put the clock to `ns` and carry out everything until then before returning."""
        self.clock.set(ns)
        while not self.exchange.advance(ns, steps_max=60):
            self._after_move()
            await asyncio.sleep(0)
        self._after_move()
        await self.settle_market()

    def marks(self) -> Marks:
        """Return each symbol's quote, last print and previous close, for storage."""
        return {
            s: (b.bid, b.ask, b.bid_size, b.ask_size, b.last, b.previous_close, b.quoted_at)
            for s, b in self.registry.books.items()
        }

    async def settle_market(self) -> None:
        """Return once what a person let happen in the market is stored, its prices too."""
        self.data.flush()
        await self.settle()
        self._save(force=True)

    def close(self) -> None:
        """Store what is left and close the state file."""
        self.switches.planner.stop()
        self._commit()
        self._save(force=True)
        self._store.close()

    def _after_move(self) -> None:
        if self.registry.changes.is_empty:
            self._save()
        elif self._commit_due is None:
            self._commit()
        self.data.flush()

    def _commit(self) -> None:
        due, self._commit_due = self._commit_due, None
        changes = self.engine.drain()
        try:
            if not changes.is_empty:
                self._store.save(changes, self.now_ns, self.registry.sequence)
                _COMMITS.inc()
                _EXECUTIONS.inc(len(changes.executions))
        except UnavailableError as error:
            self.fail(error)
            if due is None:
                raise
            due.set_exception(error)
            return
        self.trading.publish(changes.updates)
        if due is not None and not due.done():
            due.set_result(None)

    def _save(self, *, force: bool = False) -> None:
        """Store the clock now and then, so that a restart continues where the market was."""
        now = time.monotonic()
        if not force and now - self._saved_at < self._state_s:
            return
        self._saved_at = now
        if not self.registry.changes.is_empty:
            self._commit()
        self._store.save(Changes(), self.now_ns, self.registry.sequence, self.marks())

    def fail(self, error: BaseException) -> None:
        """Stop answering: the books in memory are ahead of those on disk, or stand still."""
        if self.failure is None:
            self.failure = str(error) or type(error).__name__
            _log.error("simulator_failed", error=self.failure)
            self.on_failure()

    def _struck(self, mishap: Mishap, order: Order) -> bool:
        return self.faults.on_order(mishap, (order.id, order.client_order_id), order.symbol)

    def authenticate(self, headers: Mapping[bytes, bytes]) -> Account:
        """Return the account of a request's headers. Raises BrokerRefusal 401, 503."""
        if self.failure is not None:
            raise BrokerRefusal(503, 50310000, f"simulator failed: {self.failure}")
        key = headers.get(b"apca-api-key-id", b"").decode("latin-1")
        secret = headers.get(b"apca-api-secret-key", b"").decode("latin-1")
        if not key:
            key, secret = basic_credentials(headers.get(b"authorization", b""))
        return self.login(key, secret)

    def describe(self) -> dict[str, Any]:
        """Return figures for a person."""
        return {
            "now": from_ns(self.now_ns).isoformat(),
            "ticks": self.exchange.ticks,
            "orders": len(self.registry.orders),
            "executions": len(self.registry.executions),
            "trading_connections": self.trading.connections,
            "trading_listeners": self.trading.listeners,
            "data_connections": self.data.connections,
        }


def basic_credentials(header: bytes) -> tuple[str, str]:
    """Return key and secret of an `Authorization: Basic` header, empty where there is none."""
    scheme, _, value = header.partition(b" ")
    if scheme.lower() != b"basic":
        return "", ""
    try:
        key, _, secret = base64.b64decode(value).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return key, secret
