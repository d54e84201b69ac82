"""An exchange without network or storage: tickets in, executions out, at times of one's choice."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from libs.common.domain.sessions import NEW_YORK, SessionCalendar, load_calendar
from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.clock import to_ns
from libs.common.kernel.ids import SequentialIds
from services.broker_simulator.engine.engine import Engine
from services.broker_simulator.engine.model import Account, Order, TradeUpdate
from services.broker_simulator.engine.registry import Terms
from services.broker_simulator.engine.ticket import read_amendment, read_ticket
from services.broker_simulator.market.daily import asset_of

MONDAY = date(2019, 3, 4)


def calendar() -> SessionCalendar:
    """Return the sessions of early 2019."""
    return load_calendar(date(2018, 12, 1), date(2019, 12, 31))


def ny(hour: int, minute: int = 0, second: int = 0, *, day: date = MONDAY) -> int:
    """Return a New York wall time of `day` as nanoseconds."""
    moment = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=NEW_YORK)
    return to_ns(moment)


class World:
    """One engine, one account with 100 000, symbols AAPL and KO; begins Monday 10:00."""

    def __init__(self, terms: Terms | None = None, cash: str = "100000") -> None:
        self.engine = Engine(
            calendar(), [asset_of("AAPL"), asset_of("KO")], SequentialIds(), terms or Terms()
        )
        self.now = ny(10)
        self.account: Account = self.engine.open_account("k", Decimal(cash), Decimal(2), self.now)
        self.engine.set_session(SessionState.REGULAR, self.now)
        self.updates: list[TradeUpdate] = []
        self.engine.drain()

    def quote(
        self,
        bid: str,
        ask: str,
        bid_size: int = 10_000,
        ask_size: int = 10_000,
        symbol: str = "AAPL",
    ) -> None:
        """Let a quote happen."""
        ticks = [int(Decimal(price) * 10_000) for price in (bid, ask)]
        self.engine.on_quote(symbol, self.now, ticks[0], ticks[1], bid_size, ask_size)
        self._collect()

    def trade(self, price: str, size: int = 100, symbol: str = "AAPL") -> None:
        """Let a print happen."""
        self.engine.on_trade(symbol, self.now, int(Decimal(price) * 10_000), size)
        self._collect()

    def submit(self, side: str, qty: str | None = None, **fields: Any) -> Order:
        """Submit an order as JSON: a day market order for AAPL unless told otherwise."""
        body: dict[str, Any] = {"symbol": "AAPL", "type": "market", "time_in_force": "day"}
        if qty is not None:
            body["qty"] = qty
        ticket = read_ticket({**body, "side": side, **fields})
        order = self.engine.submit(self.account, ticket, self.now)
        self.engine.proceed(order, self.now)
        self._collect()
        return order

    def replace(self, order: Order, **fields: Any) -> Order:
        """Replace an order."""
        change = read_amendment(fields)
        successor = self.engine.replace(self.account, order.id, change, self.now)
        self.engine.proceed_replacement(successor, self.now)
        self._collect()
        return successor

    def cancel(self, order: Order) -> None:
        """Cancel an order."""
        self.engine.cancel(self.account, order.id, self.now)
        self._collect()

    def at(self, ns: int, state: SessionState | None = None) -> None:
        """Move to a time, and into a part of the day."""
        self.now = ns
        self.engine.run_timers(ns)
        if state is not None:
            self.engine.set_session(state, ns)
        self._collect()

    def legs(self, order: Order) -> list[Order]:
        """Return the legs of an order."""
        return [self.engine.registry.orders[leg] for leg in order.legs]

    def events(self, order: Order) -> list[str]:
        """Return the events announced of an order."""
        return [u.event for u in self.updates if u.order.id == order.id]

    def position(self, symbol: str = "AAPL") -> Decimal:
        """Return the holding."""
        return self.engine.registry.position_qty(self.account.id, symbol)

    def buying_power(self) -> Decimal:
        """Return what may be spent."""
        return self.engine.registry.valuation(self.account).buying_power

    def _collect(self) -> None:
        self.updates += self.engine.drain().updates
