"""A strategy class read: its parameters, its state, its step."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from libs.common.strategy.errors import DefinitionError
from libs.common.strategy.parameters import Parameter, Schema

# Numba knows no record without fields.
_FILLER: Final = ("reserved", np.dtype("i8"))


def summary_of(cls: type) -> str:
    """Return the first line of the docstring, or nothing."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def schema_of(cls: type, name: str) -> Schema:
    """Return the schema of the nested class `Params`. Raises DefinitionError."""
    fields: dict[str, Parameter] = {}
    for key, value in public(cls, "Params").items():
        if not isinstance(value, Parameter):
            raise DefinitionError(
                f"{cls.__name__}.Params.{key}: expected integer(...) or number(...), got {value!r}"
            )
        fields[key] = value
    return Schema(name, fields)


def state_of(cls: type) -> np.dtype[np.void]:
    """Return the record of the nested class `State`. Raises DefinitionError."""
    fields: list[tuple[str, Any]] = []
    for name, value in public(cls, "State").items():
        try:
            dtype: np.dtype[Any] = np.dtype(value)  # type: ignore[call-overload]
        except TypeError as error:
            raise DefinitionError(
                f"{cls.__name__}.State.{name}: {value!r} is not a NumPy type"
            ) from error
        if dtype.hasobject:
            raise DefinitionError(f"{cls.__name__}.State.{name}: must hold numbers, not objects")
        fields.append((name, dtype))
    return np.dtype(fields or [_FILLER], align=True)


def step_of(cls: type, arguments: tuple[str, ...]) -> Any:
    """Return the static method `step`, if it takes `arguments`. Raises DefinitionError."""
    step = cls.__dict__.get("step")
    if not isinstance(step, staticmethod):
        raise DefinitionError(f"{cls.__name__}: needs a `@staticmethod def step(...)`")
    found = tuple(inspect.signature(step.__func__).parameters)
    if found != arguments:
        raise DefinitionError(
            f"{cls.__name__}.step: arguments must be ({', '.join(arguments)}), "
            f"got ({', '.join(found)})"
        )
    return step.__func__


def public(cls: type, nested: str) -> Mapping[str, object]:
    """Return the names of a nested class and their values; none if there is no such class."""
    inner = cls.__dict__.get(nested)
    if inner is None:
        return {}
    return {name: value for name, value in vars(inner).items() if not name.startswith("_")}
