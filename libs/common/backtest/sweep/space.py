"""What to try: axes of values, and the plan that picks from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from libs.common.backtest.errors import SpecError
from libs.common.strategy.parameters import Value

VALUES_MAX: Final = 100_000
TRIALS_MAX: Final = 1_000_000
Method = Literal["grid", "random", "optuna"]


class Axis(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values of one parameter, in order."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,130}$")]
    values: Annotated[tuple[int | float, ...], Meta(min_length=1, max_length=VALUES_MAX)]


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which trials: all of the grid, or `trials` of it picked by chance or by Optuna.

    `metric` is what is to become large, one of the metrics' names.
    """

    axes: Annotated[tuple[Axis, ...], Meta(min_length=1, max_length=20)]
    method: Method = "grid"
    trials: Annotated[int, Meta(ge=1, le=TRIALS_MAX)] = 100
    metric: Annotated[str, Meta(pattern=r"^[a-z_]{1,64}$")] = "sharpe"
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 7

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        if len(set(names)) < len(names):
            raise ValueError(f"two axes have one name: {', '.join(names)}")
        if self.method == "grid" and self.size > TRIALS_MAX:
            raise ValueError(f"the grid has {self.size:,} points, at most {TRIALS_MAX:,} are tried")

    @property
    def size(self) -> int:
        """Return how many points the grid has."""
        return math.prod(len(axis.values) for axis in self.axes)

    @property
    def count(self) -> int:
        """Return how many trials the plan makes."""
        return self.size if self.method == "grid" else min(self.trials, self.size)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON data."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


def plan_of(data: Mapping[str, Any]) -> Plan:
    """Return the checked plan. Raises SpecError."""
    try:
        return msgspec.convert(data, Plan)
    except msgspec.ValidationError as error:
        raise SpecError(f"sweep: {error}") from error


def axis_of(text: str) -> Axis:
    """Return the axis that `fast=5:50:5`, `fast=5,10,20` or `fast=10` asks for.

    A range holds its end if a whole number of steps leads there. Raises SpecError.
    """
    name, equals, values = text.partition("=")
    if not name.strip() or not equals:
        raise SpecError(f"{text}: write NAME=FROM:TO:STEP, NAME=A,B,C or NAME=A")
    try:
        if ":" in values:
            low, high, step = (_number(part) for part in values.split(":"))
            found = tuple(_range(text, low, high, step))
        else:
            found = tuple(_number(part) for part in values.split(","))
    except ValueError as error:
        raise SpecError(f"{text}: write NAME=FROM:TO:STEP, NAME=A,B,C or NAME=A") from error
    if len(set(found)) < len(found):
        raise SpecError(f"{text}: a value stands twice")
    return Axis(name=name.strip(), values=found)


def _number(text: str) -> Value:
    text = text.strip()
    try:
        return int(text)
    except ValueError:
        value = float(text)
        if not math.isfinite(value):
            raise
        return value


def _range(text: str, low: Value, high: Value, step: Value) -> Iterator[Value]:
    if step <= 0 or high < low:
        raise SpecError(f"{text}: a range goes up, by steps above 0")
    count = math.floor((high - low) / step + 1e-9) + 1
    if count > VALUES_MAX:
        raise SpecError(f"{text}: {count:,} values, at most {VALUES_MAX:,} are taken")
    for i in range(count):
        value = low + i * step
        # The text of a decimal range, not its binary dust: 0.1 + 2 x 0.1 is 0.3.
        yield value if isinstance(value, int) else float(f"{value:.12g}")


def grid(axes: Sequence[Axis]) -> Iterator[dict[str, Value]]:
    """Yield every point of the grid, the last axis fastest."""
    names = [axis.name for axis in axes]
    for values in itertools.product(*(axis.values for axis in axes)):
        yield dict(zip(names, values, strict=True))


def drawn(plan: Plan) -> Iterator[dict[str, Value]]:
    """Yield `plan.count` different points of the grid, drawn by the plan's seed."""
    generator = np.random.default_rng(plan.seed)
    seen: set[int] = set()
    while len(seen) < plan.count:
        index = int(generator.integers(plan.size))
        if index not in seen:
            seen.add(index)
            yield point(plan.axes, index)


def point(axes: Sequence[Axis], index: int) -> dict[str, Value]:
    """Return the grid's point of this number, the last axis fastest."""
    found: dict[str, Value] = {}
    for axis in reversed(axes):
        index, place = divmod(index, len(axis.values))
        found[axis.name] = axis.values[place]
    return {axis.name: found[axis.name] for axis in axes}
