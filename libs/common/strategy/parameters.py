"""Parameters with a range and a default, and the schema that checks what a person typed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.common.strategy.errors import DefinitionError, InvalidParamsError

Value = int | float
_FORMATS: Final = {int: "i8", float: "f8"}
# Numba knows no record without fields.
_FILLER: Final = ("reserved", "i8")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number that may be chosen, from `low` to `high`, both allowed."""

    kind: type[int] | type[float]
    default: Value
    low: Value
    high: Value
    meaning: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.default <= self.high:
            raise DefinitionError(
                f"default {self.default} is not between low {self.low} and high {self.high}"
            )

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`, None if nothing is."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"expected {self._noun}, got {value!r}"
        if self.kind is int and not isinstance(value, int):
            return f"expected {self._noun}, got {value!r}"
        # In this order: a whole number may be too long to become a float.
        if not self.low <= value <= self.high or not math.isfinite(value):
            return f"must be between {self.low} and {self.high}, got {value!r}"
        return None

    @property
    def _noun(self) -> str:
        return "a whole number" if self.kind is int else "a number"


def integer(default: int, *, low: int, high: int, meaning: str = "") -> Parameter:
    """Return a whole-number parameter; it reaches `step` as int64."""
    return Parameter(int, default, low, high, meaning)


def number(default: float, *, low: float, high: float, meaning: str = "") -> Parameter:
    """Return a real-number parameter; it reaches `step` as float64."""
    return Parameter(float, default, low, high, meaning)


@dataclass(frozen=True, slots=True)
class Schema:
    """All parameters of a strategy, by name."""

    strategy: str
    fields: Mapping[str, Parameter]

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Return the record that `step` gets as `params`."""
        formats = [(name, _FORMATS[field.kind]) for name, field in self.fields.items()]
        return np.dtype(formats or [_FILLER], align=True)

    def parse(self, raw: Mapping[str, object]) -> dict[str, Value]:
        """Return every parameter's value, defaults filled in.

        Raises InvalidParamsError that lists all unknown names (with the nearest known ones) and
        all values of a wrong kind or out of range.
        """
        problems = [self._unknown(name) for name in raw if name not in self.fields]
        values: dict[str, Value] = {}
        for name, field in self.fields.items():
            value = raw.get(name, field.default)
            problem = field.problem(value)
            if problem is not None:
                problems.append(f"{name}: {problem}")
            elif isinstance(value, int | float):
                values[name] = field.kind(value)
        if problems:
            raise InvalidParamsError(self.strategy, tuple(problems))
        return values

    def record(self, values: Mapping[str, Value]) -> np.void:
        """Return `values` as the record that `step` gets."""
        record: np.void = np.zeros(1, self.dtype)[0]
        for name in self.fields:
            record[name] = values[name]
        return record

    def _unknown(self, name: str) -> str:
        known = ", ".join(self.fields) or "none"
        near = difflib.get_close_matches(name, self.fields, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are: {known}"
        return f"{name}: unknown parameter; {hint}"
