"""`/v2/positions`: list, find, close one, close all."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Any

from libs.common.domain.vocabulary import OrderType, Side, TimeInForce
from libs.common.kernel.money import PRICE_QUANTUM
from services.broker_simulator.api.orders import cancel_open
from services.broker_simulator.api.query import read_flag
from services.broker_simulator.broker import Broker
from services.broker_simulator.edge import Answer, Request, Router
from services.broker_simulator.engine.account import reserved_shares
from services.broker_simulator.engine.book import price_of
from services.broker_simulator.engine.model import Account, Order, Position
from services.broker_simulator.engine.refusals import BrokerRefusal, not_found, unprocessable
from services.broker_simulator.engine.ticket import Ticket, read_decimal
from services.broker_simulator.wire_trading import position_json


class PositionsApi:
    """The position paths of one broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def register(self, router: Router) -> None:
        """Add the paths."""
        router.add("GET", "/v2/positions", self.list_positions)
        router.add("DELETE", "/v2/positions", self.close_all)
        router.add("GET", "/v2/positions/{name}", self.get)
        router.add("DELETE", "/v2/positions/{name}", self.close)

    async def list_positions(self, request: Request) -> Answer:
        """List the positions."""
        positions = request.account.positions
        return Answer([self._body(request.account, positions[s]) for s in sorted(positions)])

    async def get(self, request: Request) -> Answer:
        """Return one position."""
        return Answer(self._body(request.account, self._find(request)))

    async def close(self, request: Request) -> Answer:
        """Close a position, or a part of it, by a market order; answers with that order."""
        broker = self._broker
        position = self._find(request)
        quantity = self._quantity(request, abs(position.qty))
        order = self._submit(request.account, position, quantity)
        body = broker.order_body(order)
        broker.engine.proceed(order, broker.now_ns)
        await broker.settle()
        return Answer(body)

    async def close_all(self, request: Request) -> Answer:
        """Close every position, after cancelling the open orders where asked to."""
        broker = self._broker
        account = request.account
        if read_flag(request.query, "cancel_orders"):
            cancel_open(broker, account)
        results: list[dict[str, Any]] = []
        for symbol in sorted(account.positions):
            position = account.positions[symbol]
            try:
                order = self._submit(account, position, abs(position.qty))
            except BrokerRefusal as refusal:
                body = {**refusal.body(), "symbol": symbol}
                results.append({"symbol": symbol, "status": refusal.status, "body": body})
                continue
            results.append({"symbol": symbol, "status": 200, "body": broker.order_body(order)})
            broker.engine.proceed(order, broker.now_ns)
        await broker.settle()
        return Answer(results, 207)

    def _submit(self, account: Account, position: Position, quantity: Decimal) -> Order:
        ticket = Ticket(
            symbol=position.symbol,
            side=Side.SELL if position.qty > 0 else Side.BUY,
            type=OrderType.MARKET,
            tif=TimeInForce.DAY,
            qty=quantity,
        )
        return self._broker.engine.submit(account, ticket, self._broker.now_ns)

    def _quantity(self, request: Request, held: Decimal) -> Decimal:
        quantity, percentage = request.query.get("qty"), request.query.get("percentage")
        if quantity is not None and percentage is not None:
            unprocessable("only one of qty and percentage may be given")
        if quantity is not None:
            wanted = read_decimal(quantity, "qty")
            if wanted <= 0:
                unprocessable("qty must be > 0")
            return wanted
        if percentage is None:
            return held
        share = read_decimal(percentage, "percentage")
        if not 0 < share <= 100:
            unprocessable("percentage must be above 0 and at most 100")
        return (held * share / 100).quantize(PRICE_QUANTUM, rounding=ROUND_DOWN)

    def _find(self, request: Request) -> Position:
        name = request.params["name"]
        held = request.account.positions.values()
        found = (p for p in held if name in (p.symbol, self._broker.asset_id(p.symbol)))
        position = next(found, None)
        if position is None:
            not_found(f"position {name}")
        return position

    def _body(self, account: Account, position: Position) -> dict[str, Any]:
        registry = self._broker.registry
        book = registry.books[position.symbol]
        side = Side.SELL if position.qty > 0 else Side.BUY
        open_orders = registry.open_orders(account.id, position.symbol)
        available = abs(position.qty) - reserved_shares(open_orders, side)
        body = position_json(
            position,
            registry.assets[position.symbol],
            book.mark,
            price_of(book.previous_close),
            available if position.qty > 0 else -available,
        )
        return self._broker.alterations.alter("position", body)
