"""Does a strategy know what it cannot know yet? It is run again with the future taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.validation.permutation import permuted_bars
from libs.common.strategy.definition import Definition
from libs.common.strategy.honesty.differences import History, Subject
from libs.common.strategy.honesty.questions import (
    Check,
    blind,
    count_before,
    dates,
    holds_prices,
    one_by_one,
    prices,
    repeated,
    same,
)
from libs.common.strategy.honesty.reach import reached

CUTS: Final = 24
BARS_MIN: Final = 20


@dataclass(frozen=True, slots=True)
class LookaheadReport:
    """All checks of one strategy with its parameters."""

    strategy: str
    params: Mapping[str, object]
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> str:
        """Return "looks ahead", "doubtful" or "clean"."""
        failed = [check for check in self.checks if not check.passed]
        if any(check.proof for check in failed):
            return "looks ahead"
        return "doubtful" if failed else "clean"


def check_lookahead(
    definition: Definition,
    params: Mapping[str, object],
    history: History,
    generator: np.random.Generator,
    *,
    timeframe: Timeframe | None = None,
    cuts: int = CUTS,
) -> LookaheadReport:
    """Return what gives a strategy away that knows later bars. `history` is not changed.

    Run again on the bars up to a cut (half of the cuts right after a signal, where knowing the next
    bar matters most), and with other bars after the cut, it must decide up to the cut as before; so
    it must a second time, and with the bars handed over one by one. What these cannot show, because
    the future is not in the bars but in the code, the others look for: decisions that move with the
    date, or stay whatever the prices are, and data of the module that holds the very prices.

    Raises InvalidParamsError, InvalidInputError for fewer than 20 bars, and StepError if the run on
    all bars fails.
    """
    subject = Subject(definition, definition.parse(params), timeframe)
    times = _times(history)
    if len(times) < BARS_MIN:
        raise InvalidInputError(f"look-ahead: needs {BARS_MIN} times of bars, got {len(times)}")
    before = {symbol: bars.copy() for symbol, bars in history.items()}
    full = subject.run(history)
    at = _cut_times(history, full, times, cuts, generator)
    # One at a time: a copy of the bars for each cut at once could fill the memory.
    shorter = ({s: b[: count_before(b, t)] for s, b in before.items()} for t in at)
    others = (
        {s: permuted_bars(b, generator, count_before(b, t) - 1) for s, b in before.items()}
        for t in at
    )
    found = reached(definition, subject.params)
    checks = (
        same("truncated", "Are decisions the same without the bars that come after?",
             subject, before, full, shorter, at),
        same("other future", "Are they the same when other bars come after?",
             subject, before, full, others, at),
        one_by_one(subject, before, full, times),
        repeated(subject, before, full),
        holds_prices(found, before),
        blind(found),
        dates(subject, before, full),
        prices(subject, before, full, generator),
    )  # fmt: skip
    return LookaheadReport(definition.name, subject.params, checks)


def _times(history: History) -> np.ndarray:
    if not history:
        return np.empty(0, np.int64)
    return np.unique(np.concatenate([bars["ts"] for bars in history.values()]))


def _cut_times(
    history: History, signals: History, times: np.ndarray, cuts: int, generator: np.random.Generator
) -> list[int]:
    """Return times before which to cut: after signals, and anywhere."""
    said = [history[s]["ts"][f["index"][f["index"] >= 0]] for s, f in signals.items()]
    after = np.searchsorted(times, np.unique(np.concatenate(said)), side="right")
    after = after[(after > 0) & (after < len(times))]
    half = max(cuts // 2, 1)
    chosen = after[np.linspace(0, len(after) - 1, min(half, len(after))).astype(int)]
    anywhere = generator.choice(np.arange(1, len(times)), min(half, len(times) - 1), replace=False)
    return [int(t) for t in times[np.unique(np.concatenate([chosen, anywhere]))]]
