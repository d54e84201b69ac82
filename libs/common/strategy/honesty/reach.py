"""What a step can read beside its bars: arrays and tables of its module, files it opens."""

from __future__ import annotations

import dis
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

import numpy as np

from libs.common.strategy.definition import Definition
from libs.common.strategy.parameters import Value
from libs.common.strategy.python import PythonDefinition, Window

LENGTH_MAX: Final = 32
_BY_NAME: Final = ("LOAD_GLOBAL", "LOAD_NAME")
_READERS: Final = ("read_csv", "read_parquet", "read_text", "read_bytes", "urlopen",
                   "fromfile", "loadtxt", "genfromtxt", "memmap")  # fmt: skip
_OWN: Final = "libs.common."


@dataclass(frozen=True, slots=True)
class Reached:
    """Data that a step reads, by the name it has there; `values` its numbers, None if it has none
    that could be looked at."""

    name: str
    what: str
    values: np.ndarray | None

    def __str__(self) -> str:
        return f"{self.name} ({self.what})"


def reached(definition: Definition, params: Mapping[str, Value]) -> tuple[Reached, ...]:
    """Return the data of more than 32 values, and the calls that read files, in the step and in all
    that it calls (this project's own indicators left out), and what `prepare` keeps."""
    found: dict[str, Reached] = {}
    for function in _functions(definition):
        for item in _data_of(function):
            found.setdefault(item.name, item)
    if isinstance(definition, PythonDefinition):
        made = definition.make(params, Window(definition.history), None)
        for name, value in vars(made).items():
            kept = _large(f"self.{name}", value)
            if kept is not None:
                found.setdefault(kept.name, kept)
    return tuple(found.values())


def _functions(definition: Definition) -> Iterator[FunctionType]:
    """Yield the step, a Python strategy's other methods, and what they call, once each."""
    step: Any = getattr(definition, "step", None)
    made: Any = getattr(definition, "make", None)
    waiting = [step, *(vars(made).values() if isinstance(made, type) else ())]
    seen: set[int] = set()
    while waiting:
        function = _plain(waiting.pop())
        if function is None or id(function) in seen or function.__module__.startswith(_OWN):
            continue
        seen.add(id(function))
        yield function
        waiting.extend(value for _, value in _globals_of(function))


def _plain(value: Any) -> FunctionType | None:
    """Return the function behind a compiled one, a static method or a property."""
    for name in ("py_func", "__func__", "fget"):
        value = getattr(value, name, None) or value
    return value if isinstance(value, FunctionType) else None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _called_readers(code: CodeType) -> set[str]:
    """Return which of the readers are named; `open` only as a function, `bar.open` is a price."""
    by_itself = {i.argval for i in dis.get_instructions(code) if i.opname in _BY_NAME}
    found = (set(_names(code)) & set(_READERS)) | (by_itself & {"open"})
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _called_readers(constant)
    return found


def _globals_of(function: FunctionType) -> Iterator[tuple[str, Any]]:
    names = set(_names(function.__code__))
    for name in sorted(names):
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        yield name, value
        if isinstance(value, ModuleType) and not value.__name__.startswith(("numpy", "pandas")):
            inner = vars(value)
            yield from ((f"{name}.{n}", inner[n]) for n in sorted(names) if n in inner)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents


def _data_of(function: FunctionType) -> Iterator[Reached]:
    for name, value in _globals_of(function):
        if (item := _large(name, value)) is not None:
            yield item
    for name in sorted(_called_readers(function.__code__)):
        yield Reached(f"{name}()", f"called in {function.__qualname__}", None)


def _large(name: str, value: object) -> Reached | None:
    if isinstance(value, ModuleType | type | str) or callable(value):
        return None
    if not isinstance(value, Sized):
        return None
    numbers = _numbers(value)
    size = len(value) if numbers is None else numbers.size
    if size <= LENGTH_MAX:
        return None
    return Reached(name, f"{type(value).__name__} of {size} values", numbers)


def _numbers(value: object) -> np.ndarray | None:
    """Return the numbers in `value` as one row, None if it is not made of numbers."""
    if isinstance(value, Mapping):
        value = list(value.values())
    to_numpy = getattr(value, "to_numpy", None)
    try:
        array = np.asarray(to_numpy() if to_numpy is not None else value)
        if array.dtype.names:
            array = np.concatenate([array[name].ravel() for name in array.dtype.names])
        return array.astype(np.float64).ravel()
    except (TypeError, ValueError):
        return None
