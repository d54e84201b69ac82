"""The market of a simulation: every symbol's bars, checked once and laid out in time order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from libs.common.quant.simulation.layout import ACTION, DELISTING, DIVIDEND, QUOTE, SPLIT
from libs.common.quant.simulation.records import BAR


class MarketError(ValueError):
    """The data cannot be simulated on; the message names symbol and bar."""


@dataclass(frozen=True, slots=True)
class Action:
    """A corporate action: `kind` SPLIT, DIVIDEND or DELISTING; see ACTION for `value`."""

    ts: int
    symbol: str
    kind: int
    value: float


@dataclass(frozen=True)
class Market:
    """Symbols and their bars. Build it with `Market.of`; it never changes.

    `tape` (N,) BAR holds all bars by time, within one time by symbol, `closes`
    (N,) f8 their closes; `owner` (N,) i8 their symbol;
    `timeline` (T,) i8 the distinct times; bars `starts[t]` to `starts[t + 1]` belong to time t;
    `slots` (N,) i8 says where bar i of symbol s is on the tape: `slots[offsets[s] + i]`.
    """

    symbols: tuple[str, ...]
    bars: tuple[np.ndarray, ...]
    tape: np.ndarray
    closes: np.ndarray
    owner: np.ndarray
    timeline: np.ndarray
    starts: np.ndarray
    slots: np.ndarray
    offsets: np.ndarray
    actions: np.ndarray
    quotes: np.ndarray
    fine: np.ndarray
    fine_starts: np.ndarray
    lots: np.ndarray
    ticks: np.ndarray
    borrow: np.ndarray
    shortable: np.ndarray
    duration_ns: int

    @classmethod
    def of(
        cls,
        bars: Mapping[str, np.ndarray],
        *,
        actions: Sequence[Action] = (),
        quotes: Mapping[str, np.ndarray] | None = None,
        fine: Mapping[str, np.ndarray] | None = None,
        lots: Mapping[str, float] | None = None,
        ticks: Mapping[str, float] | None = None,
        borrow: Mapping[str, float] | None = None,
        not_shortable: Sequence[str] = (),
        duration_ns: int | None = None,
    ) -> Market:
        """Return the checked market; raises MarketError.

        `bars`: per symbol an array of BAR by rising ts. `quotes`: per symbol QUOTE, one a bar, as
        it opens. `fine`: per symbol BAR of a finer timeframe that decide what came first within a
        bar. `lots` (default 1) and `ticks` (default 0: any price) are steps of quantity and price,
        `borrow` yearly rates, `duration_ns` the length of a bar (default: the smallest distance).
        """
        if not bars:
            raise MarketError("the market has no symbols")
        symbols = tuple(bars)
        arrays = tuple(checked_bars(symbol, array) for symbol, array in bars.items())
        for name, given in (("quotes", quotes), ("fine", fine), ("lots", lots), ("ticks", ticks),
                            ("borrow", borrow), ("not_shortable", not_shortable)):  # fmt: skip
            strange = [symbol for symbol in given or () if symbol not in bars]
            if strange:
                raise MarketError(f"{name}: unknown symbol {strange[0]!r}")
        offsets = np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64)
        tape, owner, timeline, starts, slots = lay_out(arrays, offsets)
        fine_bars, fine_starts = _fine(symbols, arrays, fine or {}, offsets)
        return cls(
            symbols=symbols,
            bars=arrays,
            tape=tape,
            closes=np.ascontiguousarray(tape["close"]),
            owner=owner,
            timeline=timeline,
            starts=starts,
            slots=slots,
            offsets=offsets,
            actions=_actions(symbols, arrays, actions, timeline),
            quotes=_quotes(symbols, arrays, quotes or {}, slots),
            fine=fine_bars,
            fine_starts=fine_starts,
            lots=_steps(symbols, "lot", lots or {}, 1.0),
            ticks=_steps(symbols, "tick", ticks or {}, 0.0),
            borrow=_steps(symbols, "borrow", borrow or {}, -1.0),
            shortable=np.array([s not in not_shortable for s in symbols]),
            duration_ns=_shortest(arrays) if duration_ns is None else duration_ns,
        )

    def index(self, symbol: str) -> int:
        """Return the symbol's place; raises MarketError for one that is not here."""
        try:
            return self._places[symbol]
        except KeyError:
            raise MarketError(
                f"unknown symbol {symbol!r}; there are {', '.join(self.symbols)}"
            ) from None

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {symbol: place for place, symbol in enumerate(self.symbols)}


def when(ts: int) -> str:
    """Return a time in ns as text."""
    return f"{dt.datetime.fromtimestamp(ts / 1e9, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def checked_bars(symbol: str, bars: np.ndarray) -> np.ndarray:
    """Return `bars` as a contiguous array of BAR; raises MarketError naming symbol and bar."""
    if bars.ndim != 1 or bars.dtype.names != BAR.names:
        raise MarketError(
            f"{symbol}: bars must be a one-dimensional array of BAR, got {bars.dtype}"
        )
    array = np.ascontiguousarray(bars, BAR)
    if not array.flags.writeable:
        array = array.copy()
    if not len(array):
        raise MarketError(f"{symbol}: no bars")
    late = np.flatnonzero(np.diff(array["ts"]) <= 0)
    if len(late):
        i = int(late[0]) + 1
        raise MarketError(
            f"{symbol}: bar {i} ({when(int(array['ts'][i]))}) does not come after bar {i - 1}"
        )
    for name in ("open", "high", "low", "close"):
        wrong = np.flatnonzero(~((array[name] > 0.0) & (array[name] < np.inf)))
        if len(wrong):
            raise _bad(symbol, array, int(wrong[0]), name, "must be a price above 0")
    wrong = np.flatnonzero(~((array["volume"] >= 0.0) & (array["volume"] < np.inf)))
    if len(wrong):
        raise _bad(symbol, array, int(wrong[0]), "volume", "must not be below 0")
    high, low = array["high"], array["low"]
    for name in ("open", "close"):
        wrong = np.flatnonzero((array[name] > high) | (array[name] < low))
        if len(wrong):
            raise _bad(symbol, array, int(wrong[0]), name, "must lie between low and high")
    return array


def _bad(symbol: str, bars: np.ndarray, i: int, name: str, what: str) -> MarketError:
    ts, value = int(bars["ts"][i]), float(bars[name][i])
    return MarketError(f"{symbol}: bar {i} ({when(ts)}): {name} {what}, got {value!r}")


def lay_out(
    arrays: Sequence[np.ndarray], offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return tape, owner, timeline, starts and slots; see `Market`."""
    count, total = len(arrays), int(offsets[-1])
    first = arrays[0]["ts"]
    if all(len(a) == len(first) and np.array_equal(a["ts"], first) for a in arrays[1:]):
        n = len(first)
        tape = arrays[0] if count == 1 else np.stack(arrays, axis=1).reshape(-1)
        owner = np.tile(np.arange(count), n)
        starts = np.arange(0, total + 1, count)
        slots = (np.arange(n) * count + np.arange(count)[:, None]).reshape(-1)
        return tape, owner, np.ascontiguousarray(first), starts, slots
    joined = np.concatenate(arrays)
    symbol = np.repeat(np.arange(count), np.diff(offsets))
    order = np.argsort(joined["ts"], kind="stable")
    timeline, starts = np.unique(joined["ts"][order], return_index=True)
    slots = np.empty(total, np.int64)
    slots[order] = np.arange(total)
    return joined[order], symbol[order], timeline, np.append(starts, total), slots


def _steps(
    symbols: Sequence[str], name: str, given: Mapping[str, float], default: float
) -> np.ndarray:
    for symbol, value in given.items():
        if not (0.0 < value < np.inf or (value == 0.0 and name != "lot")):
            raise MarketError(f"{symbol}: {name} must be above 0, got {value!r}")
    return np.array([given.get(symbol, default) for symbol in symbols])


def _shortest(arrays: Sequence[np.ndarray]) -> int:
    return min((int(np.diff(a["ts"]).min()) for a in arrays if len(a) > 1), default=0)


def _actions(
    symbols: Sequence[str],
    arrays: Sequence[np.ndarray],
    actions: Sequence[Action],
    timeline: np.ndarray,
) -> np.ndarray:
    table = np.zeros(len(actions), ACTION)
    # Of one day, a dividend is per share before the split, and a delisting ends everything.
    rank = {DIVIDEND: 0, SPLIT: 1, DELISTING: 2}
    for row, action in zip(
        table, sorted(actions, key=lambda a: (a.ts, rank.get(a.kind, 0))), strict=True
    ):
        where = f"{action.symbol}: action at {when(action.ts)}"
        if action.symbol not in symbols:
            raise MarketError(f"{where}: unknown symbol")
        if action.kind not in rank:
            raise MarketError(f"{where}: kind must be SPLIT, DIVIDEND or DELISTING")
        last = action.kind == DELISTING
        if not (0.0 < action.value < np.inf or (last and not action.value < 0.0)):
            raise MarketError(f"{where}: value must be above 0, got {action.value!r}")
        index = symbols.index(action.symbol)
        if last and int(arrays[index]["ts"][-1]) >= action.ts:
            raise MarketError(f"{where}: there are bars after its delisting")
        row["ts"], row["symbol"] = action.ts, index
        row["kind"], row["value"] = action.kind, action.value
        row["time"] = np.searchsorted(timeline, action.ts)
    return table


def _quotes(
    symbols: Sequence[str],
    arrays: Sequence[np.ndarray],
    quotes: Mapping[str, np.ndarray],
    slots: np.ndarray,
) -> np.ndarray:
    if not quotes:
        return np.zeros(0, QUOTE)
    missing = [symbol for symbol in symbols if symbol not in quotes]
    if missing:
        raise MarketError(f"{missing[0]}: has no quotes while others do")
    for symbol, bars in zip(symbols, arrays, strict=True):
        given = quotes[symbol]
        if given.dtype != QUOTE or len(given) != len(bars):
            raise MarketError(
                f"{symbol}: quotes must be QUOTE, one for each of {len(bars)} bars, "
                f"got {len(given)} of {given.dtype}"
            )
        fits = (given["bid"] > 0.0) & (given["ask"] >= given["bid"]) & (given["ask"] < np.inf)
        fits &= (given["bid_size"] >= 0.0) & (given["ask_size"] >= 0.0)
        wrong = np.flatnonzero(~fits)
        if len(wrong):
            raise MarketError(f"{symbol}: bar {wrong[0]}: quote must have 0 < bid <= ask and sizes")
    laid = np.zeros(len(slots), QUOTE)
    laid[slots] = np.concatenate([quotes[symbol] for symbol in symbols])
    return laid


def _fine(
    symbols: Sequence[str],
    arrays: Sequence[np.ndarray],
    fine: Mapping[str, np.ndarray],
    offsets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return all finer bars, and per bar (symbol by symbol) where its own begin (N + 1)."""
    if not fine:
        return np.zeros(0, BAR), np.zeros(0, np.int64)
    parts, starts, begin = [], np.zeros(int(offsets[-1]) + 1, np.int64), 0
    for k, (symbol, bars) in enumerate(zip(symbols, arrays, strict=True)):
        inner = checked_bars(symbol, fine[symbol]) if symbol in fine else np.zeros(0, BAR)
        if len(inner) and inner["ts"][0] < bars["ts"][0]:
            raise MarketError(f"{symbol}: finer bars begin before the first bar")
        parts.append(inner)
        starts[offsets[k] : offsets[k + 1]] = begin + np.searchsorted(inner["ts"], bars["ts"])
        begin += len(inner)
    starts[-1] = begin
    return np.concatenate(parts), starts
