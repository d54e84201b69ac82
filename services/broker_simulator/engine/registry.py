"""The engine's memory: accounts, orders, books, and what changed since it was last asked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from libs.common.domain.sessions import SessionCalendar
from libs.common.kernel.ids import IdSource
from services.broker_simulator.engine.account import FeeSchedule, Valuation, valuate
from services.broker_simulator.engine.behaviour import Behaviour, Mishap
from services.broker_simulator.engine.book import SymbolBook
from services.broker_simulator.engine.model import (
    ZERO,
    Account,
    Activity,
    Asset,
    Execution,
    Order,
    Status,
    TradeUpdate,
)


@dataclass(frozen=True, slots=True)
class Terms:
    """The house rules: what the exchange shows, charges and allows."""

    seed: int = 7
    depth_levels: int = 10
    fees: FeeSchedule = field(default_factory=FeeSchedule)
    market_hold: Decimal = Decimal("1.03")
    wash_trade_check: bool = True


@dataclass(slots=True)
class Changes:
    """What happened since the last drain: rows to store, messages to send once they are stored."""

    orders: dict[str, Order] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    updates: list[TradeUpdate] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing needs to be stored or sent."""
        return not (self.orders or self.accounts or self.executions or self.activities)


class Registry:
    """Holds the state and notes every change to it; decides nothing."""

    def __init__(
        self, calendar: SessionCalendar, assets: Iterable[Asset], ids: IdSource, terms: Terms
    ) -> None:
        self.calendar = calendar
        self.ids = ids
        self.terms = terms
        self.behaviour = Behaviour()
        self.struck: Callable[[Mishap, Order], bool] = lambda _mishap, _order: False
        self.assets = {asset.symbol: asset for asset in assets}
        self.books = {symbol: SymbolBook(symbol, terms.depth_levels) for symbol in self.assets}
        self.accounts: dict[str, Account] = {}
        self.orders: dict[str, Order] = {}
        self.by_client_id: dict[tuple[str, str], str] = {}
        self.account_orders: dict[str, list[str]] = {}
        self.executions: list[Execution] = []
        self.activities: list[Activity] = []
        self.sequence = 0
        self.changes = Changes()

    def next_sequence(self) -> int:
        """Return a number larger than all before: the exchange's order of events."""
        self.sequence += 1
        return self.sequence

    def add_account(self, account: Account) -> None:
        """Open `account`."""
        self.accounts[account.id] = account
        self.account_orders.setdefault(account.id, [])
        self.changes.accounts[account.id] = account

    def add_order(self, order: Order) -> None:
        """Enter a new order everywhere it is looked up."""
        self.index_order(order)
        self.changes.orders[order.id] = order

    def index_order(self, order: Order) -> None:
        """Make `order` findable; does not mark it as changed."""
        self.orders[order.id] = order
        self.by_client_id[(order.account, order.client_order_id)] = order.id
        self.account_orders[order.account].append(order.id)
        if order.is_open:
            self.books[order.symbol].orders[order.id] = order

    def touch(self, order: Order) -> None:
        """Note that `order` changed."""
        self.changes.orders[order.id] = order
        if not order.is_open:
            self.books[order.symbol].orders.pop(order.id, None)

    def add_execution(self, execution: Execution) -> None:
        """Write down an execution."""
        self.executions.append(execution)
        self.changes.executions.append(execution)

    def replace_execution(self, execution: Execution) -> None:
        """Put a changed record in the place of the one with its id."""
        index = next(i for i, one in enumerate(self.executions) if one.id == execution.id)
        self.executions[index] = execution
        self.changes.executions.append(execution)

    def add_activity(self, activity: Activity) -> None:
        """Write down a movement that is no trade."""
        self.activities.append(activity)
        self.changes.activities.append(activity)

    def emit(
        self,
        event: str,
        order: Order,
        ts: int,
        execution: Execution | None = None,
        *,
        reason: str | None = None,
    ) -> None:
        """Queue a trading stream message with the order as it stands now."""
        legs = [copy.copy(self.orders[leg]) for leg in order.legs]
        self.changes.updates.append(
            TradeUpdate(order.account, event, copy.copy(order), legs, ts, execution, reason)
        )

    def transition(
        self, order: Order, status: Status, event: str, ts: int, *, reason: str | None = None
    ) -> None:
        """Put `order` into `status` at `ts` and announce it as `event`."""
        order.status = status
        order.updated_at = ts
        match status:
            case Status.CANCELED:
                order.canceled_at = ts
            case Status.EXPIRED:
                order.expired_at = ts
            case Status.REJECTED:
                order.failed_at = ts
            case Status.REPLACED:
                order.replaced_at = ts
            case Status.FILLED:
                order.filled_at = ts
            case (
                Status.PENDING_NEW
                | Status.ACCEPTED
                | Status.HELD
                | Status.NEW
                | Status.PARTIALLY_FILLED
                | Status.PENDING_CANCEL
                | Status.PENDING_REPLACE
                | Status.SUSPENDED
                | Status.STOPPED
                | Status.CALCULATED
                | Status.DONE_FOR_DAY
            ):
                pass
        self.touch(order)
        self.emit(event, order, ts, reason=reason)

    def open_orders(self, account: str, symbol: str | None = None) -> list[Order]:
        """Return the account's open orders, oldest first, of one symbol or all."""
        books = [self.books[symbol]] if symbol is not None else list(self.books.values())
        found = [o for book in books for o in book.orders.values() if o.account == account]
        return sorted(found, key=lambda order: order.seq)

    def position_qty(self, account: str, symbol: str) -> Decimal:
        """Return the signed holding of `symbol`."""
        position = self.accounts[account].positions.get(symbol)
        return ZERO if position is None else position.qty

    def mark(self, symbol: str) -> Decimal:
        """Return the price at which `symbol` is valued."""
        return self.books[symbol].mark

    def valuation(self, account: Account) -> Valuation:
        """Return the account at the present market."""
        return valuate(account, self.open_orders(account.id), self.mark)

    def drain(self) -> Changes:
        """Return what changed and start anew."""
        changes, self.changes = self.changes, Changes()
        return changes
