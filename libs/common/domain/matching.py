"""Matching: what an order gets from a displayed market. Pure functions of decimals.

A market is seen as its best bid and ask with their displayed sizes; `depth` extends each side by
a synthetic ladder behind the best price. A marketable order walks that ladder; a resting limit
order waits in a queue at its price and fills at that price; stops trigger on a price and become
market or limit orders; a trailing stop follows a high-water mark.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import PRICE_QUANTUM, money

ZERO = Decimal(0)
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Level:
    """Displayed size at one price."""

    price: Decimal
    size: Decimal


@dataclass(frozen=True, slots=True)
class Match:
    """One slice of an execution: `quantity` at `price`."""

    price: Decimal
    quantity: Decimal


def depth(best: Level, side: Side, tick: Decimal, levels: int) -> tuple[Level, ...]:
    """The ladder of `levels` prices that an order of `side` meets, best first.

    Behind the best price the ladder steps one `tick` away and shows one more multiple of the best
    size a step: 10.00 x 100 → 10.01 x 200 → 10.02 x 300 for a buy. Prices stay positive.
    """
    step = tick * side.sign
    prices = (best.price + step * i for i in range(levels))
    return tuple(
        Level(price, best.size * (i + 1)) for i, price in enumerate(prices) if price > ZERO
    )


def accepts(side: Side, limit: Decimal | None, price: Decimal) -> bool:
    """Whether an order of `side` with `limit` (None is a market order) trades at `price`."""
    if limit is None:
        return True
    return price <= limit if side is Side.BUY else price >= limit


def walk(
    levels: Iterable[Level], side: Side, quantity: Decimal, limit: Decimal | None = None
) -> list[Match]:
    """What `quantity` gets from `levels` (best first) no worse than `limit`.

    150 from 10.00 x 100, 10.01 x 200 → 100 at 10.00 and 50 at 10.01. What is not in the result
    found no counterpart.
    """
    matches: list[Match] = []
    left = quantity
    for level in levels:
        if left <= ZERO or not accepts(side, limit, level.price):
            break
        if level.size <= ZERO:
            continue
        taken = min(left, level.size)
        matches.append(Match(level.price, taken))
        left -= taken
    return matches


def walk_notional(
    levels: Iterable[Level], side: Side, notional: Decimal, limit: Decimal | None = None
) -> list[Match]:
    """What `notional` of money gets from `levels`, quantities cut to eight places.

    1000 at 300.00 → 3.33333333. The sum of the matches' money never exceeds `notional`.
    """
    matches: list[Match] = []
    left = notional
    for level in levels:
        if not accepts(side, limit, level.price):
            break
        affordable = affordable_quantity(left, level.price)
        if affordable <= ZERO:
            break
        taken = min(affordable, level.size)
        if taken <= ZERO:
            continue
        matches.append(Match(level.price, taken))
        left -= money(taken * level.price)
    return matches


def affordable_quantity(notional: Decimal, price: Decimal) -> Decimal:
    """The largest quantity of eight places whose rounded money is within `notional`."""
    quantity = (notional / price).quantize(PRICE_QUANTUM, rounding=ROUND_DOWN)
    while quantity > ZERO and money(quantity * price) > notional:
        quantity -= PRICE_QUANTUM
    return quantity


def matched_quantity(matches: Sequence[Match]) -> Decimal:
    """The sum of the matches' quantities."""
    return sum((match.quantity for match in matches), ZERO)


def is_stop_triggered(side: Side, stop: Decimal, price: Decimal) -> bool:
    """Whether `price` sets off a stop: a buy at or above it, a sell at or below it."""
    return price >= stop if side is Side.BUY else price <= stop


def trailing_mark(side: Side, mark: Decimal | None, price: Decimal) -> Decimal:
    """The high-water mark after `price`: highest for a sell, lowest for a buy."""
    if mark is None:
        return price
    return min(mark, price) if side is Side.BUY else max(mark, price)


def trailing_stop_price(
    side: Side, mark: Decimal, trail_price: Decimal | None, trail_percent: Decimal | None
) -> Decimal:
    """The stop that trails `mark` by an amount or a percentage.

    Rounded to four places away from the mark, so that rounding never triggers early: a sell with
    mark 101.00 and 1 % → 99.99.
    """
    if (trail_price is None) == (trail_percent is None):
        raise ValueError("exactly one of trail_price and trail_percent must be given")
    distance = trail_price if trail_price is not None else mark * (trail_percent or ZERO) / _HUNDRED
    stop = mark + distance * side.sign
    rounding = ROUND_CEILING if side is Side.BUY else ROUND_FLOOR
    return stop.quantize(Decimal("0.0001"), rounding=rounding)


@dataclass(frozen=True, slots=True)
class QueueStep:
    """What a print did for a resting order: the queue still ahead, and what it got."""

    ahead: Decimal
    filled: Decimal


def queue_after_print(
    side: Side,
    limit: Decimal,
    ahead: Decimal,
    remaining: Decimal,
    print_price: Decimal,
    print_size: Decimal,
) -> QueueStep:
    """What a resting limit order gets from a trade elsewhere in the market.

    A print through the limit takes the whole queue: the order fills up to the print's size. A
    print at the limit serves the queue ahead first. 300 printed at the limit with 200 ahead and
    150 remaining → 100 filled, none ahead. Any other print changes nothing.
    """
    through = print_price < limit if side is Side.BUY else print_price > limit
    if through:
        return QueueStep(ZERO, min(remaining, print_size))
    if print_price != limit:
        return QueueStep(ahead, ZERO)
    served = max(print_size - ahead, ZERO)
    return QueueStep(max(ahead - print_size, ZERO), min(remaining, served))


def queue_on_arrival(side: Side, limit: Decimal, own_best: Level) -> Decimal:
    """The displayed size that stands before a limit order joining its own side of the book.

    Better than the best price it stands first; at it, behind the displayed size; behind it, the
    ladder of `depth` tells nothing certain, so the best size is assumed.
    """
    better = limit > own_best.price if side is Side.BUY else limit < own_best.price
    return ZERO if better else own_best.size
