"""NumPy arrays to Arrow columns and back, without pandas.

Arrow's own conversions ask pandas whether what they got is one of its objects, and importing it
takes longer than most backtests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet

_TYPES: Final = {"i": pa.int64(), "f": pa.float64(), "u": pa.int64(), "b": pa.int64()}
_FORMATS: Final = {"i": np.int64, "f": np.float64, "u": np.int64, "b": np.int64}


def numbers_of(column: Any) -> np.ndarray:
    """Return a column of numbers without gaps as an array; it may be read-only."""
    array: np.ndarray = np.from_dlpack(column.combine_chunks())
    return array


def as_type(column: Any, kind: Any) -> Any:
    """Return the column as one of this Arrow type. Raises ArrowException where that cannot be.

    A column that is one already is not cast: the first cast imports Arrow's compute functions,
    which takes longer than most backtests.
    """
    return column if column.type == kind else column.cast(kind)


def column_of(values: np.ndarray) -> Any:
    """Return whole numbers (as int64) or floats (as float64) of shape (k,) as a column."""
    kind = values.dtype.kind
    whole = np.ascontiguousarray(values, _FORMATS[kind])
    return pa.Array.from_buffers(_TYPES[kind], len(whole), [None, pa.py_buffer(whole)])


def words_of(names: Sequence[str], codes: np.ndarray) -> Any:
    """Return a text column: `names[code]` for each of `codes` (shape (k,))."""
    encoded = [name.encode() for name in names]
    lengths = np.array([len(word) for word in encoded], np.int32)
    ends = np.zeros(len(codes) + 1, np.int32)
    np.cumsum(lengths[codes], out=ends[1:])
    text = b"".join([encoded[code] for code in codes.tolist()])
    return pa.Array.from_buffers(
        pa.string(), len(codes), [None, pa.py_buffer(ends), pa.py_buffer(text)]
    )


def table_of(columns: Mapping[str, Any]) -> Any:
    """Return a table of arrays (shape (k,)) and Arrow columns by name."""
    arrays = [column_of(c) if isinstance(c, np.ndarray) else c for c in columns.values()]
    return pa.Table.from_arrays(arrays, names=list(columns))


def write_parquet(path: Path, columns: Mapping[str, Any]) -> None:
    """Write a Parquet file of arrays and Arrow columns."""
    pyarrow.parquet.write_table(table_of(columns), path)
