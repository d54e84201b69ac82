"""What a strategy has made of its executions, and whether that is still within its own limits."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from libs.common.domain.positions import Position, apply_fill, apply_split, unrealized_pnl
from libs.common.domain.vocabulary import Side, StrategyMode
from libs.common.kernel.money import ZERO, notional

Amount = Annotated[Decimal, Field(gt=0, max_digits=16, decimal_places=4)]


class OwnLimits(BaseModel):
    """What a strategy may lose before it is demoted to shadow; what is left away is no limit.

    `drawdown_max`: money below its best P&L; `daily_loss_max`: money lost on one market day;
    `faults_max`: on how many symbols its step may have stopped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    drawdown_max: Amount | None = None
    daily_loss_max: Amount | None = None
    faults_max: Annotated[int, Field(ge=0, le=1000)] | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """One of the strategy's executions that stands. `cost`: commission and fees; `reference`: the
    close that its signal saw."""

    id: uuid.UUID
    strategy_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    cost: Decimal
    reference: Decimal | None
    booked_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Split:
    """Shares that a strategy got, or lost, without a trade; what its position cost stays."""

    id: uuid.UUID
    strategy_id: str
    symbol: str
    quantity: Decimal
    booked_at: dt.datetime


@dataclass
class Track:
    """A strategy's executions summed up, in the order in which they were booked.

    A trip goes from flat to flat, or through flat to the other side; it is a hit if it earned more
    than it cost. `slippage` is what was paid above the signals' references (negative: below),
    `referred` the notional that it was paid on.
    """

    positions: dict[str, Position] = field(default_factory=dict)
    executions: int = 0
    trips: int = 0
    hits: int = 0
    realized: Decimal = ZERO
    costs: Decimal = ZERO
    slippage: Decimal = ZERO
    referred: Decimal = ZERO
    _open: dict[str, Decimal] = field(default_factory=dict)

    def split(self, split: Split) -> None:
        """Take a split."""
        before = self.positions.get(split.symbol, Position())
        self.positions[split.symbol] = apply_split(before, split.quantity)

    def apply(self, execution: Execution) -> None:
        """Take one execution. Buy 10 at 50, sell 10 at 53, 1 of costs -> a hit of 29."""
        symbol = execution.symbol
        before = self.positions.get(symbol, Position())
        filled = apply_fill(before, execution.side, execution.quantity, execution.price)
        self.positions[symbol] = filled.position
        self.executions += 1
        self.realized += filled.realized_pnl
        self.costs += execution.cost
        earned = self._open.get(symbol, ZERO) + filled.realized_pnl - execution.cost
        after = filled.position.quantity
        if before.quantity and (after == 0 or (after > 0) != (before.quantity > 0)):
            self.trips += 1
            self.hits += earned > 0
            earned = ZERO
        self._open[symbol] = earned
        if execution.reference is not None:
            paid = (execution.price - execution.reference) * execution.side.sign
            self.slippage += notional(execution.quantity, paid)
            self.referred += notional(execution.quantity, execution.reference)

    def unrealized(self, marks: Mapping[str, Decimal]) -> Decimal | None:
        """Return what closing everything at `marks` would realise; None without a mark."""
        total = ZERO
        for symbol, position in self.positions.items():
            if position.quantity:
                if symbol not in marks:
                    return None
                total += unrealized_pnl(position, marks[symbol])
        return total


@dataclass(frozen=True, slots=True)
class Performance:
    """How a strategy stands. `peak` is its best P&L since it went live, `opening` its P&L when the
    market day `day` began; all money in the account's currency, P&L after costs."""

    strategy_id: str
    mode: StrategyMode
    executions: int
    trips: int
    hits: int
    realized: Decimal
    unrealized: Decimal
    costs: Decimal
    slippage: Decimal
    referred: Decimal
    peak: Decimal
    day: dt.date
    opening: Decimal

    @property
    def pnl(self) -> Decimal:
        """Return realised and unrealised profit after costs."""
        return self.realized + self.unrealized - self.costs

    @property
    def drawdown(self) -> Decimal:
        """Return how far the P&L is below its best, never negative."""
        return self.peak - self.pnl

    @property
    def day_pnl(self) -> Decimal:
        """Return the P&L of the market day."""
        return self.pnl - self.opening

    @property
    def hit_rate(self) -> float | None:
        """Return the share of trips that were hits, None without a trip."""
        return self.hits / self.trips if self.trips else None

    @property
    def slippage_bps(self) -> float | None:
        """Return the slippage in basis points of what it was paid on, None without any."""
        return float(self.slippage / self.referred) * 1e4 if self.referred else None


def performance_of(
    strategy_id: str,
    track: Track,
    unrealized: Decimal,
    before: Performance | None,
    *,
    mode: StrategyMode,
    day: dt.date,
) -> Performance:
    """Return how the strategy stands now, `before` being how it stood when it was last looked at.

    Who goes live begins anew: what it lost before does not count against its limits.
    """
    pnl = track.realized + unrealized - track.costs
    begins = before is None or (mode is StrategyMode.LIVE and before.mode is not StrategyMode.LIVE)
    peak, opening = pnl, pnl
    if before is not None and not begins:
        peak = max(before.peak, pnl)
        opening = before.opening if before.day == day else before.pnl
    return Performance(
        strategy_id=strategy_id,
        mode=mode,
        executions=track.executions,
        trips=track.trips,
        hits=track.hits,
        realized=track.realized,
        unrealized=unrealized,
        costs=track.costs,
        slippage=track.slippage,
        referred=track.referred,
        peak=peak,
        day=day,
        opening=opening,
    )


def breach(limits: OwnLimits, performance: Performance, faults: int) -> str | None:
    """Return which of its own limits the strategy has passed, None if it keeps all."""
    drawdown, loss = performance.drawdown, -performance.day_pnl
    if limits.drawdown_max is not None and drawdown > limits.drawdown_max:
        return f"drawdown {drawdown} above its limit of {limits.drawdown_max}"
    if limits.daily_loss_max is not None and loss > limits.daily_loss_max:
        return f"loss of the day {loss} above its limit of {limits.daily_loss_max}"
    if limits.faults_max is not None and faults > limits.faults_max:
        return f"its step stopped on {faults} symbols, its limit is {limits.faults_max}"
    return None
