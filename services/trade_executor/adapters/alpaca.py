"""Alpaca, over the trading client of its own library."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec
import requests
from alpaca.trading.enums import TimeInForce as AlpacaTimeInForce
from alpaca.trading.requests import (
    LimitOrderRequest,
    MarketOrderRequest,
    OrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Reversal
from libs.common.domain.vocabulary import OrderClass, OrderType
from libs.common.kernel.clock import format_ns, to_ns
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.ids import BrokerOrderId, ClientOrderId, Symbol
from services.trade_executor.adapters.alpaca_fields import Fields, objects
from services.trade_executor.adapters.alpaca_http import ANSWER_BYTES_MAX, TimeoutAdapter
from services.trade_executor.adapters.alpaca_record import Recorder
from services.trade_executor.adapters.alpaca_stream import AlpacaStream
from services.trade_executor.adapters.alpaca_wire import AlpacaLimits, AlpacaWire, Unreadable
from services.trade_executor.adapters.alpaca_words import (
    NAME,
    activity_from,
    amends,
    cash_from,
    execution_from,
    inexpressible,
    is_trade,
    order_from,
    position_from,
    reversal_from,
)
from services.trade_executor.model import BrokerOrder, BrokerPosition, Change
from services.trade_executor.ports import BrokerRefusedError, OutcomeUnknownError, StreamItem

T = TypeVar("T")

_OUR_PREFIX: Final = "tw-"
_PAGE_ORDERS: Final = 500
_PAGE_ACTIVITIES: Final = 100
_REQUESTS: Final[dict[OrderType, type[OrderRequest]]] = {
    OrderType.MARKET: MarketOrderRequest,
    OrderType.LIMIT: LimitOrderRequest,
    OrderType.STOP: StopOrderRequest,
    OrderType.STOP_LIMIT: StopLimitOrderRequest,
    OrderType.TRAILING_STOP: TrailingStopOrderRequest,
}


class AlpacaBroker:
    """Implements `Broker`."""

    name = NAME

    def __init__(
        self,
        url: str,
        key: str,
        secret: str,
        *,
        limits: AlpacaLimits,
        stream: AlpacaStream,
        adapter_of: Callable[[float, int], TimeoutAdapter] = TimeoutAdapter,
        unreadable: Unreadable = lambda *_: None,
        record: Recorder | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        self._wire = AlpacaWire(url, key, secret, limits, adapter_of, unreadable, record, bytes_max)
        self._client = self._wire.client
        self._stream = stream

    # Orders -----------------------------------------------------------------------------------

    def check(self, spec: OrderSpec) -> str | None:
        """Return why the protocol cannot carry `spec`, None if it can."""
        return inexpressible(spec)

    def slot(self, *, first: bool = False) -> AbstractAsyncContextManager[None]:
        """Wait for budget and a free connection."""
        return self._wire.slot(first=first)

    async def submit(self, client_order_id: ClientOrderId, spec: OrderSpec) -> BrokerOrder:
        """Send one order, once; inside a slot."""
        request = request_of(client_order_id, spec)
        return await self._wire.act(
            "submit",
            "POST",
            "/orders",
            request.to_request_fields(),
            lambda body: _named(order_from(body), client_order_id=client_order_id),
        )

    async def replace(
        self, broker_order_id: BrokerOrderId, client_order_id: ClientOrderId, change: Change
    ) -> BrokerOrder:
        """Ask for a replacement, once; inside a slot."""
        request = replacement_of(client_order_id, change)
        return await self._wire.act(
            "replace",
            "PATCH",
            f"/orders/{quote(broker_order_id, safe='')}",
            request.to_request_fields(),
            lambda body: _named(order_from(body), client_order_id=client_order_id),
        )

    async def find(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        """Return the order known by our id, None if the broker says there is none."""
        return await self._one(
            "find",
            lambda: self._client.get_order_by_client_id(client_order_id),
            lambda body: _named(order_from(body), client_order_id=client_order_id),
        )

    async def order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        """Return an order by the broker's id, with its legs."""
        return await self._one(
            "order",
            lambda: self._client.get_order_by_id(broker_order_id),
            lambda body: _named(order_from(body), broker_order_id=broker_order_id),
        )

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
        await self._wire.act(
            "cancel",
            "DELETE",
            f"/orders/{quote(broker_order_id, safe='')}",
            None,
            lambda _: None,
            in_slot=False,
        )

    # Account ----------------------------------------------------------------------------------

    async def positions(self) -> Sequence[BrokerPosition]:
        """Return all open positions."""
        return await self._wire.ask(
            "positions",
            self._client.get_all_positions,
            lambda body: [position_from(row) for row in objects(body, "positions")],
        )

    async def cash(self) -> Decimal:
        """Return the account's cash."""
        return await self._wire.ask("account", self._client.get_account, cash_from)

    async def executions_since(self, since: dt.datetime) -> Sequence[Execution]:
        """Return all executions after `since` (market time), oldest first."""
        rows = await self._activities("/account/activities/FILL", since)
        trades = [row for row in rows if not amends(row)]
        return self._readable("activities", execution_from, trades)

    async def reversals_since(self, since: dt.datetime) -> Sequence[Reversal]:
        """Return the executions taken back or corrected after `since`, oldest first."""
        rows = await self._activities("/account/activities/FILL", since)
        amending = [row for row in rows if amends(row)]
        return self._readable("activities", reversal_from, amending)

    async def cash_activities_since(self, since: dt.datetime) -> Sequence[Activity]:
        """Return what moved money or shares without a trade after `since`, oldest first."""
        rows = await self._activities("/account/activities", since)
        others = [row for row in rows if not is_trade(row)]
        return self._readable("activities", activity_from, others)

    # Stream -----------------------------------------------------------------------------------

    def stream(self) -> AsyncIterator[StreamItem]:
        """Yield order events for ever."""
        return self._stream.items()

    def distrust_stream(self) -> None:
        """Drop the stream's connection."""
        self._stream.distrust()

    async def close(self) -> None:
        """Close connections and threads; requests under way end by their time-out."""
        self._wire.close()

    # The wire ---------------------------------------------------------------------------------

    async def _orders(self, call: str, query: dict[str, Any]) -> list[BrokerOrder]:
        """Page through the order list, oldest first."""
        found: dict[BrokerOrderId, BrokerOrder] = {}
        query = {**query, "limit": _PAGE_ORDERS, "direction": "asc", "nested": "false"}
        while True:
            rows = await self._wire.ask(
                call,
                lambda: self._client.get("/orders", query),
                lambda body: objects(body, "orders"),
            )
            page = self._readable(call, order_from, rows, needed=_may_be_ours)
            fresh = [order for order in page if order.broker_order_id not in found]
            found.update((order.broker_order_id, order) for order in fresh)
            last = page[-1].submitted_at if page else None
            if len(rows) < _PAGE_ORDERS or not fresh or last is None:
                return list(found.values())
            # Orders of the same instant may straddle pages: ask from just before the last.
            query["after"] = format_ns(to_ns(last) - 1000)

    async def _activities(self, path: str, since: dt.datetime) -> list[Any]:
        found: list[Any] = []
        query: dict[str, Any] = {
            "after": format_ns(to_ns(since)),
            "direction": "asc",
            "page_size": _PAGE_ACTIVITIES,
        }
        tokens: set[str] = set()
        while True:
            rows, token = await self._wire.ask(
                "activities", lambda: self._client.get(path, query), _page_of_activities
            )
            found += rows
            if token is None:
                return found
            if token in tokens:
                raise OutcomeUnknownError(f"the activities repeat themselves at {token}")
            tokens.add(token)
            query["page_token"] = token

    async def _one(
        self, call: str, work: Callable[[], Any], reader: Callable[[Any], BrokerOrder]
    ) -> BrokerOrder | None:
        try:
            return await self._wire.ask(call, work, reader)
        except BrokerRefusedError as error:
            if error.status == requests.codes.not_found:
                return None
            raise

    def _readable(
        self,
        call: str,
        reader: Callable[[Any], T],
        rows: Sequence[Any],
        *,
        needed: Callable[[Any], bool] = lambda _: False,
    ) -> list[T]:
        """Return what can be read of a list, and put the rest aside: one bad row must not hide
        the others, and what it meant shows when the balances are compared. A row that is `needed`
        makes the whole list unreadable: without it, it would say something else."""
        found: list[T] = []
        for row in rows:
            try:
                found.append(reader(row))
            except InvalidInputError as error:
                self._wire.quarantine(call, str(error), msgspec.json.encode(row))
                if needed(row):
                    raise OutcomeUnknownError(f"a row cannot be read: {error}") from error
        return found


def _page_of_activities(body: Any) -> tuple[list[Any], str | None]:
    """Return a page, and where the next begins where there is one."""
    rows = objects(body, "activities")
    if len(rows) < _PAGE_ACTIVITIES:
        return rows, None
    return rows, Fields(rows[-1], "activity").name("id")


def _may_be_ours(row: Any) -> bool:
    """Tell whether a row that cannot be read may be an order of ours: not if it names another's."""
    name = row.get("client_order_id") if isinstance(row, dict) else None
    return not isinstance(name, str) or name.startswith(_OUR_PREFIX)


def _named(
    order: BrokerOrder,
    *,
    client_order_id: str | None = None,
    broker_order_id: str | None = None,
) -> BrokerOrder:
    """Return `order` if it is the one that was asked about. Raises InvalidInputError."""
    if client_order_id is not None and order.client_order_id != client_order_id:
        raise InvalidInputError(
            f"order.client_order_id: expected {client_order_id}, got {order.client_order_id}"
        )
    if broker_order_id is not None and order.broker_order_id != broker_order_id:
        raise InvalidInputError(
            f"order.id: expected {broker_order_id}, got {order.broker_order_id}"
        )
    return order


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


def replacement_of(client_order_id: ClientOrderId, change: Change) -> ReplaceOrderRequest:
    """Return the library's request for a replacement; whole shares only, as it takes no others."""
    quantity, tif = change.quantity, change.time_in_force
    prices = {
        "limit_price": change.limit_price,
        "stop_price": change.stop_price,
        "trail": change.trail,
    }
    return ReplaceOrderRequest(
        qty=None if quantity is None else int(quantity),
        time_in_force=None if tif is None else AlpacaTimeInForce(tif.value),
        client_order_id=client_order_id,
        **{name: float(price) for name, price in prices.items() if price is not None},
    )
