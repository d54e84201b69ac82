"""The exchange and broker as one synchronous state machine.

Every input carries its time in nanoseconds, nothing here reads a clock or draws a random number
except from the seed. After inputs, `drain` gives what must be stored and then sent.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from decimal import Decimal

from libs.common.domain.sessions import SessionCalendar
from libs.common.domain.vocabulary import OrderClass, SessionState, TimeInForce
from libs.common.kernel.ids import IdSource
from services.broker_simulator.engine import actions
from services.broker_simulator.engine.acceptance import Acceptance, is_auction
from services.broker_simulator.engine.behaviour import Mishap, draw
from services.broker_simulator.engine.book import price_of
from services.broker_simulator.engine.groups import Groups
from services.broker_simulator.engine.interventions import Interventions
from services.broker_simulator.engine.matcher import Matcher
from services.broker_simulator.engine.model import (
    Account,
    Asset,
    EquityPoint,
    Order,
    Status,
)
from services.broker_simulator.engine.refusals import BrokerRefusal, not_found
from services.broker_simulator.engine.registry import Changes, Registry, Terms
from services.broker_simulator.engine.replacement import Replacement
from services.broker_simulator.engine.ticket import Amendment, Ticket

NS = 1_000_000_000
# "The order will reject cancel requests while in this state", Alpaca says of a pending replace.
_NOT_CANCELABLE = frozenset({Status.PENDING_CANCEL, Status.PENDING_REPLACE})
_LIVE = frozenset({Status.NEW, Status.PARTIALLY_FILLED})


class Engine:
    """Orders in, executions out; the public face of the books."""

    def __init__(
        self,
        calendar: SessionCalendar,
        assets: Iterable[Asset],
        ids: IdSource,
        terms: Terms | None = None,
    ) -> None:
        self.registry = Registry(calendar, assets, ids, terms or Terms())
        self._groups = Groups(self.registry)
        self._matcher = Matcher(self.registry, self._groups)
        self._acceptance = Acceptance(self.registry)
        self.interventions = Interventions(self.registry, self._groups, self._matcher)
        self._replacement = Replacement(self.registry, self._acceptance, self.interventions)
        self._timers: list[tuple[int, int, str]] = []

    @property
    def session(self) -> SessionState:
        """Return the part of the day that the exchange is in."""
        return self._matcher.session

    def open_account(self, key: str, cash: Decimal, multiplier: Decimal, ns: int) -> Account:
        """Open an account for `key` with `cash`."""
        account_id = str(self.registry.ids.new())
        account = Account(
            id=account_id,
            key=key,
            number=f"PA{account_id.replace('-', '')[-10:].upper()}",
            created_at=ns,
            cash=cash,
            opening_cash=cash,
            multiplier=multiplier,
            last_equity=cash,
        )
        self.registry.add_account(account)
        return account

    def submit(self, account: Account, ticket: Ticket, ns: int) -> Order:
        """Accept a ticket. Returns the root order as accepted; call `proceed` to let it trade.

        The two steps let the answer show the order before the market touched it. Raises
        BrokerRefusal.
        """
        self.run_timers(ns)
        order = self._acceptance.accept(account, ticket, ns)
        if not self._is_live_now(order):
            order.status = Status.ACCEPTED
        return order

    def proceed(self, order: Order, ns: int) -> None:
        """Let an accepted order reach the exchange, at once or after the acknowledgement delay."""
        if order.status is Status.ACCEPTED:
            self.registry.emit("accepted", order, ns)
            return
        self._after(self.registry.behaviour.ack_delay_s, order, ns)

    def cancel(self, account: Account, order_id: str, ns: int) -> Order:
        """Ask for the end of an order; a delay leaves it pending, and fillable. Raises 404, 422."""
        self.run_timers(ns)
        order = self.find(account, order_id)
        if not order.is_open or order.status in _NOT_CANCELABLE or order.is_successor_in_waiting:
            raise BrokerRefusal(422, 42210000, f'order is already in "{order.status}" state')
        rejected = self.registry.struck(Mishap.CANCEL_REJECTED, order)
        if rejected or self.registry.behaviour.cancel_delay_s > 0:
            order.status_before = order.status
            order.cancel_rejected = rejected
            self.registry.transition(order, Status.PENDING_CANCEL, "pending_cancel", ns)
            self._after(self.registry.behaviour.cancel_delay_s, order, ns)
        else:
            self._end(order, Status.CANCELED, ns)
        return order

    def replace(self, account: Account, order_id: str, amendment: Amendment, ns: int) -> Order:
        """Ask for a replacement; returns the new order, pending. Raises 403, 404, 422."""
        self.run_timers(ns)
        order = self.find(account, order_id)
        return self._replacement.request(account, order, amendment, ns)

    def proceed_replacement(self, successor: Order, ns: int) -> None:
        """Let a requested replacement reach the exchange, at once or after the delay."""
        self._after(self.registry.behaviour.replace_delay_s, successor, ns)

    def on_quote(
        self, symbol: str, ns: int, bid: int, ask: int, bid_size: int, ask_size: int
    ) -> None:
        """Take a new best bid and offer, prices in ten-thousandths."""
        book = self.registry.books[symbol]
        book.set_quote(ns, bid, ask, bid_size, ask_size)
        if book.orders:
            self._matcher.on_quote(book, ns)

    def on_trade(self, symbol: str, ns: int, price: int, size: int) -> None:
        """Take a print; the first of a regular session sets the opening auction's price."""
        book = self.registry.books[symbol]
        book.last = price
        if self.session is SessionState.REGULAR and not book.opened_on:
            book.opened_on = ns
            self._matcher.auction(book, ns, price_of(price), TimeInForce.OPG)
        if book.orders:
            self._matcher.on_print(book, ns, price_of(price), Decimal(size))

    def set_session(self, state: SessionState, ns: int) -> None:
        """Enter a part of the day: orders go live, auctions run, day orders end."""
        previous, self._matcher.session = self._matcher.session, state
        if previous is state:
            return
        if previous is SessionState.REGULAR:
            self._close(ns)
        if previous is SessionState.POST or state is SessionState.CLOSED:
            self._expire_due(ns)
        if state is SessionState.REGULAR:
            for book in self.registry.books.values():
                book.opened_on = 0
        if state is not SessionState.CLOSED:
            self._wake(ns)

    def run_timers(self, ns: int) -> None:
        """Carry out what was delayed until `ns`."""
        while self._timers and self._timers[0][0] <= ns:
            due, _, order_id = heapq.heappop(self._timers)
            self._arrived(self.registry.orders[order_id], due)

    @property
    def next_timer(self) -> int | None:
        """Return when something delayed comes due next."""
        return self._timers[0][0] if self._timers else None

    def halt(self, symbol: str, halted: bool, ns: int, *, suspend: bool = False) -> None:
        """Stop or resume trading of a symbol; orders are still taken.

        With `suspend` the exchange tells so: live orders become `suspended`, and `new` (or
        `partially_filled`) again when trading resumes.
        """
        book = self.registry.books[symbol]
        book.halted = halted
        for order in book.by_priority():
            if suspend and halted and order.status in _LIVE:
                self.interventions.pause(order, Status.SUSPENDED, ns)
            elif not halted and order.status is Status.SUSPENDED:
                self.interventions.resume(order, ns)

    def split(
        self,
        symbol: str,
        ratio: Decimal,
        ns: int,
        *,
        cash_in_lieu: bool | None = None,
        cancel_orders: bool = False,
    ) -> None:
        """Carry out a split: `ratio` new shares for one."""
        actions.split(
            self.registry, self._groups, symbol, ratio, ns,
            cash_in_lieu=cash_in_lieu, cancel_orders=cancel_orders,
        )  # fmt: skip

    def pay_dividend(self, symbol: str, cash: Decimal, ns: int) -> None:
        """Pay a cash dividend of `cash` a share."""
        actions.pay_dividend(self.registry, symbol, cash, ns)

    def find(self, account: Account, order_id: str) -> Order:
        """Return the account's order. Raises 404."""
        order = self.registry.orders.get(order_id)
        if order is None or order.account != account.id:
            not_found(f"order {order_id}")
        return order

    def drain(self) -> Changes:
        """Return what changed since the last call."""
        return self.registry.drain()

    def restore(self, orders: Iterable[Order]) -> None:
        """Take orders from storage, in their sequence; pending steps are carried out anew."""
        for order in orders:
            self.registry.index_order(order)
            if order.status in {Status.PENDING_NEW, Status.PENDING_CANCEL}:
                heapq.heappush(self._timers, (order.updated_at, order.seq, order.id))

    def _after(self, delay_s: float, order: Order, ns: int) -> None:
        if delay_s > 0:
            heapq.heappush(self._timers, (ns + int(delay_s * NS), order.seq, order.id))
        else:
            self._arrived(order, ns)

    def _arrived(self, order: Order, ns: int) -> None:
        """Carry out the pending step of `order`."""
        if order.status is Status.PENDING_CANCEL and order.cancel_rejected:
            order.cancel_rejected = False
            self.interventions.reject_cancel(order, ns)
        elif order.status is Status.PENDING_CANCEL:
            self._end(order, Status.CANCELED, ns)
        elif order.status is Status.FILLED and order.status_before is not None:
            order.status_before = None  # filled while the cancel was on its way
            self.interventions.reject_cancel(order, ns)
        elif order.status is Status.PENDING_NEW:
            if order.replaces is not None and not self._replacement.carry_out(order, ns):
                return
            self._go_live(order, ns)

    def _go_live(self, order: Order, ns: int) -> None:
        chance = self.registry.behaviour.reject_probability
        if self.registry.struck(Mishap.REJECT_ORDER, order) or (
            chance > 0 and draw(self.registry.terms.seed, "reject", order.seq) < chance
        ):
            self._end(order, Status.REJECTED, ns)
            return
        if not self._is_live_now(order):
            self.registry.transition(order, Status.ACCEPTED, "accepted", ns)
            return
        self.registry.transition(order, Status.NEW, "new", ns)
        if order.order_class is OrderClass.OCO and order.parent is None:
            for leg_id in order.legs:
                leg = self.registry.orders[leg_id]
                if leg.status is Status.HELD:
                    self.registry.transition(leg, Status.NEW, "new", ns)
                    self._matcher.arrive(leg, ns)
        if order.is_open:
            self._matcher.arrive(order, ns)

    def _end(self, order: Order, status: Status, ns: int) -> None:
        self.registry.transition(order, status, str(status), ns)
        self._groups.after_end(order, ns)

    def _is_live_now(self, order: Order) -> bool:
        if is_auction(order.tif):
            return False
        if self.session is SessionState.REGULAR:
            return True
        return order.extended_hours and self.session is not SessionState.CLOSED

    def _wake(self, ns: int) -> None:
        """Bring orders that waited for this part of the day into the market."""
        waiting = [o for b in self.registry.books.values() for o in b.orders.values()]
        for order in sorted(waiting, key=lambda o: o.seq):
            order.rests = False
            if order.status is Status.ACCEPTED and self._is_live_now(order):
                self._go_live(order, ns)
            elif order.status is Status.DONE_FOR_DAY and self._is_live_now(order):
                self.interventions.resume(order, ns)

    def _close(self, ns: int) -> None:
        """Run the closing auctions, end day orders, strike the day's equity."""
        for book in self.registry.books.values():
            if book.last:
                self._matcher.auction(book, ns, price_of(book.last), TimeInForce.CLS)
        self._expire_due(ns)
        for book in self.registry.books.values():
            book.previous_close = book.last or book.previous_close
        for account in self.registry.accounts.values():
            equity = self.registry.valuation(account).equity
            account.last_equity = equity
            account.equity_history.append(EquityPoint(ns, equity))
            self.registry.changes.accounts[account.id] = account

    def _expire_due(self, ns: int) -> None:
        for book in self.registry.books.values():
            for order in list(book.orders.values()):
                if order.is_open and order.expires_at <= ns:
                    self._end(order, Status.EXPIRED, ns)
