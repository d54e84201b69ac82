"""What the engine and the backtester know of a running strategy, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from libs.common.strategy.definition import Definition
from libs.common.strategy.parameters import Value


@dataclass(frozen=True, slots=True)
class Stated:
    """A decision that is a signal: on which symbol; `decision` (DECISION) is a copy."""

    symbol: str
    decision: np.void


class Stepper(Protocol):
    """A strategy with its parameters on its symbols; holds the memory.

    `take` and `decide` run the same step: whoever takes bars one time after the other gets the
    signals that `decide` finds in all of them at once, and the same memory to the bit.
    """

    @property
    def definition(self) -> Definition:
        """Return what is running."""

    @property
    def params(self) -> Mapping[str, Value]:
        """Return the checked parameters."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return the symbols it looks at, in the order of its step."""

    @property
    def layout(self) -> str:
        """Return the hash of all that gives the saved bytes their meaning."""

    @property
    def ts(self) -> int:
        """Return the start of the last bar seen, in ns; 0 if none was."""

    @property
    def bars(self) -> int:
        """Return the number of times stepped over."""

    @property
    def warmup(self) -> int:
        """Return how many bars of history it wants with these parameters."""

    def take(self, bars: Mapping[str, np.void]) -> tuple[Stated, ...]:
        """Take the bars (BAR) of one time, by symbol; return the signals.

        Raises StepError: the step raised or decided out of range.
        """

    def decide(self, history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Take many bars, by symbol (shape (k,), BAR, oldest first); return the signals of each.

        Each array is of SIGNAL; `index` counts in the symbol's own bars, -1 where the decision
        came before the first of them. Raises StepError.
        """

    def warm(self, history: Mapping[str, np.ndarray]) -> None:
        """Take history: nothing of it is a signal, the next decision with a target is."""

    def forget_stated(self) -> None:
        """Make the next decision with a target a signal, even if it repeats the last."""

    def shown(self) -> dict[str, Any]:
        """Return the memory as plain data, to show to a person: the strategy's own `state`, the
        last decisions `stated` by symbol, `bars` and `ts`."""

    def save(self) -> bytes:
        """Return the memory as bytes."""

    def restore(self, data: bytes) -> None:
        """Take back the memory from `save`. Raises LayoutError if the bytes do not fit."""
