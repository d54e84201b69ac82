"""The first phase of a backtest: strategies over their bars, giving signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from libs.common.backtest.data import History
from libs.common.backtest.errors import DataError
from libs.common.backtest.models import sizing_of
from libs.common.backtest.spec import BacktestSpec, Choice
from libs.common.kernel.clock import from_ns
from libs.common.quant.simulation.sleeves import Sizing, Sleeve
from libs.common.strategy.cross_runner import CrossRunner
from libs.common.strategy.definition import Kind
from libs.common.strategy.kinds import runners_of
from libs.common.strategy.loader import Loaded
from libs.common.strategy.parameters import Value
from libs.common.strategy.protocol import Stepper

Bars = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Chosen:
    """A choice with what it stands for: the strategy's code, checked parameters, its steppers."""

    choice: Choice
    loaded: Loaded
    steppers: tuple[Stepper, ...]
    sizing: Sizing
    weight: float

    @property
    def params(self) -> Mapping[str, Value]:
        """Return the parameters with defaults filled in."""
        return self.steppers[0].params

    @property
    def warmup(self) -> int:
        """Return how many bars of history fill the state."""
        return max(stepper.warmup for stepper in self.steppers)


def chosen_of(spec: BacktestSpec, choice: Choice, loaded: Loaded) -> Chosen:
    """Return the choice ready to decide, its memory blank. Raises InvalidParamsError, SpecError."""
    steppers = runners_of(loaded.definition, choice.params, choice.symbols, spec.timeframe)
    return Chosen(
        choice,
        loaded,
        steppers,
        sizing_of(choice, whole=loaded.definition.kind is Kind.CROSS),
        1.0 / len(spec.strategies) if choice.weight is None else choice.weight,
    )


def check_length(chosen: Chosen, history: History, start_ns: int | None) -> tuple[str, ...]:
    """Return notes on a warm-up that is cut short by the start of the data.

    Raises DataError if a symbol has no bars to run on, or none after its warm-up. A strategy on a
    universe warms up as a whole: symbols may come later, with few bars.
    """
    notes = []
    title, needed = chosen.choice.title, chosen.warmup
    whole = chosen.loaded.definition.kind is Kind.CROSS
    if whole:
        own = [history.bars[symbol]["ts"] for symbol in chosen.choice.symbols]
        times = len(np.unique(np.concatenate(own)))
        if times <= needed:
            raise DataError(
                f"{history.source}: the universe has bars at {times} times, but {title} needs "
                f"{needed} to warm up and one to trade on"
            )
    for symbol in chosen.choice.symbols:
        bars = history.bars[symbol]
        before = _before(bars, start_ns)
        if before == len(bars):
            raise DataError(f"{history.source}: {symbol} has no bars between start and end")
        if not whole and len(bars) <= needed:
            raise DataError(
                f"{history.source}: {symbol} has {len(bars)} bars, but {title} needs {needed} to "
                "warm up and one to trade on"
            )
        if start_ns is not None and before < needed:
            notes.append(
                f"{title}: {symbol} has {before} of {needed} bars of warm-up before the start; "
                "the rest is taken from the run"
            )
    return tuple(notes)


def decide(chosen: Chosen, history: History, start_ns: int | None) -> Sleeve:
    """Return the sleeve with the signals of the bars from `start_ns` on; those before warm up.

    A signal's index counts the symbol's bars from `start_ns`. What a strategy on a universe decides
    while a symbol has no bar is a signal on the symbol's next one. Raises StepError.
    """
    signals: dict[str, np.ndarray] = {}
    for stepper in chosen.steppers:
        bars = {symbol: history.bars[symbol] for symbol in stepper.symbols}
        warm, run = _split(bars, start_ns, stepper.warmup)
        if warm:
            stepper.warm(warm)
        if isinstance(stepper, CrossRunner):
            signals.update(stepper.decide_to_trade(run))
        else:
            signals.update(stepper.decide(run))
    return Sleeve(chosen.choice.title, signals, chosen.sizing, chosen.weight)


def spans(bars: Bars) -> tuple[str, ...]:
    """Return a note for each symbol whose bars begin later or end earlier than the run."""
    begin = min(int(own["ts"][0]) for own in bars.values())
    end = max(int(own["ts"][-1]) for own in bars.values())
    notes = []
    for symbol, own in bars.items():
        first, last = int(own["ts"][0]), int(own["ts"][-1])
        if first > begin:
            notes.append(f"{symbol}: bars begin at {from_ns(first):%Y-%m-%d %H:%M} UTC")
        if last < end:
            notes.append(
                f"{symbol}: bars end at {from_ns(last):%Y-%m-%d %H:%M} UTC; a position held then "
                "stays at the last price"
            )
    return tuple(notes)


def run_bars(history: History, start_ns: int | None) -> dict[str, np.ndarray]:
    """Return the bars that are traded on."""
    return {s: bars[_before(bars, start_ns) :] for s, bars in history.bars.items()}


def _split(bars: Bars, start_ns: int | None, warmup: int) -> tuple[Bars, Bars]:
    """Return the `warmup` times before the start, where there are any, and what is from it on."""
    cut = {symbol: _before(own, start_ns) for symbol, own in bars.items()}
    run = {symbol: own[cut[symbol] :] for symbol, own in bars.items()}
    times = np.unique(np.concatenate([own["ts"][: cut[symbol]] for symbol, own in bars.items()]))
    if warmup == 0 or len(times) == 0:
        return {}, run
    first = int(times[-min(warmup, len(times))])
    warm = {s: own[int(np.searchsorted(own["ts"], first)) : cut[s]] for s, own in bars.items()}
    return warm, run


def _before(bars: np.ndarray, start_ns: int | None) -> int:
    return 0 if start_ns is None else int(np.searchsorted(bars["ts"], start_ns))
