"""Random sessions of an account, told to the oracle and to the books side by side.

Each step is chosen from numbers, so hypothesis can draw them and a seed can replay them. The books
are anything that understands the acts; every act may be told twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution
from libs.common.domain.vocabulary import Side
from libs.common.kernel.ids import BrokerOrderId, ExecutionId, Symbol
from tests.support.ledger_oracle import ZERO, Oracle

OPEN = dt.datetime(2022, 3, 1, 15, tzinfo=dt.UTC)
SYMBOLS = ("AAPL", "KO")
CASH_KINDS = ("DIV", "INT", "FEE", "DIVNRA", "CSD", "JNLC")


class Taught(Protocol):
    """Books that are told what happens; awaited where they answer with an awaitable."""

    def place(
        self, name: str, symbol: str, side: Side, quantity: Decimal, held: Decimal
    ) -> Awaitable[None] | None:
        """An order with its hold."""

    def end(self, name: str) -> Awaitable[None] | None:
        """The venue cancels it."""

    def fill(self, name: str, one: Execution) -> Awaitable[None] | None:
        """It trades."""

    def take_back(
        self, name: str, original: str, replacement: Execution | None, at: dt.datetime
    ) -> Awaitable[None] | None:
        """A trade is taken back."""

    def activity(self, one: Activity) -> Awaitable[None] | None:
        """Money or shares move without a trade."""

    def restate(self, name: str, quantity: Decimal) -> Awaitable[None] | None:
        """An order asks for another quantity."""


@dataclass
class Session:
    """One account's life: what was told, and to whom."""

    books: Taught
    oracle: Oracle = field(default_factory=Oracle)
    steps: list[str] = field(default_factory=list)
    executions: list[tuple[str, Execution]] = field(default_factory=list)
    _clock: int = 0
    _names: int = 0

    def deposit(self, amount: Decimal) -> Awaitable[None] | None:
        """Money is paid in."""
        self.oracle.pay("CSD", amount)
        return self._told(
            f"deposit {amount}", self.books.activity(self._activity("CSD", amount, ""))
        )

    def cash(self, kind: str, symbol: str, amount: Decimal) -> Awaitable[None] | None:
        """A dividend, interest, a fee, money in or out; signed."""
        self.oracle.pay(kind, amount)
        one = self._activity(kind, amount, symbol)
        return self._told(f"{kind} {amount}", self.books.activity(one))

    def place(
        self, symbol: str, side: Side, quantity: Decimal, held: Decimal
    ) -> Awaitable[None] | None:
        """An order."""
        name = self._name("o")
        self.oracle.place(name, symbol, side.sign, quantity, held)
        return self._told(
            f"{name}: {side} {quantity} {symbol} holding {held}",
            self.books.place(name, symbol, side, quantity, held),
        )

    def end(self, which: int) -> Awaitable[None] | None:
        """The venue ends an open order."""
        names = [name for name, order in self.oracle.orders.items() if not order.over]
        if not names:
            return None
        name = names[which % len(names)]
        self.oracle.end(name)
        return self._told(f"end {name}", self.books.end(name))

    def fill(
        self, which: int, quantity: Decimal, price: Decimal, fee: Decimal
    ) -> Awaitable[None] | None:
        """An order trades: an open one, one that ended, more than it asked for."""
        names = list(self.oracle.orders)
        if not names:
            return None
        name = names[-1 - which % len(names)]
        one = self._execution(name, quantity, price, fee)
        self.executions.append((name, one))
        self._tell_fill(name, one)
        return self._told(
            f"fill {name} {one.execution_id}: {quantity} at {price}, {fee}",
            self.books.fill(name, one),
        )

    def repeat(self, which: int) -> Awaitable[None] | None:
        """An execution is told again."""
        if not self.executions:
            return None
        name, one = self.executions[which % len(self.executions)]
        self._tell_fill(name, one)
        return self._told(f"again {one.execution_id}", self.books.fill(name, one))

    def take_back(
        self, which: int, terms: tuple[Decimal, Decimal, Decimal] | None, *, unheard: bool = False
    ) -> Awaitable[None] | None:
        """A trade, told of or not yet, is busted, or corrected to (quantity, price, fee)."""
        if not self.executions:
            return None
        name, one = self.executions[which % len(self.executions)]
        if unheard:
            one = self._execution(name, Decimal(7), Decimal(9), ZERO)
            self.executions.append((name, one))
        replacement = None
        if terms is not None:
            replacement = self._execution(name, *terms)
            self.executions.append((name, replacement))
            self.oracle.correct(
                name, one.execution_id, replacement.execution_id, *terms, self._clock
            )
        else:
            self.oracle.take_back(name, one.execution_id)
        return self._told(
            f"{one.execution_id} of {name} becomes {replacement and replacement.execution_id}",
            self.books.take_back(name, one.execution_id, replacement, self._now),
        )

    def move(
        self, kind: str, symbol: str, quantity: Decimal, money: Decimal, ago: int
    ) -> Awaitable[None] | None:
        """A split, a payment in lieu, a journal of shares, heard of `ago` moments late."""
        if not quantity:
            return None
        time = max(1, self._clock + 1 - ago)
        words = {"SPLIT": "split", "CIL": "cash_in_lieu", "JNLS": "transfer"}
        lieu = money if kind == "CIL" else ZERO
        cost = abs(money) if kind == "JNLS" else ZERO
        self.oracle.move(words[kind], symbol, quantity, amount=lieu, cost=cost, time=time)
        one = self._activity(kind, lieu, symbol, quantity, cost, self._at(time))
        return self._told(f"{kind} {symbol} {quantity} {money}", self.books.activity(one))

    def restate(self, which: int, quantity: Decimal) -> Awaitable[None] | None:
        """A resting order asks for another quantity, more than it has traded."""
        names = [name for name, order in self.oracle.orders.items() if not order.over]
        if not names:
            return None
        name = names[which % len(names)]
        quantity += self.oracle.orders[name].filled
        if quantity <= 0 or quantity == self.oracle.orders[name].quantity:
            return None
        self.oracle.restate(name, quantity)
        return self._told(f"restate {name} {quantity}", self.books.restate(name, quantity))

    def _tell_fill(self, name: str, one: Execution) -> None:
        time = int((one.executed_at - OPEN).total_seconds())
        self.oracle.fill(name, one.execution_id, one.quantity, one.price, one.fee, time)

    def _told(self, step: str, done: Awaitable[None] | None) -> Awaitable[None] | None:
        self.steps.append(step)
        return done

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def _at(self, time: int) -> dt.datetime:
        return OPEN + dt.timedelta(seconds=time)

    @property
    def _now(self) -> dt.datetime:
        return self._at(self._clock)

    def _execution(self, name: str, quantity: Decimal, price: Decimal, fee: Decimal) -> Execution:
        order = self.oracle.orders[name]
        self._clock += 1
        return Execution(
            broker="alpaca",
            execution_id=ExecutionId(self._name("x")),
            broker_order_id=BrokerOrderId(name),
            symbol=Symbol(order.symbol),
            side=Side.BUY if order.sign > 0 else Side.SELL,
            quantity=quantity,
            price=price,
            executed_at=self._now,
            fee=fee,
        )

    def _activity(
        self,
        kind: str,
        amount: Decimal,
        symbol: str,
        quantity: Decimal = ZERO,
        price: Decimal = ZERO,
        at: dt.datetime | None = None,
    ) -> Activity:
        self._clock += at is None
        name = self._name("a")
        return Activity(name, kind, amount, at or self._now, symbol, quantity, price)
