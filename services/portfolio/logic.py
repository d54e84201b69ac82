"""What an account is worth: positions at their marks, and profit and loss by its parts.

equity = cash + sum of market values; total P&L = realised + unrealised + income - fees. Money paid
in or out changes equity and leaves P&L alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from libs.common.contracts.messages import MarketData
from libs.common.domain.positions import Position, unrealized_pnl
from libs.common.kernel.clock import from_ns
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.money import PRICE_QUANTUM, ZERO, from_float, notional


class MarkSource(StrEnum):
    """Where a mark comes from, best first."""

    QUOTE = "quote"
    TRADE = "trade"
    BAR = "bar"
    STORED = "stored"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class Mark:
    """A price to value a position at. `ts_event` is market time; `seen_ns` the monotonic time at
    which it reached this process, None if it never did (a price read from the store)."""

    price: Decimal
    source: MarkSource
    ts_event: dt.datetime | None = None
    seen_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """One row of the positions table: average cost per share, realised P&L before fees."""

    symbol: str
    quantity: Decimal
    avg_cost: Decimal
    realized_pnl: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """What the executor's tables say about an account at one instant.

    `cash` is the posted balance, `held` the part of it that open orders reserve, `fees` all
    commissions, fees and withheld taxes ever paid (positive), `income` all dividends and interest
    ever received, less what was paid of them.
    """

    cash: Decimal = ZERO
    held: Decimal = ZERO
    fees: Decimal = ZERO
    income: Decimal = ZERO
    holdings: tuple[Holding, ...] = ()


@dataclass(frozen=True, slots=True)
class ValuedPosition:
    """A holding at its mark; `stale` when the mark is too old, or is no market price at all."""

    symbol: str
    quantity: Decimal
    avg_cost: Decimal
    mark: Decimal
    mark_source: MarkSource
    mark_ts: dt.datetime | None
    market_value: Decimal
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    stale: bool


@dataclass(frozen=True, slots=True)
class Valuation:
    """An account's values. Short value is negative; gross = long - short, net = long + short.

    `positions` are the open ones; realised P&L and fees are those of the whole history.
    """

    cash: Decimal
    held: Decimal
    long_value: Decimal
    short_value: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    fees: Decimal
    income: Decimal
    positions: tuple[ValuedPosition, ...]

    @property
    def equity(self) -> Decimal:
        """Cash plus the market value of every position."""
        return self.cash + self.net

    @property
    def gross(self) -> Decimal:
        """Exposure regardless of direction."""
        return self.long_value - self.short_value

    @property
    def net(self) -> Decimal:
        """Exposure with its sign; also what the positions are worth."""
        return self.long_value + self.short_value

    @property
    def total_pnl(self) -> Decimal:
        """Realised and unrealised profit after fees, with dividends and interest."""
        return self.realized_pnl + self.unrealized_pnl + self.income - self.fees

    @property
    def stale(self) -> tuple[str, ...]:
        """The symbols that are valued at an old or made-up price."""
        return tuple(position.symbol for position in self.positions if position.stale)


def value_book(
    book: Book, marks: Mapping[str, Mark], now_ns: int, age_max: dt.timedelta | None
) -> Valuation:
    """Return the values of `book`. A holding without a mark is valued at its cost, and stale.

    `now_ns` is on the scale of `Mark.seen_ns`; `age_max` None (a closed market) leaves the age
    of a mark out of account. Worked: cash 1000, 10 shares at cost 50 and mark 52, fees 1 ->
    equity 1520, unrealised 20, total P&L 19.
    """
    positions = tuple(
        _valued(holding, marks.get(holding.symbol), now_ns, age_max)
        for holding in book.holdings
        if holding.quantity != 0
    )
    values = [position.market_value for position in positions]
    return Valuation(
        cash=book.cash,
        held=book.held,
        long_value=sum((value for value in values if value > 0), ZERO),
        short_value=sum((value for value in values if value < 0), ZERO),
        realized_pnl=sum((holding.realized_pnl for holding in book.holdings), ZERO),
        unrealized_pnl=sum((position.unrealized_pnl for position in positions), ZERO),
        fees=book.fees,
        income=book.income,
        positions=positions,
    )


def _valued(
    holding: Holding, mark: Mark | None, now_ns: int, age_max: dt.timedelta | None
) -> ValuedPosition:
    mark = mark or Mark(holding.avg_cost, MarkSource.COST)
    position = Position(holding.quantity, holding.avg_cost, holding.realized_pnl)
    return ValuedPosition(
        symbol=holding.symbol,
        quantity=holding.quantity,
        avg_cost=holding.avg_cost,
        mark=mark.price,
        mark_source=mark.source,
        mark_ts=mark.ts_event,
        market_value=notional(holding.quantity, mark.price),
        unrealized_pnl=unrealized_pnl(position, mark.price),
        realized_pnl=holding.realized_pnl,
        stale=_is_stale(mark, now_ns, age_max),
    )


def _is_stale(mark: Mark, now_ns: int, age_max: dt.timedelta | None) -> bool:
    if mark.seen_ns is None:
        return True
    return (
        age_max is not None
        and (now_ns - mark.seen_ns) > age_max / dt.timedelta(microseconds=1) * 1000
    )


def mark_of(data: MarketData, seen_ns: int) -> Mark | None:
    """Return the newest price in `data`: the middle of a two-sided quote, else a trade, else a
    bar's close; None if it holds no usable price (one-sided, zero or not finite)."""
    for quote in reversed(data.quotes):
        bid, ask = _price(quote.bid), _price(quote.ask)
        if bid is not None and ask is not None:
            middle = ((bid + ask) / 2).quantize(PRICE_QUANTUM)
            return Mark(middle, MarkSource.QUOTE, from_ns(quote.ts_event), seen_ns)
    for tick in reversed(data.trades):
        if (price := _price(tick.price)) is not None:
            return Mark(price, MarkSource.TRADE, from_ns(tick.ts_event), seen_ns)
    for bar in reversed(data.bars):
        if (price := _price(bar.close)) is not None:
            return Mark(price, MarkSource.BAR, from_ns(bar.ts_event), seen_ns)
    return None


def newer(known: Mark | None, fresh: Mark) -> Mark:
    """Return the mark to keep: `fresh`, unless it is a bar from before a known quote or trade.

    A bar carries its start as its time: its close is older news than a quote of the same minute.
    """
    live = known is not None and known.source in (MarkSource.QUOTE, MarkSource.TRADE)
    if known is None or not live or fresh.source is not MarkSource.BAR:
        return fresh
    if known.ts_event is None or fresh.ts_event is None or fresh.ts_event >= known.ts_event:
        return fresh
    return known


def _price(value: float) -> Decimal | None:
    try:
        price = from_float(value)
    except InvalidInputError:
        return None
    return price if price > 0 else None
