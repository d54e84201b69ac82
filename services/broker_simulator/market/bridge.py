"""From a day's open, high, low and close to its ticks: a seeded bridge that honours all four.

The log price starts at the open, ends at the close and touches the high and the low at two drawn
moments; between these knots run Brownian bridges, folded back at the high and the low (a path
reflected at a wall stays continuous and keeps its end points). Activity is U-shaped over the
session. Everything is drawn from PCG64 streams named by (seed, symbol, day), so the same seed
gives the same tape to the byte, in any order of asking.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from libs.common.domain.sessions import Session
from libs.common.kernel.clock import to_ns
from services.broker_simulator.market.tape import MINUTE_NS, DayTape, Ints, Quotes, Trades

Floats = NDArray[np.float64]
PRINT_DELAY_NS = 1_000_000
HALF_SPREAD_BPS = 0.5
DISPLAYED_SIZE_MEAN = 800.0


@dataclass(frozen=True, slots=True)
class Density:
    """How many events a symbol has in a minute of regular and of extended hours (0 is none)."""

    quotes: float = 8.0
    trades: float = 4.0
    extended_quotes: float = 0.0


@dataclass(frozen=True, slots=True)
class DayShape:
    """A day's outline: prices in ten-thousandths, volume in shares, `sigma` of the log price."""

    previous_close: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    sigma: float


def stream(seed: int, symbol: str, *names: int) -> np.random.Generator:
    """Return the random stream that belongs to `symbol` and the numbers in `names`."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(symbol.encode()), *names]))


def expand(
    seed: int, symbol: str, day: date, session: Session, shape: DayShape, density: Density
) -> DayTape:
    """Return the ticks of one day: regular session and, where asked for, the hours around it."""
    rng = stream(seed, symbol, day.toordinal())
    open_ns, close_ns = to_ns(session.open), to_ns(session.close)
    minutes = (close_ns - open_ns) / MINUTE_NS
    count = max(int(minutes * density.quotes), 8)
    times, steady = _times(rng, count, open_ns, close_ns - 2 * PRINT_DELAY_NS)
    path, knots = _path(rng, times, shape)
    quotes = _quotes(rng, times, path)
    prints = min(int(minutes * density.trades), count)
    if prints >= steady.size + knots.size:
        knots = np.union1d(knots, steady)
    trades = _trades(rng, times, path, knots, prints, shape)
    if density.extended_quotes <= 0:
        return DayTape(quotes, trades)
    before = _quiet(
        rng, to_ns(session.pre_open), open_ns, shape.previous_close, shape.open, density
    )
    after = _quiet(rng, close_ns, to_ns(session.post_close), shape.close, shape.close, density)
    return DayTape(_join(before[0], quotes, after[0]), _join_trades(before[1], trades, after[1]))


def grid(prices: NDArray[np.float64] | Ints) -> Ints:
    """Round prices in ten-thousandths to the market's grid: cents from 1.00 up, else 0.0001."""
    values = np.asarray(prices, dtype=np.float64)
    cents = np.rint(values / 100.0) * 100.0
    return np.where(values >= 10_000.0, cents, np.maximum(np.rint(values), 1.0)).astype(np.int64)


def _times(rng: np.random.Generator, count: int, start: int, end: int) -> tuple[Ints, Ints]:
    """Draw sorted event times, denser at both ends: density 1 + 2 (2x - 1)^2 over (0, 1).

    Where there are enough, every minute has one: a liquid share trades in each. Returns the times
    and the indices of those.
    """
    minutes = np.arange(start, end, MINUTE_NS)
    if count <= minutes.size:
        minutes = minutes[:0]
    steady = minutes + rng.integers(0, MINUTE_NS - 2 * PRINT_DELAY_NS, minutes.size)
    x = np.linspace(0.0, 1.0, 257)
    mass = x + ((2 * x - 1) ** 3 + 1) / 3
    share = np.interp(rng.random(count - minutes.size), mass / mass[-1], x)
    drawn = start + (share * (end - start)).astype(np.int64)
    times = np.concatenate([steady, drawn])
    order = np.argsort(times, kind="stable")
    times = times[order]
    times[0], times[-1] = start, end
    return times, np.sort(np.argsort(order)[: steady.size]).astype(np.int64)


def _path(rng: np.random.Generator, times: Ints, shape: DayShape) -> tuple[Ints, Ints]:
    count = times.size
    low, high = np.log(float(shape.low)), np.log(float(shape.high))
    ends = (np.log(float(shape.open)), np.log(float(shape.close)))
    at_high, at_low = _turning_points(rng, count, shape)
    knots = sorted({0: ends[0], at_high: high, at_low: low, count - 1: ends[1]}.items())
    clock = (times - times[0]) / max(int(times[-1] - times[0]), 1)
    steps = np.sqrt(np.diff(clock, prepend=0.0)) * shape.sigma * rng.standard_normal(count)
    walk = np.cumsum(steps)
    at = np.array([index for index, _ in knots])
    pinned = np.array([value for _, value in knots])
    # Subtracting the line through the walk at the knots leaves bridges that are zero there.
    path = np.interp(clock, clock[at], pinned) + walk - np.interp(clock, clock[at], walk[at])
    prices = grid(np.exp(_fold(path, low, high)))
    prices = np.clip(prices, shape.low, shape.high)
    exact = {0: shape.open, at_high: shape.high, at_low: shape.low, count - 1: shape.close}
    for index, price in exact.items():
        prices[index] = price
    return prices, np.array(sorted(exact), dtype=np.int64)


def _turning_points(rng: np.random.Generator, count: int, shape: DayShape) -> tuple[int, int]:
    """Draw the indices of the high and the low; an end that is extreme needs no other."""
    first, second = rng.choice(np.arange(1, count - 1), size=2, replace=False)
    at_high, at_low = int(first), int(second)
    if shape.high in (shape.open, shape.close):
        at_high = 0 if shape.high == shape.open else count - 1
    if shape.low in (shape.open, shape.close):
        at_low = 0 if shape.low == shape.open else count - 1
    return at_high, at_low


def _fold(path: Floats, low: float, high: float) -> Floats:
    width = high - low
    if width <= 0:
        return np.full_like(path, low)
    offset = np.mod(path - low, 2 * width)
    return low + np.where(offset < width, offset, 2 * width - offset)


def _quotes(rng: np.random.Generator, times: Ints, path: Ints) -> Quotes:
    """Draw a quote around each price of the path, which is its bid or its ask by a coin."""
    tick = np.where(path >= 10_000, 100, 1)
    wide = np.rint(path * (2 * HALF_SPREAD_BPS / 10_000) * rng.exponential(1.0, path.size) / tick)
    spread = (np.maximum(wide, 1.0) * tick).astype(np.int64)
    is_ask = rng.random(path.size) < 0.5
    bid = np.maximum(grid(np.where(is_ask, path - spread, path)), 1)
    ask = np.where(is_ask, path, path + spread)
    ask = np.maximum(grid(ask), bid + 1)
    sizes = rng.exponential(DISPLAYED_SIZE_MEAN, (2, path.size))
    rounded = (np.maximum(np.rint(sizes / 100.0), 1.0) * 100.0).astype(np.int64)
    return Quotes(times, bid, ask, rounded[0], rounded[1])


def _trades(
    rng: np.random.Generator,
    times: Ints,
    path: Ints,
    knots: Ints,
    count: int,
    shape: DayShape,
) -> Trades:
    others = np.setdiff1d(np.arange(times.size), knots)
    drawn = rng.choice(others, size=max(min(count - knots.size, others.size), 0), replace=False)
    at = np.sort(np.concatenate([knots, drawn]))
    weights = rng.exponential(1.0, at.size)
    size = np.maximum((shape.volume * weights / weights.sum()).astype(np.int64), 1)
    size[-1] += max(shape.volume - int(size.sum()), 0)
    return Trades(times[at] + PRINT_DELAY_NS, path[at], size)


def _quiet(
    rng: np.random.Generator, start: int, end: int, first: int, last: int, density: Density
) -> tuple[Quotes, Trades]:
    """Draw thin trading between two prices: a straight way, noise, a print every tenth quote."""
    count = max(int((end - start) / MINUTE_NS * density.extended_quotes), 2)
    times = np.sort(rng.integers(start, end - 2 * PRINT_DELAY_NS, count))
    line = np.linspace(float(first), float(last), count)
    path = grid(line * np.exp(2e-4 * rng.standard_normal(count)))
    quotes = _quotes(rng, times, path)
    at = np.arange(0, count, 10)
    size = rng.integers(1, 20, at.size) * 100
    return quotes, Trades(times[at] + PRINT_DELAY_NS, path[at], size.astype(np.int64))


def _join(*parts: Quotes) -> Quotes:
    names = ("ts", "bid", "ask", "bid_size", "ask_size")
    return Quotes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _join_trades(*parts: Trades) -> Trades:
    names = ("ts", "price", "size")
    return Trades(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
