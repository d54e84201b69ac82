"""Bars of many symbols, and the checks that they must pass before anyone trades on them."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Protocol

import numpy as np

from libs.common.backtest.errors import DataError
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import from_ns
from libs.common.quant.simulation.records import BAR

_PRICES: Final = ("open", "high", "low", "close")
_DAY_NS: Final = 86_400_000_000_000
# A day is 23 hours long when the clocks go forward.
_SHORTEST: Final = 0.95
Place = Callable[[int], str]
"""Where the bar with this index stands: `prices.csv, line 17`."""


@dataclass(frozen=True)
class History:
    """Checked bars: per symbol shape (k,), BAR, oldest first, one timeframe.

    `closes_only`: there were only closes; open, high and low repeat them and volume is NaN.
    `notes` tell what a reader of the result should know of the data.
    """

    timeframe: Timeframe
    bars: Mapping[str, np.ndarray]
    source: str
    closes_only: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 over symbols and bars, in the order of the symbols' names."""
        digest = hashlib.sha256(self.timeframe.value.encode())
        for symbol in sorted(self.bars):
            digest.update(symbol.encode())
            digest.update(np.ascontiguousarray(self.bars[symbol]).tobytes())
        return digest.hexdigest()

    def until(self, end_ns: int | None) -> History:
        """Return the bars that start before `end_ns`."""
        if end_ns is None:
            return self
        cut = {s: b[: int(np.searchsorted(b["ts"], end_ns))] for s, b in self.bars.items()}
        return replace(self, bars=cut)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader is asked for: bars of [start, end), and `before` bars ahead of them."""

    symbols: tuple[str, ...]
    timeframe: Timeframe
    start_ns: int | None = None
    end_ns: int | None = None
    before: int = 0
    gap_days_max: float = 10.0


class Reader(Protocol):
    """Where bars come from. A reader may return more than was wanted, never less."""

    def read(self, wanted: Wanted) -> History:
        """Return checked bars. Raises DataError."""
        ...


def check_bars(
    symbol: str,
    bars: np.ndarray,
    wanted: Wanted,
    place: Place,
    *,
    closes_only: bool = False,
) -> None:
    """Raise DataError for the first thing that is wrong with `bars` (shape (k,), BAR)."""

    def refuse(index: int, what: str) -> DataError:
        when = f"{from_ns(int(bars['ts'][index])):%Y-%m-%d %H:%M:%S} UTC"
        return DataError(f"{place(index)}: {symbol}, bar {index} ({when}): {what}")

    if len(bars) == 0:
        raise DataError(f"{place(0)}: {symbol}: no bars")
    for name in _PRICES:
        column = bars[name]
        if (bad := _first(~np.isfinite(column))) is not None:
            raise refuse(bad, f"{name} is {column[bad]}, not a number")
        if (bad := _first(column <= 0)) is not None:
            raise refuse(bad, f"{name} {column[bad]:g} is not above 0")
    top = np.maximum(bars["open"], bars["close"])
    bottom = np.minimum(bars["open"], bars["close"])
    if (bad := _first((bars["high"] < top) | (bars["low"] > bottom))) is not None:
        raise refuse(
            bad,
            f"high {bars['high'][bad]:g} and low {bars['low'][bad]:g} do not hold "
            f"open {bars['open'][bad]:g} and close {bars['close'][bad]:g}",
        )
    if not closes_only and (bad := _first(~(bars["volume"] >= 0))) is not None:
        raise refuse(bad, f"volume {bars['volume'][bad]:g} is not a number of at least 0")
    _check_times(symbol, bars["ts"], wanted, refuse)


def _check_times(
    symbol: str, ts: np.ndarray, wanted: Wanted, refuse: Callable[[int, str], DataError]
) -> None:
    steps = np.diff(ts)
    if (bad := _first(steps == 0)) is not None:
        raise refuse(bad + 1, "the same time twice")
    if (bad := _first(steps < 0)) is not None:
        raise refuse(bad + 1, "older than the bar before it: bars must be sorted by time")
    if steps.size == 0:
        return
    span = wanted.timeframe.ns
    closest = int(np.argmin(steps))
    if steps[closest] < _SHORTEST * span:
        raise refuse(
            closest + 1,
            f"{steps[closest] / 1e9:g} s after the bar before it, "
            f"but bars of {wanted.timeframe.value} are asked for",
        )
    if steps[closest] > 1.5 * span:
        raise refuse(
            closest + 1,
            f"no two bars are closer than {steps[closest] / 1e9:g} s, "
            f"but bars of {wanted.timeframe.value} are asked for",
        )
    if (bad := _first(steps > wanted.gap_days_max * _DAY_NS)) is not None:
        raise refuse(
            bad + 1,
            f"a gap of {steps[bad] / _DAY_NS:.1f} days before it; at most "
            f"{wanted.gap_days_max:g} are allowed (gap_days_max)",
        )


def _first(marks: np.ndarray) -> int | None:
    return int(np.argmax(marks)) if marks.any() else None


def holes(bars: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return a note for each symbol that lacks bars which others have while it has some."""
    every = np.unique(np.concatenate([b["ts"] for b in bars.values()]))
    notes = []
    for symbol, own in bars.items():
        low, high = np.searchsorted(every, [own["ts"][0], own["ts"][-1]])
        missing = int(high - low + 1) - len(own)
        if missing:
            notes.append(f"{symbol}: {missing} bars are missing that other symbols have")
    return tuple(notes)


def unknown_symbol(symbol: str, known: Iterable[str], where: str) -> DataError:
    """Return the refusal of a symbol that the source lacks, with the nearest known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(symbol, names, n=3, cutoff=0.5)
    listed = ", ".join(names[:30]) + (" …" if len(names) > 30 else "")
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {listed or 'none'}"
    return DataError(f"{where}: no bars of {symbol}; {hint}")


def bars_of_closes(ts: np.ndarray, closes: np.ndarray) -> np.ndarray:
    """Return bars (shape (k,), BAR) whose four prices are the close and whose volume is unknown."""
    bars = np.zeros(len(ts), BAR)
    bars["ts"] = ts
    for name in _PRICES:
        bars[name] = closes
    bars["volume"] = np.nan
    return bars


def bars_of_columns(ts: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return bars (shape (k,), BAR) from columns of shape (k,) named as BAR's fields."""
    bars = np.zeros(len(ts), BAR)
    bars["ts"] = ts
    for name in (*_PRICES, "volume"):
        bars[name] = columns[name]
    return bars


def enough(symbol: str, bars: np.ndarray, needed: int, why: str, where: str) -> None:
    """Raise DataError if fewer than `needed` bars are there."""
    if len(bars) < needed:
        raise DataError(f"{where}: {symbol} has {len(bars)} bars, but {why} needs {needed}")


def first_common(bars: Sequence[np.ndarray]) -> int:
    """Return the latest of the first bars' times."""
    return max(int(own["ts"][0]) for own in bars)
