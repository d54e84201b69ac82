"""An account told as a list of what happened, and what it therefore amounts to.

Written from 30-trading-path.md section 3 and the decision records, with plain Decimal arithmetic;
it shares no line with the code that keeps the books. Every figure is worked out from the whole
list each time, so no figure can drift.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

ZERO = Decimal(0)
MONEY, SHARES = Decimal("0.0001"), Decimal("0.00000001")


def cents(value: Decimal) -> Decimal:
    """Money: four places, halves to even."""
    return _rounded(value, MONEY)


def _rounded(value: Decimal, quantum: Decimal) -> Decimal:
    with localcontext() as exact:
        exact.prec = 80
        return value.quantize(quantum, rounding=ROUND_HALF_EVEN)


@dataclass
class Execution:
    """One trade as told; `stands` until it is taken back. `place` is its rank in the symbol."""

    order: str
    symbol: str
    sign: int
    quantity: Decimal
    price: Decimal
    fee: Decimal
    place: int
    time: int
    posted: Decimal = ZERO
    stands: bool = True

    @property
    def worth(self) -> Decimal:
        """Quantity times price as money."""
        return cents(self.quantity * self.price)


@dataclass
class Movement:
    """Shares that moved without a trade, after all entries up to `after`."""

    kind: str
    symbol: str
    quantity: Decimal
    amount: Decimal
    cost: Decimal
    after: int


@dataclass
class Order:
    """What an order reserves: money of a buy, shares of a sell."""

    symbol: str
    sign: int
    quantity: Decimal
    held: Decimal
    filled: Decimal = ZERO
    worth: Decimal = ZERO
    over: bool = False


@dataclass(frozen=True)
class Position:
    """What is held, at which average cost, and what it has brought."""

    quantity: Decimal = ZERO
    average: Decimal = ZERO
    realized: Decimal = ZERO


@dataclass
class Oracle:
    """The account."""

    money: dict[str, Decimal] = field(default_factory=lambda: defaultdict(lambda: ZERO))
    orders: dict[str, Order] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    movements: list[Movement] = field(default_factory=list)
    never: set[str] = field(default_factory=set)
    _places: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    # What happens ---------------------------------------------------------------------------

    def pay(self, code: str, amount: Decimal) -> None:
        """Money comes (or goes, below zero) for a reason that is no trade."""
        self.money[code] += amount

    def place(self, name: str, symbol: str, sign: int, quantity: Decimal, held: Decimal) -> None:
        """An order is sent with its reserve."""
        self.orders[name] = Order(symbol, sign, quantity, held)

    def end(self, name: str) -> None:
        """An order is over: nothing is reserved for it any more."""
        order = self.orders[name]
        order.over, order.held = True, ZERO

    def fill(
        self, name: str, execution: str, quantity: Decimal, price: Decimal, fee: Decimal, time: int
    ) -> None:
        """A trade; told twice, or after it was taken back, it is nothing."""
        if execution in self.executions or execution in self.never:
            return
        symbol = self.orders[name].symbol
        self._places[symbol] += 1
        self._trade(name, execution, quantity, price, fee, self._places[symbol], time)

    def take_back(self, name: str, execution: str) -> Execution | None:
        """The venue takes a trade back; one that is not known will never count."""
        if execution in self.never:
            return None
        self.never.add(execution)
        gone = self.executions.get(execution)
        if gone is None:
            return None
        assert gone.order == name
        order = self.orders[name]
        gone.stands = False
        order.filled -= gone.quantity
        order.worth -= gone.worth
        if not order.over:
            order.held += gone.posted
        return gone

    def correct(
        self,
        name: str,
        execution: str,
        replacement: str,
        quantity: Decimal,
        price: Decimal,
        fee: Decimal,
        time: int,
    ) -> None:
        """The venue puts another trade in the place of one."""
        if execution in self.never:
            return
        gone = self.take_back(name, execution)
        if gone is None:
            self.fill(name, replacement, quantity, price, fee, time)
        elif replacement not in self.executions:
            self._trade(name, replacement, quantity, price, fee, gone.place, gone.time)

    def move(
        self,
        kind: str,
        symbol: str,
        quantity: Decimal,
        *,
        amount: Decimal = ZERO,
        cost: Decimal = ZERO,
        time: int,
    ) -> None:
        """Shares move without a trade, at a time: before the trades of that time and later."""
        later = [one.place for one in self.executions.values()
                 if one.symbol == symbol and one.time >= time]  # fmt: skip
        after = min(later) - 1 if later else self._places[symbol]
        self.movements.append(Movement(kind, symbol, quantity, amount, cost, after))

    def restate(self, name: str, quantity: Decimal) -> None:
        """The venue makes another quantity of an open order: a sell reserves what is left."""
        order = self.orders[name]
        order.quantity = quantity
        if order.sign < 0 and order.held:
            order.held = max(ZERO, quantity - order.filled)

    def _trade(
        self,
        name: str,
        execution: str,
        quantity: Decimal,
        price: Decimal,
        fee: Decimal,
        place: int,
        time: int,
    ) -> None:
        order = self.orders[name]
        done = Execution(
            name, order.symbol, order.sign, quantity, price, fee, place, time
        )  # fmt: skip
        used = done.worth if order.sign > 0 else quantity
        done.posted = min(used, order.held)
        order.held -= done.posted
        order.filled += quantity
        order.worth += done.worth
        self.executions[execution] = done
        if order.filled >= order.quantity:
            self.end(name)

    # What it amounts to ---------------------------------------------------------------------

    def standing(self, symbol: str | None = None) -> list[Execution]:
        """The trades that count."""
        return [e for e in self.executions.values() if e.stands and symbol in (None, e.symbol)]

    @property
    def cash(self) -> Decimal:
        """Money in the account."""
        traded = sum((-e.sign * e.worth - e.fee for e in self.standing()), ZERO)
        lieu = sum((m.amount for m in self.movements), ZERO)
        return sum(self.money.values(), ZERO) + traded + lieu

    @property
    def fees(self) -> Decimal:
        """What was paid to anyone for trading."""
        return sum((e.fee for e in self.standing()), ZERO) - self.money["FEE"]

    @property
    def cash_held(self) -> Decimal:
        """Money that open orders reserve."""
        return sum((o.held for o in self.orders.values() if o.sign > 0), ZERO)

    def shares_held(self, symbol: str) -> Decimal:
        """Shares that open orders reserve."""
        of_symbol = (o for o in self.orders.values() if o.sign < 0 and o.symbol == symbol)
        return sum((o.held for o in of_symbol), ZERO)

    @property
    def symbols(self) -> set[str]:
        """All that was ever held."""
        return {e.symbol for e in self.standing()} | {m.symbol for m in self.movements}

    def position(self, symbol: str) -> Position:
        """What the symbol's entries amount to, each in its place."""
        trades = [((e.place, 0, 0), e) for e in self.standing(symbol)]
        moves = [((m.after, 1, n), m) for n, m in enumerate(self.movements) if m.symbol == symbol]
        now = Position()
        for _, entry in sorted([*trades, *moves], key=lambda pair: pair[0]):
            if isinstance(entry, Execution):
                now = _traded(now, entry.sign * entry.quantity, entry.price)
            else:
                now = _moved(now, entry)
        return now


def _traded(now: Position, change: Decimal, price: Decimal) -> Position:
    """Average cost: adding mixes, reducing earns the difference, crossing zero begins anew."""
    after = now.quantity + change
    with localcontext() as exact:
        exact.prec = 80
        if now.quantity * change >= 0:
            paid = abs(now.quantity) * now.average + abs(change) * price
            return Position(after, _rounded(paid / abs(after), SHARES), now.realized)
        closed = min(abs(change), abs(now.quantity))
        each = price - now.average if now.quantity > 0 else now.average - price
        earned = now.realized + cents(closed * each)
    if after == 0:
        return Position(after, ZERO, earned)
    return Position(after, price if after * now.quantity < 0 else now.average, earned)


def _moved(now: Position, entry: Movement) -> Position:
    after = now.quantity + entry.quantity
    adds = now.quantity * entry.quantity >= 0
    if entry.kind == "transfer":
        return _traded(now, entry.quantity, entry.cost if adds else now.average)
    if entry.kind == "cash_in_lieu" and not adds:
        with localcontext() as exact:
            exact.prec = 80
            cost = min(abs(entry.quantity), abs(now.quantity)) * now.average
            gain = entry.amount - cost if now.quantity > 0 else entry.amount + cost
        average = ZERO if after == 0 else now.average
        return Position(after, average, now.realized + cents(gain))
    with localcontext() as exact:
        exact.prec = 80
        average = _rounded(abs(now.quantity) * now.average / abs(after), SHARES) if after else ZERO
    bonus = cents(entry.amount) if entry.kind == "cash_in_lieu" else ZERO
    return Position(after, average, now.realized + bonus)
