"""Could the entries have been this good by chance? A strategy's decisions against permuted time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.validation.permutation import (
    Significance,
    rule_significance,
    timing_significance,
)
from libs.common.strategy.definition import Definition
from libs.common.strategy.honesty.differences import History, Subject, in_force

BARS_MIN: Final = 20


@dataclass(frozen=True, slots=True)
class EntryReport:
    """How significant the timing of one strategy is, by symbol.

    `rotated`: its targets against the same returns at other times. `permuted`: the strategy run
    anew on markets of shuffled bars. Scores are mean target x return of the next bar.
    """

    strategy: str
    params: Mapping[str, object]
    rotated: Mapping[str, Significance]
    permuted: Mapping[str, Significance]


def check_entry(
    definition: Definition,
    params: Mapping[str, object],
    history: History,
    generator: np.random.Generator,
    *,
    timeframe: Timeframe | None = None,
    permutations: int = 500,
) -> EntryReport:
    """Return how likely chance does as well as the strategy's targets, costs aside.

    A target decided on a bar meets the return from that bar's close to the next. Of a strategy on a
    universe one symbol's bars are permuted at a time, the others stay. Both p-values are of this
    one strategy with these parameters: if it is the best of many that were tried, they flatter it.

    Raises InvalidParamsError, InvalidInputError for fewer than 20 bars, StepError from a run.
    """
    subject = Subject(definition, definition.parse(params), timeframe)
    for symbol, bars in history.items():
        if len(bars) < BARS_MIN:
            raise InvalidInputError(f"entry: {symbol} has {len(bars)} bars, needs {BARS_MIN}")
    full = subject.run(history)
    rotated, permuted = {}, {}
    for symbol, bars in history.items():
        held, moved = _met(full[symbol], bars)
        rotated[symbol] = timing_significance(held, moved, permutations, generator)

        def score(changed: np.ndarray, symbol: str = symbol) -> float:
            there = {**history, symbol: changed}
            held, moved = _met(subject.run(there)[symbol], changed)
            return float(np.mean(held * (moved - moved.mean())))

        permuted[symbol] = rule_significance(bars, score, permutations, generator)
    return EntryReport(definition.name, subject.params, rotated, permuted)


def _met(signals: np.ndarray, bars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return targets in force (0 before the first) and the returns that they met, (n - 1,)."""
    targets = np.nan_to_num(in_force(signals, len(bars))["target"][:-1], nan=0.0)
    return targets, bars["close"][1:] / bars["close"][:-1] - 1.0
