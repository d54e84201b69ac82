"""Strategies in ordinary Python: pandas, `ta`, a model; slower than compiled, same contract."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from msgspec import Struct

from libs.common.quant.simulation.records import BAR
from libs.common.strategy.definition import Definition, Kind, Params, snake_case
from libs.common.strategy.errors import DefinitionError
from libs.common.strategy.interface import Base
from libs.common.strategy.plain import checked_defaults, state_class
from libs.common.strategy.reading import public, schema_of, summary_of

if TYPE_CHECKING:
    import pandas as pd

_ARGUMENTS: Final = ("self", "bar", "out")
_HISTORY_LIMIT: Final = 100_000


class Bar(Struct, frozen=True, gc=False):
    """A closed bar: start in ns since the epoch (UTC), prices, shares."""

    ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Decision:
    """Where a step writes what it wants; what it leaves alone is as here.

    `target` in [-1, 1] (None: no opinion on this bar), prices `stop`, `take_profit`, `limit`,
    `confidence` in [0, 1], `rebalance` (size again even if nothing changed).
    """

    target: float | None = None
    stop: float | None = None
    take_profit: float | None = None
    limit: float | None = None
    confidence: float = 1.0
    rebalance: float = 0.0


class Window:
    """The last bars, in an array that never changes once it was shown."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._room = np.zeros(0, BAR)
        self._shown = self._room
        self.end = 0

    def put(self, bars: np.ndarray) -> int:
        """Put bars (BAR) behind the last ones, not yet in sight; return where they begin."""
        begin = self.end
        if begin + len(bars) > len(self._room):
            kept = self.kept()
            room = np.zeros(max(4 * self.length, 256, 2 * (len(kept) + len(bars))), BAR)
            room[: len(kept)] = kept
            self._room, self._shown = room, room.view()
            self._shown.flags.writeable = False
            begin = self.end = len(kept)
        self._room[begin : begin + len(bars)] = bars
        return begin

    def kept(self) -> np.ndarray:
        """Return the bars in sight, oldest first (at most `length`)."""
        return self._shown[max(0, self.end - self.length) : self.end]


class PythonStrategy(Base):
    """One symbol, stepped in ordinary Python.

    A subclass has nested classes `Params` (as `Strategy`) and `State` (names and the values at the
    start: numbers, text, lists, dicts, NumPy arrays), and a method `step(self, bar, out)`:

    - `bar`: ts, open, high, low, close, volume of the closed bar; `out`: a `Decision`;
    - `self.params`: the chosen parameters; `self.state`: what survives a restart;
    - `self.bars`: the last `history` bars as a NumPy record array, this one last, read-only;
      `self.frame`: the same as a pandas DataFrame over time (UTC).

    `prepare(self)` runs once before the first step, also after a restart: load a model there; there
    is no state yet. After it, attributes cannot be set: what a step remembers belongs into
    `self.state`.
    """

    history: ClassVar[int] = 1
    definition: ClassVar[PythonDefinition]

    params: Any
    state: Any

    def __init__(self, params: Params, window: Window, state: Any) -> None:
        self.params = SimpleNamespace(**params)
        self._window = window
        self.prepare()
        self.state = state
        self._sealed = True

    def prepare(self) -> None:
        """Make once what the steps need; nothing unless overridden."""

    @property
    def bars(self) -> np.ndarray:
        """Return the last bars, shape (k,), BAR, k up to `history`."""
        return self._window.kept()

    @property
    def frame(self) -> pd.DataFrame:
        """Return the last bars as a DataFrame: open … volume over time."""
        # Half a second to import, for strategies that want it alone.
        import pandas as pd

        bars = self.bars
        index = pd.DatetimeIndex(bars["ts"].astype("M8[ns]"), tz="UTC", name="ts")
        return pd.DataFrame({name: bars[name] for name in (BAR.names or ())[1:]}, index=index)

    def __setattr__(self, name: str, value: object) -> None:
        if getattr(self, "_sealed", False):
            raise AttributeError(
                f"self.{name} would be lost at a restart: declare it in State and write "
                f"self.state.{name}, or set it in prepare()"
            )
        object.__setattr__(self, name, value)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = snake_case(cls.__name__)
        if not (isinstance(cls.history, int) and 1 <= cls.history <= _HISTORY_LIMIT):
            raise DefinitionError(
                f"{cls.__name__}.history: must be a whole number from 1 to {_HISTORY_LIMIT}"
            )
        defaults = checked_defaults(cls.__name__, public(cls, "State"))
        cls.definition = PythonDefinition(
            name=name,
            class_name=cls.__name__,
            summary=summary_of(cls),
            schema=schema_of(cls, name),
            warmup=cls.warmup,
            constraint=cls.constraint,
            history=cls.history,
            defaults=defaults,
            state=state_class(cls.__name__, defaults),
            step=_step(cls),
            make=cls,
        )


@dataclass(frozen=True)
class PythonDefinition(Definition):
    """A strategy in ordinary Python: how many bars it looks back on, its state at the start."""

    kind = Kind.PYTHON

    history: int
    defaults: Mapping[str, object]
    state: type
    step: FunctionType
    make: Callable[[Params, Window, Any], Any]

    def compile(self) -> None:
        """Compile nothing."""

    @property
    def place(self) -> tuple[str, int]:
        """Return file and first line of the step."""
        return self.step.__code__.co_filename, self.step.__code__.co_firstlineno


def _step(cls: type) -> FunctionType:
    step = cls.__dict__.get("step")
    if not isinstance(step, FunctionType):
        raise DefinitionError(f"{cls.__name__}: needs a method `def step(self, bar, out)`")
    found = tuple(inspect.signature(step).parameters)
    if found != _ARGUMENTS:
        raise DefinitionError(
            f"{cls.__name__}.step: arguments must be ({', '.join(_ARGUMENTS)}), "
            f"got ({', '.join(found)})"
        )
    return step
