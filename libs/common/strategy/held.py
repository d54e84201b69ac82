"""What all kinds of runners have in common: parameters, and the head of a memory."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np

from libs.common.strategy.definition import Definition
from libs.common.strategy.parameters import Value

Kind = TypeVar("Kind", bound=Definition)


class Held(Generic[Kind]):
    """A strategy with its parameters and the memory that its steps change."""

    definition: Kind
    params: dict[str, Value]
    _memory: np.void

    @property
    def memory(self) -> np.void:
        """Return the memory record: what the kind keeps, beside the number of bars and the last
        bar's start."""
        return self._memory

    @property
    def ts(self) -> int:
        """Return the start of the last bar seen, in ns; 0 if none was."""
        return int(self._memory["ts"])

    @property
    def bars(self) -> int:
        """Return the number of times stepped over."""
        return int(self._memory["bars"])

    @property
    def warmup(self) -> int:
        """Return how many bars of history this strategy wants with these parameters."""
        return self.definition.warmup(self.params)
