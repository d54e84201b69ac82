"""What to try: axes from text, and the points that a plan picks from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from libs.common.backtest.errors import SpecError
from libs.common.backtest.sweep.plan import VALUES_MAX, Axis, Plan
from libs.common.strategy.parameters import Value


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
    except SpecError:
        raise
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
