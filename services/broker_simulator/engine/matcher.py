"""How open orders meet the market: arrivals, quotes, prints, auctions, and the fills they make."""

from __future__ import annotations

from decimal import Decimal

from libs.common.domain import matching
from libs.common.domain.matching import Level, Match
from libs.common.domain.vocabulary import OrderType, SessionState, TimeInForce
from libs.common.kernel.money import money
from services.broker_simulator.engine.account import apply_execution
from services.broker_simulator.engine.behaviour import draw, part_of
from services.broker_simulator.engine.book import CENT, SymbolBook
from services.broker_simulator.engine.groups import Groups
from services.broker_simulator.engine.model import ZERO, Execution, Order, Status
from services.broker_simulator.engine.registry import Registry

# An order waiting for its cancel or replace to arrive can still be filled.
_MATCHABLE = frozenset(
    {Status.NEW, Status.PARTIALLY_FILLED, Status.PENDING_CANCEL, Status.PENDING_REPLACE}
)
_AUCTION = frozenset({TimeInForce.OPG, TimeInForce.CLS})
_IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})


class Matcher:
    """Matches the orders of the registry's books; every call carries the time."""

    def __init__(self, registry: Registry, groups: Groups) -> None:
        self._registry = registry
        self._groups = groups
        self.session = SessionState.CLOSED

    def on_quote(self, book: SymbolBook, ns: int) -> None:
        """Let every open order of the book see its new quote."""
        if book.halted:
            return
        for order in book.by_priority():
            if self._may_trade(order):
                self._follow(order, book.best(order.side).price, ns)
                self.take_displayed(order, book, ns)

    def on_print(self, book: SymbolBook, ns: int, price: Decimal, size: Decimal) -> None:
        """Let resting orders see a trade elsewhere: queues move, stops trigger."""
        if book.halted:
            return
        left = size
        for order in book.by_priority():
            if not self._may_trade(order):
                continue
            if order.type in _STOPS and not order.triggered:
                if self._follow(order, price, ns):
                    self.take_displayed(order, book, ns)
                continue
            limit = order.limit_price
            if not order.rests or limit is None or order.type is OrderType.MARKET:
                continue
            step = matching.queue_after_print(
                order.side, limit, order.queue_ahead, order.remaining, price, left
            )
            order.queue_ahead = step.ahead
            if step.filled > 0:
                left -= step.filled
                self.fill(order, [Match(limit, step.filled)], ns)

    def arrive(self, order: Order, ns: int) -> None:
        """Let a newly live order meet the displayed market once."""
        book = self._registry.books[order.symbol]
        if not self._may_trade(order) or order.tif in _AUCTION:
            return
        if book.halted:
            if order.tif in _IMMEDIATE:
                self._registry.transition(order, Status.CANCELED, "canceled", ns)
            return
        if order.type in _STOPS and book.has_quote:
            self._follow(order, book.best(order.side).price, ns)
        if order.tif is TimeInForce.FOK and not self._fits(order, book):
            self._registry.transition(order, Status.CANCELED, "canceled", ns)
            return
        self.take_displayed(order, book, ns, arriving=True)
        if order.tif is TimeInForce.IOC and order.is_open:
            self._registry.transition(order, Status.CANCELED, "canceled", ns)

    def auction(self, book: SymbolBook, ns: int, price: Decimal, tif: TimeInForce) -> None:
        """Execute the auction orders of `tif` at `price`; what the price refuses is canceled."""
        for order in book.by_priority():
            if order.tif is not tif or not order.is_open:
                continue
            if order.status is Status.ACCEPTED:
                self._registry.transition(order, Status.NEW, "new", ns)
            if matching.accepts(order.side, order.limit_price, price) and not book.halted:
                self.fill(order, [Match(price, self._wanted(order, price))], ns)
            if order.is_open:
                self._registry.transition(order, Status.CANCELED, "canceled", ns)

    def take_displayed(
        self, order: Order, book: SymbolBook, ns: int, *, arriving: bool = False
    ) -> None:
        """Fill `order` from the displayed market as far as it goes; a limit order then rests."""
        if order.type in _STOPS and not order.triggered:
            return
        if not book.has_quote:
            return
        limit = None if order.type is OrderType.MARKET else order.limit_price
        levels = book.ladder(order.side)
        matches = self._walk(order, levels, limit)
        if arriving:
            matches = self._cut(order, matches)
        if matches:
            book.take(order.side, matches)
            if order.rests and limit is not None:
                # The market came to the order: it trades at its own price.
                matches = [Match(limit, matching.matched_quantity(matches))]
            self.fill(order, matches, ns)
        if order.is_open and limit is not None and not order.rests:
            order.rests = True
            order.queue_ahead = matching.queue_on_arrival(
                order.side, limit, book.best(order.side.opposite)
            )

    def fill(self, order: Order, matches: list[Match], ns: int) -> None:
        """Book each match as an execution and announce it."""
        for match in matches:
            if match.quantity > 0:
                self._execute(order, match, ns)

    def _execute(self, order: Order, match: Match, ns: int) -> None:
        registry = self._registry
        account = registry.accounts[order.account]
        value = money(match.quantity * match.price)
        fee = registry.terms.fees.fee(order.side, match.quantity, value)
        position = apply_execution(account, order.symbol, order.side, match.quantity, value, fee)
        order.filled_qty += match.quantity
        order.filled_value += match.quantity * match.price
        order.filled_money += value
        complete = self._is_complete(order, position.qty)
        if complete:
            order.status = Status.FILLED
            order.filled_at = ns
        elif order.status is Status.NEW:
            order.status = Status.PARTIALLY_FILLED
        order.updated_at = ns
        execution = Execution(
            id=str(registry.ids.new()),
            seq=registry.next_sequence(),
            account=account.id,
            order_id=order.id,
            symbol=order.symbol,
            side=order.side,
            qty=match.quantity,
            price=match.price,
            money=value,
            fee=fee,
            ts=ns,
            cum_qty=order.filled_qty,
            leaves_qty=ZERO if complete else order.remaining,
            order_status=Status.FILLED if complete else Status.PARTIALLY_FILLED,
            position_qty=position.qty,
        )
        registry.add_execution(execution)
        registry.changes.accounts[account.id] = account
        registry.touch(order)
        registry.emit("fill" if complete else "partial_fill", order, ns, execution)
        for leg in self._groups.after_execution(order, match.quantity, ns):
            self.arrive(leg, ns)

    def _may_trade(self, order: Order) -> bool:
        if order.status not in _MATCHABLE or order.tif in _AUCTION:
            return False
        if self.session is SessionState.REGULAR:
            return True
        return order.extended_hours and self.session is not SessionState.CLOSED

    def _follow(self, order: Order, price: Decimal, ns: int) -> bool:
        """Move a trailing mark and set off a stop that `price` reaches; tells whether it did."""
        if order.type not in _STOPS or order.triggered or price <= 0:
            return False
        if order.type is OrderType.TRAILING_STOP:
            order.hwm = matching.trailing_mark(order.side, order.hwm, price)
            order.stop_price = matching.trailing_stop_price(
                order.side, order.hwm, order.trail_price, order.trail_percent
            )
            self._registry.changes.orders[order.id] = order
        if order.stop_price is not None and matching.is_stop_triggered(
            order.side, order.stop_price, price
        ):
            order.triggered = True
            order.updated_at = ns
            self._registry.touch(order)
            self._groups.on_trigger(order, ns)
            return True
        return False

    def _walk(self, order: Order, levels: list[Level], limit: Decimal | None) -> list[Match]:
        if order.notional is None:
            return matching.walk(levels, order.side, order.remaining, limit)
        matches = matching.walk_notional(levels, order.side, order.remaining_notional, limit)
        if order.opening:
            return matches
        # Closing by an amount of money ends with the position, whatever the price did meanwhile.
        held = abs(self._registry.position_qty(order.account, order.symbol))
        return matching.walk([Level(m.price, m.quantity) for m in matches], order.side, held)

    def _cut(self, order: Order, matches: list[Match]) -> list[Match]:
        behaviour = self._registry.behaviour
        if not matches or behaviour.partial_fill_probability <= 0:
            return matches
        if draw(self._registry.terms.seed, "partial", order.seq) >= (
            behaviour.partial_fill_probability
        ):
            return matches
        part = part_of(matching.matched_quantity(matches), behaviour.partial_fill_fraction)
        return matching.walk(
            [Level(match.price, match.quantity) for match in matches], order.side, part
        )

    def _fits(self, order: Order, book: SymbolBook) -> bool:
        limit = None if order.type is OrderType.MARKET else order.limit_price
        matches = self._walk(order, book.ladder(order.side), limit)
        if order.notional is not None:
            return bool(matches)
        return matching.matched_quantity(matches) == order.remaining

    def _wanted(self, order: Order, price: Decimal) -> Decimal:
        if order.notional is not None:
            return matching.affordable_quantity(order.remaining_notional, price)
        return order.remaining

    def _is_complete(self, order: Order, position_qty: Decimal) -> bool:
        if order.notional is None:
            return order.remaining <= 0
        spent = order.remaining_notional < CENT
        return spent or (not order.opening and position_qty == 0)
