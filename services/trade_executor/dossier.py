"""What an order's records add up to: how long each leg took, and what trading it cost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import Final

from libs.common.domain.orders import OUR_ACTS, OrderEvent
from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import PRICE_QUANTUM, ZERO, money

BPS: Final = Decimal(10_000)
BPS_QUANTUM: Final = Decimal("0.0001")
VENUE_WORDS: Final = frozenset(OrderEvent) - OUR_ACTS


@dataclass(frozen=True, slots=True)
class Happened:
    """One order event and the wall time at which it was written down."""

    event: str
    ts: dt.datetime


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution as booked; `fees` holds commission and fees, positive where we pay."""

    quantity: Decimal
    price: Decimal
    fees: Decimal
    booked_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Milestones:
    """When an order got where, wall time, in the order of its way; None where unknown."""

    signal: dt.datetime | None
    judged: dt.datetime | None
    written: dt.datetime | None
    sent: dt.datetime | None
    acknowledged: dt.datetime | None
    first_execution: dt.datetime | None
    last_execution: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Leg:
    """The way between two neighbouring milestones in milliseconds, None where one is unknown."""

    start: str
    end: str
    ms: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What trading cost against the arrival price; positive is a cost, negative a gain.

    All but `quantity` and `fees` are None where nothing was executed or no arrival price is known;
    `average_price` needs executions only.
    """

    arrival_price: Decimal | None
    average_price: Decimal | None
    quantity: Decimal
    slippage_bps: Decimal | None
    slippage: Decimal | None
    fees: Decimal
    total: Decimal | None


def milestones(
    *,
    signal: dt.datetime | None,
    judged: dt.datetime | None,
    written: dt.datetime | None,
    events: Sequence[Happened],
    fills: Sequence[Fill],
) -> Milestones:
    """Return when an order got where.

    Sent is the first `send`, which is on disk before the request leaves; acknowledged is the
    first word of the venue after it, whatever it says. Executions count when booked, because the
    venue's own time of them is market time.
    """
    sent = [one.ts for one in events if one.event == OrderEvent.SEND]
    words = [one.ts for one in events if sent and one.event in VENUE_WORDS]
    booked = [fill.booked_at for fill in fills]
    return Milestones(
        signal=signal,
        judged=judged,
        written=written,
        sent=min(sent, default=None),
        acknowledged=min(words, default=None),
        first_execution=min(booked, default=None),
        last_execution=max(booked, default=None),
    )


def legs(way: Milestones) -> list[Leg]:
    """Return the six legs between neighbouring milestones.

    A leg is measured by the clocks of those who wrote its two ends, so it may be a little below
    zero: an execution can be booked before the venue's acknowledgement is read.
    """
    names = [one.name for one in fields(way)]
    return [
        Leg(start, end, between_ms(getattr(way, start), getattr(way, end)))
        for start, end in pairwise(names)
    ]


def between_ms(start: dt.datetime | None, end: dt.datetime | None) -> float | None:
    """Return the milliseconds from `start` to `end`, None where one is unknown."""
    if start is None or end is None:
        return None
    return (end - start) / dt.timedelta(microseconds=1) / 1000


def cost(side: Side, arrival_price: Decimal | None, fills: Sequence[Fill]) -> Cost:
    """Return the cost of what was executed against the arrival price.

    With s = +1 for a buy and -1 for a sell, P the mean executed price and A the arrival price
    (the judgement's reference price):

        slippage_bps = s (P - A) / A x 10 000        slippage = s (P - A) x quantity

    so that positive is a cost on both sides (implementation shortfall of the executed part,
    Perold 1988). What was not executed costs nothing here. The mean is exact until the end;
    each figure is then rounded half-even: prices to 8 places, money and bps to 4.

    Buy 100 at 10.02 and 300 at 10.06, arrival 10.00, fees 1.20: mean 10.05, slippage 50 bps
    = 20.00, in all 21.20.
    """
    quantity = sum((fill.quantity for fill in fills), ZERO)
    fees = money(sum((fill.fees for fill in fills), ZERO))
    if not quantity:
        return Cost(arrival_price, None, quantity, None, None, fees, None)
    value = sum((fill.quantity * fill.price for fill in fills), ZERO)
    average = (value / quantity).quantize(PRICE_QUANTUM, rounding=ROUND_HALF_EVEN)
    if not arrival_price:
        return Cost(arrival_price, average, quantity, None, None, fees, None)
    worse = value - arrival_price * quantity
    if side is Side.SELL:
        worse = -worse
    bps = worse / (arrival_price * quantity) * BPS
    return Cost(
        arrival_price=arrival_price,
        average_price=average,
        quantity=quantity,
        slippage_bps=bps.quantize(BPS_QUANTUM, rounding=ROUND_HALF_EVEN),
        slippage=money(worse),
        fees=fees,
        total=money(worse + fees),
    )
