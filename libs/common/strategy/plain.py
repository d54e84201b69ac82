"""The state of a strategy in ordinary Python: plain values under declared names, as bytes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

import msgpack
import numpy as np

from libs.common.strategy.errors import DefinitionError, LayoutError

_ARRAY: Final = 1
_SCALAR: Final = 2
_HOLDS: Final = "None, bool, int, float, str, bytes, list, dict and NumPy numbers or arrays"


def state_class(class_name: str, defaults: Mapping[str, object]) -> type:
    """Return the class of a strategy's state: an attribute for each declared name, no others."""
    return type(f"{class_name}.State", (), {"__slots__": tuple(defaults)})


def state_from(kind: type, values: Mapping[str, object]) -> Any:
    """Return a state with these values."""
    state = kind()
    for name, value in values.items():
        setattr(state, name, value)
    return state


def values_of(state: Any) -> dict[str, Any]:
    """Return a state's values by name."""
    return {name: getattr(state, name) for name in type(state).__slots__}


def start_of(defaults: Mapping[str, object]) -> dict[str, object]:
    """Return the values at the start; no two strategies share a list."""
    return copy.deepcopy(dict(defaults))


def checked_defaults(class_name: str, defaults: Mapping[str, object]) -> dict[str, object]:
    """Return what `State` declares, if it can be saved. Raises DefinitionError."""
    for name, value in defaults.items():
        if isinstance(value, type):
            raise DefinitionError(
                f"{class_name}.State.{name}: write the value at the start, not the type {value!r}"
            )
        try:
            pack(value)
        except TypeError as error:
            raise DefinitionError(f"{class_name}.State.{name}: {error}") from error
    return dict(defaults)


def shape_of(defaults: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return names and kinds of what is declared: bytes fit where these are the same."""
    return [(name, type(value).__name__) for name, value in defaults.items()]


def pack(value: Any) -> bytes:
    """Return the value as bytes. Raises TypeError naming what cannot be kept."""
    try:
        packed: bytes = msgpack.packb(value, default=_extension, strict_types=True)
    except (OverflowError, ValueError) as error:
        raise TypeError(f"cannot be kept: {error}") from error
    return packed


def unpack(data: bytes) -> Any:
    """Return the value of `pack`. Raises LayoutError for bytes that are none."""
    try:
        return msgpack.unpackb(data, ext_hook=_value, strict_map_key=False)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise LayoutError(f"saved state cannot be read: {error}") from error


def _extension(value: object) -> msgpack.ExtType:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufS":
        head = [value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes()]
        return msgpack.ExtType(_ARRAY, msgpack.packb(head))
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return msgpack.ExtType(_SCALAR, msgpack.packb([value.dtype.str, value.tobytes()]))
    raise TypeError(f"a {type(value).__name__} cannot be kept; state holds {_HOLDS}")


def _value(code: int, data: bytes) -> object:
    if code == _ARRAY:
        dtype, shape, content = msgpack.unpackb(data)
        return np.frombuffer(bytearray(content), np.dtype(dtype)).reshape(shape)
    if code == _SCALAR:
        dtype, content = msgpack.unpackb(data)
        return np.frombuffer(content, np.dtype(dtype))[0]
    raise ValueError(f"unknown kind of value {code}")
