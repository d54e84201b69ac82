"""A small exchange and broker: takes orders, trades them when it likes, and tells what it did.

It is honest about what happened and rude about everything else: orders are rejected after they were
accepted, suspended, ended, filled in parts and while a cancel is pending; what it knows shows late
in its lists; its stream loses, repeats, reorders and falls silent.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from typing import Any

from msgspec import structs

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Reversal
from libs.common.domain.orders import OrderEvent as E
from libs.common.domain.positions import Position, apply_fill, apply_split
from libs.common.domain.vocabulary import OrderClass, OrderType, Side
from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import BrokerOrderId, ExecutionId, Symbol
from libs.common.kernel.money import ZERO
from services.trade_executor.model import BrokerOrder, BrokerPosition, Change, Update
from services.trade_executor.ports import BrokerRefusedError
from tests.simulation.dice import Dice, Weather
from tests.simulation.streams import Streams
from tests.simulation.tables import Table
from tests.simulation.trace import Trace

NAME = "venue"
ENDED = frozenset({E.FILLED, E.CANCELED, E.EXPIRED, E.REJECTED, E.REPLACED})
_NOT_IN_THE_MARKET = frozenset({E.ACKNOWLEDGED, E.SUSPENDED, E.HELD})
_ASIDE = frozenset({E.BUSTED, E.CORRECTED})
_PENDING = frozenset({E.PENDING_CANCEL, E.PENDING_REPLACE})
_TICK = Decimal("0.01")
_LOT = Decimal(1)


@dataclass(frozen=True)
class Arrival:
    """An order, or with `amends` an amendment, as it reached the venue."""

    at: float
    client_order_id: str
    spec: OrderSpec
    amends: bool = False
    ghost: bool = False


class Venue:
    """Orders in, executions out."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, dice: Dice, weather: Weather, trace: Trace,
        clock: Clock, context: Any, symbols: tuple[str, ...],
    ) -> None:  # fmt: skip
        self._loop = loop
        self._dice = dice
        self._weather = weather
        self._trace = trace
        self._clock = clock
        self._context = context
        self._count = 0
        self.prices = {symbol: Decimal(dice.whole(20, 300)) for symbol in symbols}
        self.orders: dict[BrokerOrderId, BrokerOrder] = {}
        self.shown_at: dict[str, float] = {}
        # Every execution ever, what stands in the place of another too; `reversals` by the
        # execution that was taken back, in their order.
        self.executions: Table[str, Execution] = Table()
        self.reversals: Table[str, Reversal] = Table()
        self.split_at: dict[str, dt.datetime] = {}
        self.untold_split_at: dict[str, dt.datetime] = {}
        self.held: dict[str, Position] = {}
        self.money = Decimal(1_000_000)
        self.activities: dict[str, Activity] = {}
        self.arrivals: list[Arrival] = []
        self.streams = Streams(loop, dice, weather, context)
        # Whether what comes now comes later than anybody could wait for it.
        self.ghostly = False
        self.down_until = 0.0
        self._by_client: dict[str, BrokerOrderId] = {}
        self._groups: dict[BrokerOrderId, tuple[BrokerOrderId, ...]] = {}
        self._totals: dict[BrokerOrderId, Decimal] = {}

    # What clients ask -------------------------------------------------------------------------

    def submit(self, client_order_id: str, spec: OrderSpec) -> BrokerOrder:
        """Take an order. Raises BrokerRefusedError."""
        self.arrivals.append(Arrival(self._loop.time(), client_order_id, spec, ghost=self.ghostly))
        if self._dice.chance(self._weather.venue_rejects):
            self._trace.note("venue.refused", client_order_id)
            raise BrokerRefusedError(403, 40310000, "refused by the simulation")
        name = self._take(client_order_id, spec).broker_order_id
        if spec.order_class is not OrderClass.SIMPLE:
            self._take_legs(name, spec)
        self._later(self._dice.between(0.0005, 0.05), lambda: self._proceed(name))
        return self._shown(name)

    def _take_legs(self, name: BrokerOrderId, spec: OrderSpec) -> None:
        """Take the exits of a bracket or OTO, which wait until their entry is filled; of an OCO,
        which is its own limit, the stop, which waits for its price."""
        pair = spec.order_class is OrderClass.OCO
        base = structs.replace(
            spec, side=spec.side if pair else spec.side.opposite, order_type=OrderType.LIMIT,
            limit_price=None, take_profit_limit_price=None, stop_loss_stop_price=None,
            stop_loss_limit_price=None,
        )  # fmt: skip
        wanted = []
        if spec.take_profit_limit_price is not None and not pair:
            wanted.append(structs.replace(base, limit_price=spec.take_profit_limit_price))
        if spec.stop_loss_stop_price is not None:
            stop = structs.replace(
                base, order_type=OrderType.STOP, stop_price=spec.stop_loss_stop_price
            )
            wanted.append(stop)
        legs = [self._take(self.name_of("leg"), one).broker_order_id for one in wanted]
        for leg in legs:
            self.orders[leg] = replace(self.orders[leg], event=E.HELD, status_word="held")
            self.shown_at[leg] = self.shown_at[name]
        self._groups[name] = tuple(legs)

    def replace(self, name: BrokerOrderId, client_order_id: str, change: Change) -> BrokerOrder:
        """Take an amendment, which may take its place a little later. Raises
        BrokerRefusedError."""
        old = self.orders.get(name)
        if (
            old is None
            or old.event not in {E.WORKING, E.PARTLY_FILLED}
            or (self._dice.chance(self._weather.venue_rejects))
        ):
            raise BrokerRefusedError(422, 42210000, "unable to replace order")
        total = change.quantity or (old.spec.quantity or ZERO)
        if total <= old.filled_quantity:
            raise BrokerRefusedError(422, 42210000, "qty must be > filled_qty")
        spec = structs.replace(
            old.spec, quantity=total - old.filled_quantity,
            limit_price=change.limit_price or old.spec.limit_price,
            stop_price=change.stop_price or old.spec.stop_price,
        )  # fmt: skip
        if spec.order_class is OrderClass.OCO:
            spec = structs.replace(spec, take_profit_limit_price=spec.limit_price)
        self.arrivals.append(Arrival(self._loop.time(), client_order_id, spec, amends=True))
        new = self._take(client_order_id, spec, replaces=name).broker_order_id
        self._totals[new] = total
        self._tell(name, E.PENDING_REPLACE)
        slow = self._dice.chance(self._weather.venue_cancel_slow)
        delay_s = self._dice.between(0.0005, 3.0 if slow else 0.05)
        self._later(delay_s, lambda: self._swap(name, new))
        return self._shown(new)

    def _swap(self, name: BrokerOrderId, new: BrokerOrderId) -> None:
        """Let an amendment take its place, or not."""
        old, successor = self.orders[name], self.orders[new]
        if successor.event in ENDED:
            if old.event is E.PENDING_REPLACE:
                self._tell(name, E.REPLACE_REFUSED)
            return
        left = self._totals[new] - old.filled_quantity
        refused = self._dice.chance(self._weather.venue_cancel_refused) or left <= 0
        if old.event is not E.PENDING_REPLACE or refused:
            if old.event is E.PENDING_REPLACE:
                self._tell(name, E.REPLACE_REFUSED)
            self._tell(new, E.REJECTED, reason="not replaced")
            return
        spec = structs.replace(successor.spec, quantity=left)
        self.orders[new] = replace(successor, spec=spec)
        self.orders[name] = replace(old, replaced_by=new)
        for root, legs in self._groups.items():
            self._groups[root] = tuple(new if leg == name else leg for leg in legs)
        if name in self._groups:
            self._groups[new] = self._groups.pop(name)
        self._tell(name, E.REPLACED)
        self._proceed(new)

    def _take(
        self, client_order_id: str, spec: OrderSpec, replaces: BrokerOrderId | None = None
    ) -> BrokerOrder:
        now = self._clock.now()
        broker_order_id = BrokerOrderId(self.name_of("order"))
        order = BrokerOrder(
            broker_order_id=broker_order_id, client_order_id=client_order_id,
            symbol=Symbol(spec.symbol), side=spec.side, event=E.ACKNOWLEDGED,
            status_word="pending_new", spec=spec, submitted_at=now, updated_at=now,
            replaces=replaces,
        )  # fmt: skip
        self.orders[broker_order_id] = order
        self._by_client[client_order_id] = broker_order_id
        blind = self._dice.chance(self._weather.venue_blind)
        self.shown_at[broker_order_id] = self._loop.time() + (
            self._dice.between(0.0, 1.5) if blind else 0.0
        )
        self._trace.note("venue.took", broker_order_id, client_order_id, spec.side, spec.quantity,
                         spec.symbol, spec.order_type)  # fmt: skip
        return order

    def cancel(self, broker_order_id: BrokerOrderId) -> None:
        """Ask for an end. Raises BrokerRefusedError for an order that has ended or is not there."""
        order = self.orders.get(broker_order_id)
        if order is None:
            raise BrokerRefusedError(404, 40410000, "order not found")
        if order.event in ENDED:
            raise BrokerRefusedError(422, 42210000, f"order is already {order.status_word}")
        if self._dice.chance(self._weather.venue_cancel_refused):
            self._later(0.01, lambda: self._tell_if_open(broker_order_id, E.CANCEL_REFUSED))
        elif self._dice.chance(self._weather.venue_cancel_slow):
            self._tell(broker_order_id, E.PENDING_CANCEL)
            delay_s = self._dice.between(0.05, 3.0)
            self._later(delay_s, lambda: self._tell_if_open(broker_order_id, E.CANCELED))
        else:
            self._tell(broker_order_id, E.CANCELED)

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """Return an order by its client's id, once it shows."""
        broker_order_id = self._by_client.get(client_order_id)
        return None if broker_order_id is None else self.order(broker_order_id)

    def order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        """Return an order by its id, once it shows, with its legs."""
        there = broker_order_id in self.orders and self._shows(broker_order_id)
        return self._shown(broker_order_id) if there else None

    def _shown(self, name: BrokerOrderId) -> BrokerOrder:
        legs = tuple(self.orders[leg] for leg in self._groups.get(name, ()))
        return replace(self.orders[name], legs=legs) if legs else self.orders[name]

    def open_orders(self) -> list[BrokerOrder]:
        """Return the open orders that show."""
        return [
            order
            for name, order in self.orders.items()
            if order.event not in ENDED and self._shows(name)
        ]

    def orders_since(self, since: dt.datetime, symbol: str | None) -> list[BrokerOrder]:
        """Return the orders that show, open and ended."""
        return [
            order
            for name, order in self.orders.items()
            if self._shows(name)
            and order.submitted_at is not None
            and order.submitted_at > since
            and symbol in {None, order.symbol}
        ]

    def positions(self) -> list[BrokerPosition]:
        """Return the positions."""
        return [
            BrokerPosition(Symbol(symbol), held.quantity, held.avg_cost)
            for symbol, held in self.held.items()
            if held.quantity
        ]

    def executions_since(self, since: dt.datetime) -> list[Execution]:
        """Return the executions that show, oldest first; what was taken back stays listed, what
        replaces another is listed as a reversal."""
        replacing = {one.replacement.execution_id for one in self.reversals.values()
                     if one.replacement}  # fmt: skip
        return [
            one
            for name, one in self.executions.items()
            if one.executed_at >= since and name not in replacing and self._shows(name)
        ]

    def reversals_since(self, since: dt.datetime) -> list[Reversal]:
        """Return the reversals that show, oldest first."""
        return [
            one
            for one in self.reversals.values()
            if one.reversed_at >= since and self._shows(one.record_id)
        ]

    def activities_since(self, since: dt.datetime) -> list[Activity]:
        """Return what moved cash without a trade."""
        return [one for one in self.activities.values() if one.executed_at >= since]

    # What happens by itself ---------------------------------------------------------------------

    def _proceed(self, name: BrokerOrderId) -> None:
        """Bring an order into the market, or not."""
        order = self.orders[name]
        if order.event in ENDED:
            return
        if self._dice.chance(self._weather.venue_rejects):
            self._tell(name, E.REJECTED, reason="rejected by the simulation")
            return
        if order.event is E.ACKNOWLEDGED:
            self._tell(name, E.WORKING)
        if self._dice.chance(self._weather.venue_odd_word):
            self._tell_aside(name, E.UNRECOGNISED, "odd_word")
        if self._dice.chance(self._weather.venue_suspends):
            self._tell(name, E.SUSPENDED)
            self._later(self._dice.between(0.5, 5.0), lambda: self._resume(name))
            return
        self._trade_soon(name)

    def _resume(self, name: BrokerOrderId) -> None:
        if self.orders[name].event is E.SUSPENDED:
            self._tell(name, E.WORKING)
            self._trade_soon(name)

    def _trade_soon(self, name: BrokerOrderId) -> None:
        if self._marketable(self.orders[name]):
            slow = self._dice.chance(self._weather.venue_partial)
            self._later(self._dice.between(0.001, 3.0 if slow else 0.1), lambda: self._trade(name))

    def _marketable(self, order: BrokerOrder) -> bool:
        price, spec, buys = self.prices[order.symbol], order.spec, order.side is Side.BUY
        if spec.order_type is OrderType.LIMIT and spec.limit_price is not None:
            return price <= spec.limit_price if buys else price >= spec.limit_price
        if spec.order_type is OrderType.STOP and spec.stop_price is not None:
            return price >= spec.stop_price if buys else price <= spec.stop_price
        return spec.order_type is OrderType.MARKET

    def _trade(self, name: BrokerOrderId) -> None:
        order = self.orders[name]
        if order.event in ENDED | _NOT_IN_THE_MARKET or not self._marketable(order):
            return
        left = (order.spec.quantity or ZERO) - order.filled_quantity
        if self._dice.chance(self._weather.venue_ends):
            self._tell(name, self._dice.pick((E.CANCELED, E.EXPIRED)))
            return
        part = left
        if left > _LOT and self._dice.chance(self._weather.venue_partial):
            part = max(_LOT, (left * Decimal(self._dice.whole(1, 9)) / 10).quantize(_LOT))
        self.fill(name, min(part, left))
        if self.orders[name].event not in ENDED:
            self._trade_soon(name)

    def fill(self, name: BrokerOrderId, quantity: Decimal) -> None:
        """Let an order trade at the present price."""
        order, price = self.orders[name], self.prices[self.orders[name].symbol]
        execution = Execution(
            broker=NAME, execution_id=ExecutionId(self.name_of("execution")), broker_order_id=name,
            symbol=order.symbol, side=order.side, quantity=quantity, price=price,
            executed_at=self._clock.now(),
        )  # fmt: skip
        self._count_in(execution)
        complete = self.orders[name].filled_quantity >= (order.spec.quantity or ZERO)
        self._tell(name, E.FILLED if complete else E.PARTLY_FILLED, execution)

    def _count_in(self, execution: Execution) -> None:
        """Let an execution count."""
        self.executions[execution.execution_id] = execution
        self._show_soon(execution.execution_id)
        self._move(execution, execution.side, execution.quantity)

    def _show_soon(self, name: str) -> None:
        blind = self._dice.chance(self._weather.venue_blind)
        self.shown_at[name] = self._loop.time() + (self._dice.between(0.0, 2.0) if blind else 0.0)

    def _move(self, execution: Execution, side: Side, quantity: Decimal) -> None:
        """Move cash, shares and the order's sum: by an execution, or by what takes it back."""
        order, price = self.orders[execution.broker_order_id], execution.price
        counts = side is execution.side
        self.money -= side.sign * execution.amount
        before = self.held.get(order.symbol, Position())
        self.held[order.symbol] = apply_fill(before, side, quantity, price).position
        signed = quantity if counts else -quantity
        done = order.filled_quantity + signed
        value = (order.filled_avg_price or ZERO) * order.filled_quantity + price * signed
        self.orders[order.broker_order_id] = replace(
            order, filled_quantity=done,
            filled_avg_price=(value / done).quantize(Decimal("0.00000001")) if done else None,
        )  # fmt: skip

    def amend_execution(
        self, name: ExecutionId, quantity: Decimal | None = None, price: Decimal | None = None
    ) -> None:
        """Take an execution back; with a quantity or a price another stands in its place."""
        old, now, new = self.executions[name], self._clock.now(), None
        if quantity is not None or price is not None:
            new = replace(
                old, execution_id=ExecutionId(self.name_of("correction")), executed_at=now,
                quantity=quantity or old.quantity, price=price or old.price,
            )  # fmt: skip
        record = new.execution_id if new else self.name_of("bust")
        self.reversals[name] = Reversal(
            NAME, name, old.broker_order_id, old.symbol, now, record, new
        )
        self._show_soon(record)
        self._move(old, old.side.opposite, old.quantity)
        if new is not None:
            self._count_in(new)
        self._trace.note("venue.amended", name, record, new and (new.quantity, new.price))
        self._tell(old.broker_order_id, E.CORRECTED if new else E.BUSTED, new, amends=name)
        if self.orders[old.broker_order_id].event not in ENDED | _NOT_IN_THE_MARKET:
            self._trade_soon(old.broker_order_id)

    def split(self, symbol: str, ratio: Decimal) -> None:
        """Split a symbol, 2 for 1 or 1 for 2: open orders end, shares come or go, of a fraction
        money."""
        for name, order in list(self.orders.items()):
            if order.symbol == symbol and order.event not in ENDED:
                self._tell(name, E.CANCELED, reason="CORPORATE_ACTION")
        self.split_at[symbol] = self._clock.now()
        self.prices[symbol] = max(Decimal(5), (self.prices[symbol] / ratio).quantize(_TICK))
        before = self.held.get(symbol, Position())
        if not before.quantity:
            self.untold_split_at[symbol] = self._clock.now()
            return
        moved = before.quantity * (ratio - 1)
        self._move_shares("SPLIT", symbol, moved, ZERO)
        rest = self.held[symbol].quantity
        fraction = rest - rest.to_integral_value(ROUND_DOWN)
        if fraction:
            paid = (fraction * self.prices[symbol]).quantize(Decimal("0.0001"))
            self._move_shares("CIL", symbol, -fraction, paid)
        self._trace.note("venue.split", symbol, ratio, before.quantity, self.held[symbol].quantity)

    def _move_shares(self, kind: str, symbol: str, quantity: Decimal, amount: Decimal) -> None:
        name, before = self.name_of(kind), self.held[symbol]
        self.held[symbol] = apply_split(before, quantity)
        self.money += amount
        self.activities[name] = Activity(
            name, kind, amount, self._clock.now(), symbol=symbol, quantity=quantity
        )

    def move_price(self, symbol: str) -> None:
        """Let the price move; what becomes marketable trades."""
        step = Decimal(self._dice.whole(-20, 20)) * _TICK
        self.prices[symbol] = max(Decimal(5), self.prices[symbol] + step)
        for name, order in list(self.orders.items()):
            waits = order.symbol == symbol and order.event not in ENDED
            resting = order.spec.order_type is not OrderType.MARKET
            if waits and resting and order.event not in _NOT_IN_THE_MARKET:
                self._trade_soon(name)
            elif (
                waits
                and order.event is E.HELD
                and self._is_stop_of_pair(name)
                and self._dice.chance(0.1)
            ):
                self._tell(name, E.WORKING)
                self._trade_soon(name)

    def _is_stop_of_pair(self, name: BrokerOrderId) -> bool:
        roots = [root for root, legs in self._groups.items() if name in legs]
        return any(self.orders[root].spec.order_class is OrderClass.OCO for root in roots)

    def order_from_elsewhere(self, spec: OrderSpec) -> None:
        """Take an order that somebody placed past us."""
        order = self._take(self.name_of("foreign"), spec)
        self._later(0.005, lambda: self._proceed(order.broker_order_id))

    def move_cash(self, kind: str, amount: Decimal) -> None:
        """Pay a dividend, take a fee."""
        name = self.name_of(kind)
        self.money += amount
        self.activities[name] = Activity(name, kind, amount, self._clock.now())
        self._trace.note("venue.cash", kind, amount)

    # The stream ---------------------------------------------------------------------------------

    def _tell_if_open(self, name: BrokerOrderId, event: E) -> None:
        if self.orders[name].event not in ENDED:
            self._tell(name, event)

    def _tell_aside(self, name: BrokerOrderId, event: E, word: str) -> None:
        self.streams.send(Update(event, word, self._shown(name), ts=self._clock.now()))

    def _tell(
        self, name: BrokerOrderId, event: E, execution: Execution | None = None,
        reason: str | None = None, amends: ExecutionId | None = None,
    ) -> None:  # fmt: skip
        order, now = self.orders[name], self._clock.now()
        stands = event
        if event in {E.CANCEL_REFUSED, E.REPLACE_REFUSED}:
            # What was halted or held stays so.
            stands = order.event
            if stands in _PENDING:
                stands = E.PARTLY_FILLED if order.filled_quantity else E.WORKING
        elif event in _ASIDE or (event is E.PARTLY_FILLED and order.event in _PENDING):
            stands = order.event
        order = replace(
            order, event=stands, status_word=stands, updated_at=now, reason=reason or order.reason
        )
        self.orders[name] = order
        self._trace.note("venue.told", name, event, order.filled_quantity)
        self.streams.send(Update(event, event, self._shown(name), execution, amends, ts=now))
        if event in ENDED:
            self._follow_end(name, event)

    def _follow_end(self, name: BrokerOrderId, event: E) -> None:
        """Let the exits of a filled entry work, end those of any other; one exit ends the rest."""
        pair = self.orders[name].spec.order_class is OrderClass.OCO
        for leg in self._groups.get(name, ()):
            if pair and event is E.FILLED:
                if not self._dice.chance(self._weather.venue_leak):
                    self._tell_if_open(leg, E.CANCELED)
            elif event is E.FILLED and self.orders[leg].event is E.HELD:
                self._tell(leg, E.WORKING)
                self._trade_soon(leg)
            elif event not in {E.FILLED, E.REPLACED}:
                self._tell_if_open(leg, E.CANCELED)
        if event is E.REPLACED:
            return
        for root, legs in list(self._groups.items()):
            if name in legs and not self._dice.chance(self._weather.venue_leak):
                pair = self.orders[root].spec.order_class is OrderClass.OCO
                for other in (*legs, root) if pair else legs:
                    if other != name:
                        self._tell_if_open(other, E.CANCELED)

    def _shows(self, name: str) -> bool:
        return self.shown_at.get(name, 0.0) <= self._loop.time()

    def _later(self, delay_s: float, work: Callable[[], None]) -> None:
        self._loop.call_later(delay_s, work, context=self._context)

    def name_of(self, what: str) -> str:
        """Return a name that nothing else has."""
        self._count += 1
        return f"{what}-{self._count}"
