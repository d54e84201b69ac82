"""Memory as bytes: what is saved, and the hash that says whether it still fits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from libs.common.strategy.errors import LayoutError


def describe(dtype: np.dtype[Any]) -> Any:
    """Return fields, offsets, shapes, sizes and byte order of `dtype` as JSON data."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [describe(base), list(shape)]
    if dtype.fields is None:
        return dtype.str
    fields = [
        [name, offset, describe(inner)]
        for name, (inner, offset, *_) in sorted(dtype.fields.items(), key=lambda f: f[1][1])
    ]
    return [fields, dtype.itemsize]


def layout_hash(memory: np.dtype[np.void], params: Mapping[str, object]) -> str:
    """Return the hash of all that gives the saved bytes their meaning.

    Parameters belong to it: a ring filled for a window of 10 means nothing to a window of 20. So do
    the universe and the timeframes, under names with a space, which no parameter has.
    """
    text = json.dumps([describe(memory), sorted(params.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def to_bytes(memory: np.void) -> bytes:
    """Return the record's bytes."""
    return memory.tobytes()


def from_bytes(data: bytes, memory: np.dtype[np.void]) -> np.void:
    """Return a fresh record from `to_bytes`. Raises LayoutError if the size is another."""
    if len(data) != memory.itemsize:
        raise LayoutError(f"saved state has {len(data)} bytes, the layout {memory.itemsize}")
    # A bytearray, not `.copy()`: NumPy leaves the padding of a copied record to chance.
    record: np.void = np.frombuffer(bytearray(data), memory)[0]
    return record


def to_plain(value: Any) -> Any:
    """Return a record or plain values as JSON data, to show to a person; NaN becomes None."""
    if isinstance(value, dict):
        return {str(name): to_plain(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, np.void):
        return {name: to_plain(value[name]) for name in value.dtype.names or ()}
    if isinstance(value, np.ndarray | list):
        return [to_plain(item) for item in value]
    plain = value.item() if isinstance(value, np.generic) else value
    return None if plain != plain else plain
