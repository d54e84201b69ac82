"""The class that a strategy file writes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.strategy.definition import Definition, Params, snake_case
from libs.common.strategy.errors import DefinitionError
from libs.common.strategy.parameters import Parameter, Schema

_STEP_ARGUMENTS: Final = ("state", "bar", "params", "out")
_FILLER: Final = ("reserved", np.dtype("i8"))


class Strategy:
    """A pure step function over plain state, on one symbol.

    A subclass has a nested class `Params` of `integer(...)` and `number(...)`, a nested class
    `State` of NumPy types (indicator states, numbers, nested records), and a static `step`:

    - `state`: its own record, zeros at first, kept from bar to bar;
    - `bar`: ts (start, ns since the epoch), open, high, low, close, volume;
    - `params`: the chosen parameters;
    - `out`: where it writes `target` in [-1, 1] (share of the strategy's capital; left alone it
      means "no opinion on this bar") and, if wanted, `stop`, `take_profit`, `limit` (prices),
      `confidence` in [0, 1] and `rebalance` (1.0: size again even if nothing changed).

    `step` is compiled by Numba: no objects, no clock, no input or output. It may override
    `warmup` and `constraint`.
    """

    definition: ClassVar[Definition]

    @staticmethod
    def warmup(params: Params) -> int:
        """Return how many bars of history fill the state; 0 if it needs none."""
        return 0

    @staticmethod
    def constraint(params: Params) -> str | None:
        """Return what is wrong with the parameters taken together, None if nothing is."""
        return None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = snake_case(cls.__name__)
        cls.definition = Definition(
            name=name,
            class_name=cls.__name__,
            summary=(inspect.getdoc(cls) or "").partition("\n")[0],
            schema=Schema(name, _parameters(cls)),
            state=_state(cls),
            step=compiled(_step(cls)),
            warmup=cls.warmup,
            constraint=cls.constraint,
        )


def _public(cls: type, nested: str) -> Mapping[str, object]:
    inner = cls.__dict__.get(nested)
    if inner is None:
        return {}
    return {name: value for name, value in vars(inner).items() if not name.startswith("_")}


def _parameters(cls: type) -> dict[str, Parameter]:
    fields: dict[str, Parameter] = {}
    for name, value in _public(cls, "Params").items():
        if not isinstance(value, Parameter):
            raise DefinitionError(
                f"{cls.__name__}.Params.{name}: expected integer(...) or number(...), got {value!r}"
            )
        fields[name] = value
    return fields


def _state(cls: type) -> np.dtype[np.void]:
    fields: list[tuple[str, Any]] = []
    for name, value in _public(cls, "State").items():
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


def _step(cls: type) -> Any:
    step = cls.__dict__.get("step")
    if not isinstance(step, staticmethod):
        raise DefinitionError(f"{cls.__name__}: needs a `@staticmethod def step(...)`")
    arguments = tuple(inspect.signature(step.__func__).parameters)
    if arguments != _STEP_ARGUMENTS:
        raise DefinitionError(
            f"{cls.__name__}.step: arguments must be ({', '.join(_STEP_ARGUMENTS)}), "
            f"got ({', '.join(arguments)})"
        )
    return step.__func__
