"""Two runs laid side by side: the first bar and field in which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import from_ns
from libs.common.quant.simulation.records import DECISION, SIGNAL
from libs.common.strategy.cross_runner import CrossRunner
from libs.common.strategy.definition import Definition
from libs.common.strategy.kinds import runners_of
from libs.common.strategy.parameters import Value

History = Mapping[str, np.ndarray]
"""Bars by symbol: each of shape (k,), BAR, oldest first."""

SIGNAL_FIELD = "signal"


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two runs part: symbol, index and start (ns) of the bar, the decision's field, its value
    in the one and in the other. Field "signal": one stated its decision there, the other not."""

    symbol: str
    bar: int
    ts: int
    field: str
    one: float
    other: float

    def __str__(self) -> str:
        when = f"{from_ns(self.ts):%Y-%m-%d %H:%M:%S} UTC"
        values = f"{self.field} {self.one:g}, not {self.other:g}"
        return f"{self.symbol} bar {self.bar} ({when}): {values}"


@dataclass(frozen=True, slots=True)
class Subject:
    """A strategy with its parameters, to be run again and again from a blank memory."""

    definition: Definition
    params: Mapping[str, Value]
    timeframe: Timeframe | None

    def run(self, history: History) -> dict[str, np.ndarray]:
        """Return the signals (SIGNAL) of each symbol, each on the symbol's first bar that is not
        older: where it has no bar, what is decided belongs to the next one. Raises StepError."""
        found: dict[str, np.ndarray] = {}
        for runner in runners_of(self.definition, self.params, tuple(history), self.timeframe):
            own = {symbol: history[symbol] for symbol in runner.symbols}
            if isinstance(runner, CrossRunner):
                found.update(runner.decide_to_trade(own))
            else:
                found.update(runner.decide(own))
        return found

    def run_one_by_one(self, history: History) -> dict[str, np.ndarray]:
        """Return the same, each time handed over by itself, as live. Raises StepError."""
        found: dict[str, np.ndarray] = {}
        for runner in runners_of(self.definition, self.params, tuple(history), self.timeframe):
            own = {symbol: history[symbol] for symbol in runner.symbols}
            stated: dict[str, list[tuple[int, np.void]]] = {symbol: [] for symbol in own}
            for ts in np.unique(np.concatenate([bars["ts"] for bars in own.values()])).tolist():
                places = {s: int(np.searchsorted(b["ts"], ts)) for s, b in own.items()}
                left = {s: i for s, i in places.items() if i < len(own[s])}
                now = {s: own[s][i] for s, i in left.items() if int(own[s]["ts"][i]) == ts}
                for said in runner.take(now):
                    if said.symbol in left:
                        stated[said.symbol].append((left[said.symbol], said.decision))
            found.update({symbol: _signals(rows) for symbol, rows in stated.items()})
        return found


def _signals(rows: list[tuple[int, np.void]]) -> np.ndarray:
    kept = dict(rows)  # of several on one bar the last
    signals = np.zeros(len(kept), SIGNAL)
    for row, (index, decision) in zip(signals, sorted(kept.items()), strict=True):
        row["index"] = index
        for name in DECISION.names or ():
            row[name] = decision[name]
    return signals


def in_force(signals: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """Return, by field, the decision that stood after each of the first n bars (NaN: none yet), and
    under "signal" 1 where it was stated."""
    at = np.searchsorted(signals["index"], np.arange(n), side="right") - 1
    values = {}
    for name in DECISION.names or ():
        known = np.append(signals[name], np.nan)
        values[name] = known[at]  # -1: the NaN behind the last
    marks = np.zeros(n)
    marks[signals["index"][(signals["index"] >= 0) & (signals["index"] < n)]] = 1.0
    return {**values, SIGNAL_FIELD: marks}


def differing(
    one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], tolerance: float = 0.0
) -> dict[str, np.ndarray]:
    """Return, by field, which bars differ: shape (n,), bool. NaN equals NaN."""
    marks = {}
    for name, left in one.items():
        right = other[name]
        both = np.isnan(left) & np.isnan(right)
        near = np.abs(left - right) <= tolerance * np.maximum(np.abs(left), np.abs(right))
        marks[name] = ~(both | near)
    return marks


def first_difference(
    history: History, one: History, other: History, until: Mapping[str, int] | None = None
) -> Difference | None:
    """Return the earliest bar at which two runs' signals differ, None if they are the same.

    Only the first `until[symbol]` bars count.
    """
    found: list[Difference] = []
    for symbol, bars in history.items():
        n = len(bars) if until is None else until[symbol]
        left, right = in_force(one[symbol], n), in_force(other[symbol], n)
        marks = differing(left, right)
        firsts = {name: int(np.argmax(mark)) for name, mark in marks.items() if mark.any()}
        if not firsts:
            continue
        name = min(firsts, key=lambda field: (firsts[field], field == SIGNAL_FIELD))
        bar = firsts[name]
        values = float(left[name][bar]), float(right[name][bar])
        found.append(Difference(symbol, bar, int(bars["ts"][bar]), name, *values))
    return min(found, key=lambda difference: difference.ts, default=None)
