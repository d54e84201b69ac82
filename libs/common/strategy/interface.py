"""The classes that a strategy file writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from libs.common.domain.timeframes import Timeframe
from libs.common.quant.compile import compiled, compiled_step
from libs.common.strategy.definition import (
    CrossDefinition,
    Definition,
    Params,
    SingleDefinition,
    snake_case,
)
from libs.common.strategy.errors import DefinitionError
from libs.common.strategy.reading import schema_of, state_of, step_of, summary_of

SINGLE_ARGUMENTS: Final = ("state", "bar", "params", "out")
FRAMED_ARGUMENTS: Final = ("state", "bar", "frames", "params", "out")
CROSS_ARGUMENTS: Final = ("state", "bars", "params", "out")
_UNIVERSE_LIMIT: Final = 10_000


class Base:
    """What strategies of all kinds may override."""

    definition: ClassVar[Definition]

    @staticmethod
    def warmup(params: Params) -> int:
        """Return how many bars of history fill the state; 0 if it needs none."""
        return 0

    @staticmethod
    def constraint(params: Params) -> str | None:
        """Return what is wrong with the parameters taken together, None if nothing is."""
        return None


class Strategy(Base):
    """A pure step function over plain state, on one symbol.

    A subclass has a nested class `Params` of `integer(...)` and `number(...)`, a nested class
    `State` of NumPy types (indicator states, numbers, nested records), and a static `step`:

    - `state`: its own record, zeros at first, kept from bar to bar;
    - `bar`: ts (start, ns since the epoch), open, high, low, close, volume;
    - `params`: the chosen parameters;
    - `out`: where it writes `target` in [-1, 1] (share of the strategy's capital; left alone it
      means "no opinion on this bar") and, if wanted, `stop`, `take_profit`, `limit` (prices),
      `confidence` in [0, 1] and `rebalance` (1.0: size again even if nothing changed).

    With `timeframes = ("15m", "1h")` the step is `step(state, bar, frames, params, out)`:
    `frames[0]`, `frames[1]` are the last closed bars of these timeframes, each with `fresh` (it
    came with this very bar). `warmup` counts base bars then too.

    `step` is compiled by Numba: no objects, no clock, no input or output. It may override
    `warmup` and `constraint`.
    """

    timeframes: ClassVar[tuple[str, ...]] = ()
    definition: ClassVar[SingleDefinition]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = snake_case(cls.__name__)
        timeframes = _timeframes(cls.__name__, cls.timeframes)
        arguments = FRAMED_ARGUMENTS if timeframes else SINGLE_ARGUMENTS
        cls.definition = SingleDefinition(
            name=name,
            class_name=cls.__name__,
            summary=summary_of(cls),
            schema=schema_of(cls, name),
            state=state_of(cls),
            step=compiled_step(step_of(cls, arguments)),
            warmup=cls.warmup,
            constraint=cls.constraint,
            timeframes=timeframes,
        )


class CrossStrategy(Base):
    """A pure step function over plain state, on a universe of symbols at one time.

    As `Strategy`, but `step(state, bars, params, out)` gets one entry a symbol, in the order of the
    universe: `bars[i]` is the symbol's last bar. A symbol without a bar at this time keeps the one
    before (its `ts` is older than the greatest); before its first bar ts is 0 and prices are NaN.
    `out[i]` is where the decision on it goes; one on a symbol without a bar is not stated. A
    universe has from `universe_min` to `universe_max` symbols; arrays in `State` are as long as the
    greatest.
    """

    universe_min: ClassVar[int] = 1
    universe_max: ClassVar[int] = 100
    definition: ClassVar[CrossDefinition]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = snake_case(cls.__name__)
        counts = (1, cls.universe_min, cls.universe_max, _UNIVERSE_LIMIT)
        if not all(isinstance(count, int) for count in counts) or sorted(counts) != list(counts):
            raise DefinitionError(
                f"{cls.__name__}.universe_max: must be a whole number from universe_min (at least "
                f"1) to {_UNIVERSE_LIMIT}"
            )
        cls.definition = CrossDefinition(
            name=name,
            class_name=cls.__name__,
            summary=summary_of(cls),
            schema=schema_of(cls, name),
            state=state_of(cls),
            step=compiled(step_of(cls, CROSS_ARGUMENTS)),
            warmup=cls.warmup,
            constraint=cls.constraint,
            universe_min=cls.universe_min,
            universe_max=cls.universe_max,
        )


def _timeframes(class_name: str, names: Iterable[str]) -> tuple[Timeframe, ...]:
    known = ", ".join(Timeframe)
    found: list[Timeframe] = []
    if isinstance(names, str):
        raise DefinitionError(f"{class_name}.timeframes: write ({names!r},), with a comma")
    for name in names:
        if name not in set(Timeframe):
            raise DefinitionError(
                f"{class_name}.timeframes: {name!r} is no timeframe; known are: {known}"
            )
        if name == Timeframe.SECOND:
            raise DefinitionError(f"{class_name}.timeframes: no bars are shorter than {name}")
        if name in found:
            raise DefinitionError(f"{class_name}.timeframes: {name} is named twice")
        found.append(Timeframe(name))
    return tuple(found)
