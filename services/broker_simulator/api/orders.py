"""`/v2/orders`: submit, list, find, replace, cancel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.broker_simulator.api.query import (
    read_choice,
    read_flag,
    read_int,
    read_symbols,
    read_time,
)
from services.broker_simulator.broker import Broker
from services.broker_simulator.edge import Answer, Request, Router
from services.broker_simulator.engine.model import TERMINAL, Account, Order, Status
from services.broker_simulator.engine.refusals import BrokerRefusal, not_found
from services.broker_simulator.engine.ticket import read_amendment, read_ticket

_STATUSES = ("open", "closed", "all")


class OrdersApi:
    """The order paths of one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def register(self, router: Router) -> None:
        """Add the paths."""
        router.add("POST", "/v2/orders", self.submit)
        router.add("GET", "/v2/orders", self.list_orders)
        router.add("DELETE", "/v2/orders", self.cancel_all)
        router.add("GET", "/v2/orders:by_client_order_id", self.by_client_id)
        router.add("GET", "/v2/orders/{order_id}", self.get)
        router.add("PATCH", "/v2/orders/{order_id}", self.replace)
        router.add("DELETE", "/v2/orders/{order_id}", self.cancel)

    async def submit(self, request: Request) -> Answer:
        """Submit an order."""
        broker, now = self._broker, self._broker.now_ns
        ticket = read_ticket(request.json())
        order = broker.engine.submit(request.account, ticket, now)
        body = broker.order_body(order)
        broker.engine.proceed(order, now)
        await broker.settle()
        return Answer(body)

    async def list_orders(self, request: Request) -> Answer:
        """List orders, newest first, 50 unless told otherwise."""
        query = request.query
        status = read_choice(query, "status", _STATUSES, "open")
        limit = read_int(query, "limit", 50, 1, 500)
        direction = read_choice(query, "direction", ("asc", "desc"), "desc")
        nested = read_flag(query, "nested")
        after, until = read_time(query, "after"), read_time(query, "until")
        side = query.get("side")
        symbols = set(read_symbols(query))
        found: list[dict[str, Any]] = []
        for order in self._of(request.account, status, newest_first=direction == "desc"):
            if status == "closed" and order.is_open:
                continue
            if nested and order.parent is not None:
                continue
            if (after is not None and order.submitted_at <= after) or (
                until is not None and order.submitted_at >= until
            ):
                continue
            if (side and order.side != side) or (symbols and order.symbol not in symbols):
                continue
            found.append(self._broker.order_body(order, nested=nested))
            if len(found) == limit:
                break
        return Answer(found)

    async def get(self, request: Request) -> Answer:
        """Return one order."""
        order = self._broker.engine.find(request.account, request.params["order_id"])
        return Answer(self._broker.order_body(order))

    async def by_client_id(self, request: Request) -> Answer:
        """Return the order that the client knows by its own id."""
        client_id = request.query.get("client_order_id", "")
        registry = self._broker.registry
        order_id = registry.by_client_id.get((request.account.id, client_id))
        if order_id is None:
            not_found(f"order for {client_id}")
        return Answer(self._broker.order_body(registry.orders[order_id]))

    async def replace(self, request: Request) -> Answer:
        """Replace an order by a changed one."""
        broker, now = self._broker, self._broker.now_ns
        change = read_amendment(request.json())
        order_id = request.params["order_id"]
        successor = broker.engine.replace(request.account, order_id, change, now)
        body = broker.order_body(successor)
        broker.engine.proceed_replacement(successor, now)
        await broker.settle()
        return Answer(body)

    async def cancel(self, request: Request) -> Answer:
        """Ask for the cancellation of an order."""
        broker = self._broker
        broker.engine.cancel(request.account, request.params["order_id"], broker.now_ns)
        await broker.settle()
        return Answer(status=204)

    async def cancel_all(self, request: Request) -> Answer:
        """Ask for the cancellation of every open order."""
        results = cancel_open(self._broker, request.account)
        await self._broker.settle()
        return Answer(results, 207)

    def _of(self, account: Account, status: str, *, newest_first: bool) -> Iterator[Order]:
        registry = self._broker.registry
        if status == "open":
            found = registry.open_orders(account.id)
            return reversed(found) if newest_first else iter(found)
        ids = registry.account_orders[account.id]
        return (registry.orders[i] for i in (reversed(ids) if newest_first else ids))


def cancel_open(
    broker: Broker, account: Account, symbol: str | None = None
) -> list[dict[str, Any]]:
    """Cancel the account's open orders, exits with their groups; returns Alpaca's 207 body."""
    results: list[dict[str, Any]] = []
    for order in broker.registry.open_orders(account.id, symbol):
        if order.status in TERMINAL or order.status is Status.PENDING_CANCEL:
            results.append({"id": order.id, "status": 200, "body": None})
            continue  # it went with another order of its group
        try:
            broker.engine.cancel(account, order.id, broker.now_ns)
            results.append({"id": order.id, "status": 200, "body": None})
        except BrokerRefusal as refusal:
            results.append({"id": order.id, "status": refusal.status, "body": refusal.body()})
    return results
