"""Alpaca over the library's TradingClient, with everything that waits or repeats under our rule.

How the library asks: `RESTClient._request` loops over `_one_request`, sleeping three times three
seconds on 429 and 504 for every verb, POST too, without any time-out. So its retry list is
emptied, and an HTTP adapter puts a time-out on every request whoever makes it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeVar

import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import (
    LimitOrderRequest,
    MarketOrderRequest,
    OrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)
from purgatory.domain.model import OpenedState
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.executions import Execution
from libs.common.domain.vocabulary import OrderClass, OrderType
from libs.common.kernel.clock import format_ns, to_ns
from libs.common.kernel.ids import BrokerOrderId, ClientOrderId, Symbol
from libs.common.kernel.money import decimal
from libs.common.runtime.resilience import circuit_factory, token_bucket
from services.trade_executor.adapters.alpaca_stream import AlpacaStream
from services.trade_executor.adapters.alpaca_words import (
    NAME,
    cash_activity_from,
    execution_from,
    inexpressible,
    order_from,
    position_from,
)
from services.trade_executor.metrics import BROKER_CALLS, BROKER_DURATION
from services.trade_executor.model import BrokerOrder, BrokerPosition, CashActivity
from services.trade_executor.ports import (
    BrokerRefusedError,
    NotSentError,
    OutcomeUnknownError,
    StreamItem,
)

T = TypeVar("T")

_SERVICE_THREADS: Final = 4
_ORDINARY_SHARE: Final = 0.8  # of the budget; the rest is kept for cancels and exits
_PAGE_ORDERS: Final = 500
_PAGE_ACTIVITIES: Final = 100
_PAUSE_S_429: Final = 1.0
_REQUESTS: Final[dict[OrderType, type[OrderRequest]]] = {
    OrderType.MARKET: MarketOrderRequest,
    OrderType.LIMIT: LimitOrderRequest,
    OrderType.STOP: StopOrderRequest,
    OrderType.STOP_LIMIT: StopLimitOrderRequest,
    OrderType.TRAILING_STOP: TrailingStopOrderRequest,
}


class TimeoutAdapter(HTTPAdapter):
    """Puts a time-out on every request that goes out without one, and never repeats any."""

    def __init__(self, timeout_s: float, connections: int) -> None:
        self._timeout_s = timeout_s
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def send(self, request: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send one request, once."""
        if options.get("timeout") is None:
            options["timeout"] = (min(2.0, self._timeout_s), self._timeout_s)
        return super().send(request, **options)


@dataclass(frozen=True, slots=True)
class AlpacaLimits:
    """What the adapter may use: threads, seconds, calls a minute (Alpaca's own limit is 200)."""

    threads: int
    timeout_s: float
    calls_per_minute: float
    failures_max: int
    circuit_reset_s: float


class AlpacaBroker:
    """Implements `Broker`."""

    name = NAME

    def __init__(
        self, url: str, key: str, secret: str, *, limits: AlpacaLimits, stream: AlpacaStream
    ) -> None:
        self._client = TradingClient(key, secret, raw_data=True, url_override=url.rstrip("/"))
        self._client._retry = 0
        self._client._retry_codes = []
        adapter = TimeoutAdapter(limits.timeout_s, limits.threads + _SERVICE_THREADS)
        for scheme in ("http://", "https://"):
            self._client._session.mount(scheme, adapter)
        # No proxy of the environment, no .netrc: the broker is where the settings say.
        self._client._session.trust_env = False
        self._senders = ThreadPoolExecutor(limits.threads, thread_name_prefix="broker-send")
        self._askers = ThreadPoolExecutor(_SERVICE_THREADS, thread_name_prefix="broker-ask")
        self._slots = asyncio.Semaphore(limits.threads)
        per_s = limits.calls_per_minute / 60
        self._budget = token_bucket(max(1.0, per_s), 1.0)
        self._ordinary = token_bucket(max(1.0, per_s * _ORDINARY_SHARE), 1.0)
        self._circuits = circuit_factory(limits.failures_max, limits.circuit_reset_s)
        self._paused_until = 0.0
        self._stream = stream

    # Orders -----------------------------------------------------------------------------------

    def check(self, spec: OrderSpec) -> str | None:
        """Return why the protocol cannot carry `spec`, None if it can."""
        return inexpressible(spec)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for budget and a free connection."""
        async with self._slots:
            await self._pay(first=False)
            yield

    async def submit(self, client_order_id: ClientOrderId, spec: OrderSpec) -> BrokerOrder:
        """Send one order, once; inside a slot."""
        request = request_of(client_order_id, spec)
        body = await self._run(self._senders, "submit", lambda: self._client.submit_order(request))
        return _read(order_from, body)

    async def find(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        """Return the order known by our id, None if the broker says there is none."""
        return await self._one("find", lambda: self._client.get_order_by_client_id(client_order_id))

    async def order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        """Return an order by the broker's id, with its legs."""
        return await self._one("order", lambda: self._client.get_order_by_id(broker_order_id))

    async def open_orders(self) -> Sequence[BrokerOrder]:
        """Return all open orders, legs beside their parents."""
        return await self._orders("open_orders", {"status": "open"})

    async def orders_since(
        self, since: dt.datetime, symbol: Symbol | None = None
    ) -> Sequence[BrokerOrder]:
        """Return all orders submitted after `since` (market time), oldest first."""
        query: dict[str, Any] = {"status": "all", "after": format_ns(to_ns(since))}
        if symbol is not None:
            query["symbols"] = symbol
        return await self._orders("orders_since", query)

    async def cancel(self, broker_order_id: BrokerOrderId) -> None:
        """Ask for a cancel."""
        await self._ask("cancel", lambda: self._client.cancel_order_by_id(broker_order_id), True)

    # Account ----------------------------------------------------------------------------------

    async def positions(self) -> Sequence[BrokerPosition]:
        """Return all open positions."""
        rows = await self._ask("positions", self._client.get_all_positions)
        return [_read(position_from, row) for row in rows]

    async def cash(self) -> Decimal:
        """Return the account's cash."""
        body = await self._ask("account", self._client.get_account)
        return _read(lambda account: decimal(str(account["cash"]), "cash"), body)

    async def executions_since(self, since: dt.datetime) -> Sequence[Execution]:
        """Return all executions after `since` (market time), oldest first."""
        rows = await self._activities("/account/activities/FILL", since)
        return [_read(execution_from, row) for row in rows]

    async def cash_activities_since(self, since: dt.datetime) -> Sequence[CashActivity]:
        """Return what moved cash without a trade after `since`, oldest first."""
        rows = await self._activities("/account/activities", since)
        others = [row for row in rows if row.get("activity_type") != "FILL"]
        return [_read(cash_activity_from, row) for row in others]

    # Stream -----------------------------------------------------------------------------------

    def stream(self) -> AsyncIterator[StreamItem]:
        """Yield order events for ever."""
        return self._stream.items()

    def distrust_stream(self) -> None:
        """Drop the stream's connection."""
        self._stream.distrust()

    async def close(self) -> None:
        """Close connections and threads; requests under way end by their time-out."""
        self._senders.shutdown(wait=False, cancel_futures=True)
        self._askers.shutdown(wait=False, cancel_futures=True)
        self._client._session.close()

    # The wire ---------------------------------------------------------------------------------

    async def _orders(self, call: str, query: dict[str, Any]) -> list[BrokerOrder]:
        """Page through the order list, oldest first."""
        found: dict[BrokerOrderId, BrokerOrder] = {}
        query = {**query, "limit": _PAGE_ORDERS, "direction": "asc", "nested": "false"}
        while True:
            rows = await self._ask(call, lambda: self._client.get("/orders", query))
            page = [_read(order_from, row) for row in rows]
            fresh = [order for order in page if order.broker_order_id not in found]
            found.update((order.broker_order_id, order) for order in fresh)
            last = page[-1].submitted_at if page else None
            if len(rows) < _PAGE_ORDERS or not fresh or last is None:
                return list(found.values())
            # Orders of the same instant may straddle pages: ask from just before the last.
            query["after"] = format_ns(to_ns(last) - 1000)

    async def _activities(self, path: str, since: dt.datetime) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {
            "after": format_ns(to_ns(since)),
            "direction": "asc",
            "page_size": _PAGE_ACTIVITIES,
        }
        while True:
            rows = await self._ask("activities", lambda: self._client.get(path, query))
            found += rows
            if len(rows) < _PAGE_ACTIVITIES:
                return found
            query["page_token"] = rows[-1]["id"]

    async def _one(self, call: str, work: Callable[[], Any]) -> BrokerOrder | None:
        try:
            body = await self._ask(call, work)
        except BrokerRefusedError as error:
            if error.status == requests.codes.not_found:
                return None
            raise
        return _read(order_from, body)

    async def _ask(self, call: str, work: Callable[[], Any], first: bool = False) -> Any:
        await self._pay(first=first)
        return await self._run(self._askers, call, work)

    async def _pay(self, *, first: bool) -> None:
        """Spend one call of the budget; what is not `first` leaves a share of it to what is."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._paused_until - loop.time()))
        if not first:
            await self._ordinary.acquire()
        await self._budget.acquire()

    async def _run(self, pool: ThreadPoolExecutor, call: str, work: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        started, outcome = loop.time(), "ok"
        try:
            breaker = await self._circuits.get_breaker(NAME, exclude=[BrokerRefusedError])
            async with breaker:
                return await loop.run_in_executor(pool, _translated, work)
        except OpenedState as error:
            outcome = "circuit_open"
            raise NotSentError(
                "the broker failed too often, waiting before the next try"
            ) from error
        except NotSentError as error:
            outcome = "not_sent"
            if isinstance(error.__cause__, APIError):
                self._paused_until = loop.time() + _pause_s(error.__cause__)
            raise
        except OutcomeUnknownError:
            outcome = "unknown"
            raise
        except BrokerRefusedError as error:
            outcome = str(error.status)
            raise
        finally:
            BROKER_CALLS.labels(call, outcome).inc()
            BROKER_DURATION.labels(call).observe(loop.time() - started)


def request_of(client_order_id: ClientOrderId, spec: OrderSpec) -> OrderRequest:
    """Return the library's request for an order."""
    fields: dict[str, Any] = {
        "symbol": spec.symbol,
        "side": spec.side.value,
        "time_in_force": spec.time_in_force.value,
        "client_order_id": client_order_id,
        "extended_hours": spec.extended_hours or None,
    }
    numbers = {
        "qty": spec.quantity,
        "notional": spec.notional,
        "limit_price": spec.limit_price,
        "stop_price": spec.stop_price,
        "trail_price": spec.trail_price,
        "trail_percent": spec.trail_percent,
    }
    fields |= {name: float(value) for name, value in numbers.items() if value is not None}
    if spec.order_class is not OrderClass.SIMPLE:
        fields["order_class"] = spec.order_class.value
    if spec.take_profit_limit_price is not None:
        fields["take_profit"] = TakeProfitRequest(limit_price=float(spec.take_profit_limit_price))
    if spec.stop_loss_stop_price is not None:
        limit = spec.stop_loss_limit_price
        fields["stop_loss"] = StopLossRequest(
            stop_price=float(spec.stop_loss_stop_price),
            limit_price=None if limit is None else float(limit),
        )
    return _REQUESTS[spec.order_type](**fields)


def _translated(work: Callable[[], T]) -> T:
    """Run one request; say of every failure whether it was refused, never sent, or unknown."""
    try:
        return work()
    except APIError as error:
        raise _verdict(error) from error
    except requests.ConnectTimeout as error:
        raise NotSentError(f"no connection: {error}") from error
    except requests.ConnectionError as error:
        cause = error.args[0] if error.args else None
        if isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError):
            raise NotSentError(f"no connection: {cause.reason}") from error
        raise OutcomeUnknownError(f"connection broke: {error}") from error
    except (requests.RequestException, ValueError) as error:
        raise OutcomeUnknownError(f"no readable answer: {error!r}") from error


def _verdict(error: APIError) -> Exception:
    status = int(error.status_code or 0)
    code, message = _words_of(str(error))
    if status in {requests.codes.too_many_requests, requests.codes.unauthorized}:
        return NotSentError(f"{status} {message}")
    if code == 40010001 and "unique" in message:
        # An earlier request with this id arrived after all: look it up.
        return OutcomeUnknownError(message)
    if 400 <= status < 500 and status != requests.codes.request_timeout:
        return BrokerRefusedError(status, code, message)
    return OutcomeUnknownError(f"{status} {message}")


def _words_of(text: str) -> tuple[int | None, str]:
    try:
        body = json.loads(text)
        return int(body["code"]), str(body["message"])
    except (ValueError, KeyError, TypeError):
        return None, text[:200]


def _pause_s(error: APIError) -> float:
    """Return how long the broker asks us to wait, at most a minute."""
    response = error.response
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    return min(60.0, float(asked)) if asked.isdigit() else _PAUSE_S_429


def _read(reader: Callable[[Any], T], body: Any) -> T:
    """Read an answer; what cannot be read is an unknown outcome, not a crash."""
    try:
        return reader(body)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise OutcomeUnknownError(f"the answer cannot be read: {error!r}") from error
