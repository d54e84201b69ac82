"""A strategy tried on made-up bars before anybody relies on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.common.domain.timeframes import Timeframe
from libs.common.quant.simulation.records import BAR
from libs.common.strategy.definition import CrossDefinition, Definition, SingleDefinition
from libs.common.strategy.errors import StrategyFileError
from libs.common.strategy.kinds import runner_of
from libs.common.strategy.loader import Loaded
from libs.common.strategy.protocol import Stepper

_FIRST_NS: Final = 1_577_977_200_000_000_000  # 2020-01-02 15:00 UTC
_BARS: Final = 600
_BARS_MAX: Final = 20_000
_UNIVERSE: Final = 4

Tell = Callable[[int], None]
"""Told the start of each bar (ns) before the strategy gets it."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What a trial saw: bars stepped over, and the signals they gave, in all symbols."""

    name: str
    kind: str
    summary: str
    bars: int
    signals: int


def try_out(loaded: Loaded, tell: Tell, timeframe: Timeframe | None = None) -> Tried:
    """Step the strategy with its default parameters over made-up bars, one by one and in bulk.

    Without a `timeframe` the bars are days, or as long as the strategy's own longer ones allow.
    Raises StepError as the runner does, and StrategyFileError if it is not the same twice: one by
    one with its memory saved and restored half-way, and all at once.
    """
    definition = loaded.definition
    params = definition.parse({})
    count = min(definition.warmup(params) + _BARS, _BARS_MAX)
    symbols, timeframe = _symbols(definition), timeframe or _timeframe(definition)
    history = {s: sample_bars(i, count, timeframe) for i, s in enumerate(symbols)}

    def blank() -> Stepper:
        return runner_of(definition, params, symbols, timeframe)

    single, found = blank(), 0
    by_time = {s: {int(bar["ts"]): bar for bar in bars} for s, bars in history.items()}
    times = sorted({ts for of in by_time.values() for ts in of})
    for i, ts in enumerate(times):
        tell(ts)
        if i == len(times) // 2:
            saved, single = single.save(), blank()
            single.restore(saved)
        found += len(single.take({s: of[ts] for s, of in by_time.items() if ts in of}))
    whole = blank()
    whole.decide(history)
    if whole.save() != single.save():
        raise StrategyFileError(
            loaded.path,
            definition.place[1],
            f"{definition.name} is not the same twice on the same bars: does it draw lots, ask the "
            "time, or remember something outside its state?",
        )
    kind = definition.kind.value
    return Tried(definition.name, kind, definition.summary, len(times), found)


def sample_bars(seed: int, count: int, timeframe: Timeframe) -> np.ndarray:
    """Return made-up bars (BAR), the same for the same arguments; each seed starts a bar later.

    Prices drift and jump; some bars are missing, some have no volume, and for a while nothing moves
    at all: what divides by a range or a deviation meets zero.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    moves = draw.normal(0.0, 0.01, count) + 0.002 * np.sin(np.arange(count) / 25.0)
    moves[draw.random(count) < 0.01] *= 8.0
    still = slice(count // 3, count // 3 + 40)
    moves[still] = 0.0
    bars = np.zeros(count, BAR)
    bars["ts"] = timeframe.floor(_FIRST_NS) + np.arange(seed, count + seed) * timeframe.ns
    bars["close"] = np.round(100.0 * np.exp(np.cumsum(moves)), 4)
    bars["open"] = np.concatenate([bars["close"][:1], bars["close"][:-1]])
    reach = np.abs(draw.normal(0.0, 0.004, (2, count)))
    reach[:, still] = 0.0
    bars["high"] = np.round(np.maximum(bars["open"], bars["close"]) * (1.0 + reach[0]), 4)
    bars["low"] = np.round(np.minimum(bars["open"], bars["close"]) * (1.0 - reach[1]), 4)
    bars["volume"] = np.round(1e5 * draw.random(count)) * (draw.random(count) > 0.03)
    present = draw.random(count) > 0.04
    present[0] = True
    return bars[present]


def _symbols(definition: Definition) -> Sequence[str]:
    if not isinstance(definition, CrossDefinition):
        return ("A",)
    count = max(definition.universe_min, min(definition.universe_max, _UNIVERSE))
    return tuple(f"S{i}" for i in range(count))


def _timeframe(definition: Definition) -> Timeframe:
    """Return the longest timeframe below those that the strategy reads beside its bars."""
    longer = definition.timeframes if isinstance(definition, SingleDefinition) else ()
    limit: float = min((timeframe.ns for timeframe in longer), default=math.inf)
    fitting = [timeframe for timeframe in Timeframe if timeframe.ns < limit]
    return max(fitting, key=lambda timeframe: timeframe.ns)
