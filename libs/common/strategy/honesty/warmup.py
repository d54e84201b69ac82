"""How long does a strategy remember where it began? It is run from different starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import InvalidInputError
from libs.common.strategy.definition import Definition
from libs.common.strategy.honesty.differences import (
    SIGNAL_FIELD,
    Difference,
    History,
    Subject,
    differing,
    in_force,
)

STARTS: Final = 8
BARS_MIN: Final = 20


@dataclass(frozen=True, slots=True)
class Start:
    """One later start: its index and time (ns), and after how many bars the decisions agree with
    those of the run from the first bar; None if they do not to the end. `late`: how many bars
    differ after the declared warm-up (few: a tie that rounding breaks), `difference` the first of
    them, None if there is none."""

    symbol: str
    bar: int
    ts: int
    agrees_after: int | None
    late: int
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class WarmupReport:
    """What the strategy declares and what it needs."""

    strategy: str
    params: Mapping[str, object]
    declared: int
    starts: tuple[Start, ...]

    @property
    def needed(self) -> int | None:
        """Return after how many bars the decisions of every start agree, None if never."""
        every = [start.agrees_after for start in self.starts]
        known = [bars for bars in every if bars is not None]
        return max(known, default=0) if len(known) == len(every) else None

    @property
    def enough(self) -> bool:
        """Tell whether the declared warm-up is."""
        return self.needed is not None and self.needed <= self.declared

    @property
    def first(self) -> Difference | None:
        """Return the earliest difference that the declared warm-up leaves."""
        left = [start.difference for start in self.starts if start.difference is not None]
        return min(left, key=lambda difference: difference.ts, default=None)


def check_warmup(
    definition: Definition,
    params: Mapping[str, object],
    history: History,
    *,
    timeframe: Timeframe | None = None,
    starts: int = STARTS,
    tolerance: float = 1e-6,
) -> WarmupReport:
    """Return after how many bars a strategy no longer depends on the bar it began with.

    Run from later starts, spread over the first three quarters of the bars, the decision in force
    is compared, bar by bar and field by field, with that of the run from the first bar; numbers
    agree within a relative `tolerance`, because recursive averages forget but never wholly. A
    strategy that holds on to what it did agrees once its next decision replaces the old one: the
    report shows that too.

    Raises InvalidParamsError, InvalidInputError for too few bars, StepError from a run.
    """
    subject = Subject(definition, definition.parse(params), timeframe)
    declared = definition.warmup(subject.params)
    times = np.unique(np.concatenate([bars["ts"] for bars in history.values()]))
    if len(times) < max(BARS_MIN, 2 * (declared + 1)):
        raise InvalidInputError(
            f"warm-up: {definition.name} wants {declared} bars of history, so the check needs "
            f"{max(BARS_MIN, 2 * (declared + 1))}, got {len(times)}"
        )
    latest = min(3 * len(times) // 4, len(times) - declared - 1)
    chosen = np.unique(np.linspace(1, latest, starts).astype(int))
    full = subject.run(history)
    found: list[Start] = []
    for ts in times[chosen].tolist():
        later = {s: b[np.searchsorted(b["ts"], ts) :] for s, b in history.items()}
        if all(len(bars) for bars in later.values()):
            found += _compared(subject, history, full, later, declared, tolerance)
    return WarmupReport(definition.name, subject.params, declared, tuple(found))


def _compared(
    subject: Subject, history: History, full: History, later: History, declared: int,
    tolerance: float,
) -> list[Start]:  # fmt: skip
    """Return how the run on `later` compares, symbol by symbol."""
    signals = subject.run(later)
    found = []
    for symbol, bars in later.items():
        begin = len(history[symbol]) - len(bars)
        whole = {
            name: v[begin:] for name, v in in_force(full[symbol], len(history[symbol])).items()
        }
        part = in_force(signals[symbol], len(bars))
        # Where one repeats what the other has stated, the decision in force is the same.
        whole.pop(SIGNAL_FIELD)
        marks = differing(part, whole | {SIGNAL_FIELD: part[SIGNAL_FIELD]}, tolerance)
        any_field = np.logical_or.reduce(list(marks.values()))
        last = int(np.flatnonzero(any_field)[-1]) + 1 if any_field.any() else 0
        difference = None
        after = np.flatnonzero(any_field[declared:])
        if len(after):
            at = declared + int(after[0])
            field = next(name for name, mark in marks.items() if mark[at])
            difference = Difference(symbol, begin + at, int(bars["ts"][at]), field,
                                    float(part[field][at]), float(whole[field][at]))  # fmt: skip
        agrees = None if last == len(bars) else last
        found.append(Start(symbol, begin, int(bars["ts"][0]), agrees, len(after), difference))
    return found
