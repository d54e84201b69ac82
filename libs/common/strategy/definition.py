"""A strategy class taken apart: schema, records, compiled functions."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.simulation.decide import build_decide
from libs.common.quant.simulation.frames import (
    build_framed_loop,
    framed_memory,
    framed_signature,
)
from libs.common.quant.simulation.loop import build_loop, step_signature
from libs.common.quant.simulation.panel import build_panel_loop, panel_memory, panel_signature
from libs.common.quant.simulation.records import memory_of
from libs.common.strategy.errors import InvalidParamsError
from libs.common.strategy.parameters import Schema, Value

Params = Mapping[str, Value]
D = TypeVar("D", bound="Definition")


class Kind(StrEnum):
    """What a strategy looks at, and what its step is made of."""

    SINGLE = "single"
    """One symbol, compiled."""
    CROSS = "cross"
    """A universe at one time, compiled."""
    PYTHON = "python"
    """One symbol, ordinary Python."""
    FUSION = "fusion"
    """One symbol, several compiled strategies that make one target."""


def snake_case(name: str) -> str:
    """Return 'SmaCross' as 'sma_cross'."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@dataclass(frozen=True)
class Definition(ABC):
    """What the engine, the backtester and the API need to know of a strategy of any kind.

    `warmup` gives the number of bars of history that fill the state, `constraint` what parameters
    must satisfy together.
    """

    kind: ClassVar[Kind]

    name: str
    class_name: str
    summary: str
    schema: Schema
    warmup: Callable[[Params], int]
    constraint: Callable[[Params], str | None]

    def parse(self, raw: Mapping[str, object]) -> dict[str, Value]:
        """Return the checked parameters with defaults filled in; raises InvalidParamsError."""
        values = self.schema.parse(raw)
        problem = self.constraint(values)
        if problem is not None:
            raise InvalidParamsError(self.name, (problem,))
        return values

    @abstractmethod
    def compile(self) -> None:
        """Compile all that can be compiled beforehand; Numba's error travels to the caller."""

    @property
    @abstractmethod
    def place(self) -> tuple[str, int]:
        """Return file and first line of the step."""


@dataclass(frozen=True)
class CompiledDefinition(Definition):
    """A strategy whose step is compiled: `state` is its own record, `step` the function."""

    state: np.dtype[np.void]
    step: Callable[..., None]

    @property
    @abstractmethod
    def signature(self) -> Any:
        """Return Numba's signature of the step."""

    @property
    @abstractmethod
    def loop(self) -> Any:
        """Return the compiled loop for this strategy's records."""

    def compile_step(self) -> None:
        """Compile the step now; Numba's error travels to the caller."""
        step: Any = self.step
        step.compile(self.signature.args)

    def compile(self) -> None:
        """Compile step and loop now; Numba's error travels to the caller."""
        self.compile_step()
        _ = self.loop

    @property
    def place(self) -> tuple[str, int]:
        """Return file and first line of the step."""
        step: Any = self.step
        code = step.py_func.__code__
        return code.co_filename, code.co_firstlineno


@dataclass(frozen=True)
class SingleDefinition(CompiledDefinition):
    """A strategy on one symbol; `timeframes` are the longer ones that its step reads beside."""

    kind = Kind.SINGLE

    timeframes: tuple[Timeframe, ...] = ()
    memory: np.dtype[np.void] = field(init=False)

    def __post_init__(self) -> None:
        memory = memory_of(self.state)
        if self.timeframes:
            memory = framed_memory(memory, len(self.timeframes))
        object.__setattr__(self, "memory", memory)

    @property
    def signature(self) -> Any:
        """Return Numba's signature of the step."""
        signature_of = framed_signature if self.timeframes else step_signature
        return signature_of(self.state, self.schema.dtype)

    @cached_property
    def loop(self) -> Any:
        """Return the compiled loop; see `build_loop` and `build_framed_loop`."""
        self.compile_step()
        build = build_framed_loop if self.timeframes else build_loop
        return build(self.memory, self.schema.dtype)

    @cached_property
    def inlined(self) -> Any:
        """Return the loop that writes signals only, for a step on one timeframe; see
        `build_decide`."""
        assert not self.timeframes
        return build_decide(self.step, self.memory, self.schema.dtype)


@dataclass(frozen=True)
class CrossDefinition(CompiledDefinition):
    """A strategy on a universe of `universe_min` to `universe_max` symbols."""

    kind = Kind.CROSS

    universe_min: int
    universe_max: int

    def memory(self, symbols: int) -> np.dtype[np.void]:
        """Return the memory's record for so many symbols."""
        return panel_memory(self.state, symbols)

    @property
    def signature(self) -> Any:
        """Return Numba's signature of the step."""
        return panel_signature(self.state, self.schema.dtype)

    @cached_property
    def loop(self) -> Any:
        """Return the compiled loop; see `build_panel_loop`."""
        self.compile_step()
        return build_panel_loop(self.state, self.schema.dtype)


def narrowed(definition: Definition, kind: type[D]) -> D:
    """Return the definition as one of `kind`. Raises InvalidInputError if it is of another."""
    if isinstance(definition, kind):
        return definition
    raise InvalidInputError(
        f"{definition.name} is a strategy of kind {definition.kind}, expected {kind.kind}"
    )
