"""Books in memory made of the domain's functions: what `executor_write` does, in Python."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

from libs.common.domain.activities import Activity
from libs.common.domain.booking import Booked, fill_group, hold, rehold, release, reversal
from libs.common.domain.executions import Execution, Progress, take, take_back
from libs.common.domain.ledger import (
    CURRENCY,
    Ledger,
    Transfer,
    TransferKind,
    cash_account,
    position_account,
)
from libs.common.domain.orders import OrderEvent, apply
from libs.common.domain.positions import Position, apply_fill
from libs.common.domain.replay import Change, Fill, replay
from libs.common.domain.vocabulary import OrderStatus, Side
from libs.common.kernel.ids import AccountId, OrderId, Symbol, TradeId, TransferId, derived_id
from libs.common.kernel.money import ZERO

MAIN = AccountId("main")


@dataclass
class Kept:
    """An order as the books keep it."""

    id: OrderId
    symbol: Symbol
    side: Side
    progress: Progress
    held: Transfer | None
    filled_value: Decimal = ZERO


@dataclass
class Booking:
    """A trade in the books."""

    order: str
    execution: Execution
    lines: tuple[Transfer, ...]
    entry: int
    replaces: bool = False
    stands: bool = True


@dataclass
class DomainBooks:
    """One account."""

    ledger: Ledger = field(default_factory=Ledger)
    orders: dict[str, Kept] = field(default_factory=dict)
    trades: dict[str, Booking] = field(default_factory=dict)
    never: set[str] = field(default_factory=set)
    changes: dict[str, list[tuple[int, Change]]] = field(default_factory=lambda: defaultdict(list))
    positions: dict[str, Position] = field(default_factory=lambda: defaultdict(Position))
    entries: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def activity(self, one: Activity) -> None:
        """Money or shares move without a trade."""
        lines = []
        for ledger, ours, amount in (
            (CURRENCY, cash_account(MAIN), one.amount),
            (one.symbol, position_account(MAIN, one.symbol), one.quantity if one.change else ZERO),
        ):
            if amount:
                other = one.counterparty(MAIN, ledger)
                pair = (other, ours) if amount > 0 else (ours, other)
                identity = TransferId(derived_id("line", one.id, ledger))
                lines.append(Transfer(identity, *pair, abs(amount), one.code))
        self.ledger.commit(lines, happened=True)
        if one.change is not None:
            later = [t.entry for t in self.trades.values()
                     if t.execution.symbol == one.symbol and not t.replaces
                     and t.execution.executed_at >= one.executed_at]  # fmt: skip
            after = min(later) - 1 if later else self.entries[one.symbol]
            change = Change(one.change, one.quantity, one.price, one.amount)
            self.changes[one.symbol].append((after, change))
            self.positions[one.symbol] = self._replayed(one.symbol)

    def place(self, name: str, kept: Kept, amount: Decimal) -> None:
        """An order is sent with its hold."""
        if amount:
            kept.held = hold(kept.id, MAIN, kept.symbol, kept.side, amount)
            self.ledger.commit([kept.held])
        self.orders[name] = kept

    def end(self, name: str) -> None:
        """The venue cancels an order."""
        kept = self.orders[name]
        status = apply(kept.progress.status, OrderEvent.CANCELED).status
        kept.progress = Progress(status, kept.progress.quantity, kept.progress.filled_quantity)
        if kept.held:
            self.ledger.commit([release(kept.held)])
            kept.held = None

    def fill(self, name: str, one: Execution) -> None:
        """An execution is booked."""
        if one.execution_id in self.trades or one.execution_id in self.never:
            return
        self.entries[one.symbol] += 1
        self._book(name, one, self.entries[one.symbol])
        filled = apply_fill(self.positions[one.symbol], one.side, one.quantity, one.price)
        self.positions[one.symbol] = filled.position

    def take_back(self, name: str, execution_id: str, replacement: Execution | None) -> None:
        """An execution is reversed, and another booked in its place."""
        if execution_id in self.never:
            return
        self.never.add(execution_id)
        gone = self.trades.get(execution_id)
        if gone is None:
            if replacement is not None:
                self.fill(name, replacement)
            return
        kept = self.orders[name]
        gone.stands = False
        kept.progress, _ = take_back(kept.progress, gone.execution.quantity)
        kept.filled_value -= gone.execution.amount
        lines = reversal(gone.lines)
        if not kept.progress.status.is_terminal:
            again = rehold(_trade(gone.execution), gone.lines, kept.held)
            lines += again
            kept.held = again[-1] if again else kept.held
        self.ledger.commit(lines, happened=True)
        if replacement is not None and replacement.execution_id not in self.trades:
            self._book(name, replacement, gone.entry, replaces=True)
        self.positions[kept.symbol] = self._replayed(kept.symbol)

    def _book(self, name: str, one: Execution, entry: int, *, replaces: bool = False) -> None:
        kept = self.orders[name]
        kept.progress, _ = take(kept.progress, one)
        booked = Booked(
            _trade(one), kept.id, MAIN, one.symbol, one.side, one.quantity, one.amount, one.fee
        )
        over = kept.progress.status.is_terminal
        lines = fill_group(booked, kept.held, order_open=not over)
        self.ledger.commit(lines, happened=True)
        fresh = [line for line in lines if line.kind is TransferKind.PENDING]
        if fresh:
            kept.held = fresh[0]
        elif any(line.pending_id for line in lines):
            kept.held = None
        kept.filled_value += one.amount
        self.trades[one.execution_id] = Booking(name, one, lines, entry, replaces)

    def _replayed(self, symbol: str) -> Position:
        trades = [
            ((t.entry, 0, 0), Fill(t.execution.side, t.execution.quantity, t.execution.price))
            for t in self.trades.values()
            if t.stands and t.execution.symbol == symbol
        ]
        changes = [((after, 1, n), c) for n, (after, c) in enumerate(self.changes[symbol])]
        ordered = sorted([*trades, *changes], key=lambda pair: pair[0])
        return replay(entry for _, entry in ordered)


def new_order(symbol: str, side: Side, quantity: Decimal) -> Kept:
    """Return an order that is working at the venue."""
    progress = Progress(OrderStatus.WORKING, quantity)
    return Kept(OrderId(uuid.uuid4()), Symbol(symbol), side, progress, None)


def _trade(one: Execution) -> TradeId:
    return TradeId(derived_id("trade", one.broker, one.execution_id))
