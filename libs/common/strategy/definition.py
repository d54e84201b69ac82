"""A strategy class taken apart: schema, records, compiled functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from libs.common.quant.simulation.loop import build_loop, step_signature
from libs.common.quant.simulation.records import memory_of
from libs.common.strategy.errors import InvalidParamsError
from libs.common.strategy.parameters import Schema, Value

Params = Mapping[str, Value]


def snake_case(name: str) -> str:
    """Return 'SmaCross' as 'sma_cross'."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@dataclass(frozen=True)
class Definition:
    """What the engine, the loop and the API need to know of a strategy.

    `state` is the strategy's own record, `step` its compiled function, `warmup` the number of
    bars of history that fill it, `constraint` what parameters must satisfy together.
    """

    name: str
    class_name: str
    summary: str
    schema: Schema
    state: np.dtype[np.void]
    step: Callable[[Any, Any, Any, Any], None]
    warmup: Callable[[Params], int]
    constraint: Callable[[Params], str | None]
    memory: np.dtype[np.void] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "memory", memory_of(self.state))

    def parse(self, raw: Mapping[str, object]) -> dict[str, Value]:
        """Return the checked parameters with defaults filled in; raises InvalidParamsError."""
        values = self.schema.parse(raw)
        problem = self.constraint(values)
        if problem is not None:
            raise InvalidParamsError(self.name, (problem,))
        return values

    @cached_property
    def loop(self) -> Any:
        """Return the compiled loop for this strategy's records; see `build_loop`."""
        self.compile_step()
        return build_loop(self.memory, self.schema.dtype)

    def compile_step(self) -> None:
        """Compile the step now; Numba's error travels to the caller."""
        step: Any = self.step
        step.compile(step_signature(self.state, self.schema.dtype).args)
