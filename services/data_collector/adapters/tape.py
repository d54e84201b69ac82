"""Reads Parquet and CSV files of market data into columns of plain numbers.

The layout is told by the column names (first match wins):

| kind   | columns |
|--------|---------|
| bars   | time, `open high low close volume` |
| quote bars | time, `bid_close ask_close` (each bar's closing quote, stamped at its end) |
| trades | time, `price size` |
| quotes | time, `bid ask` (an empty side is unchanged since the symbol's last row) |

`time` is a column `ts`, `timestamp`, `datetime`, `time` (with zone) or `date`. Without a column
`symbol` the file's name is the symbol. Whatever can't be read is an error that names the file,
the column and the row (rows count from 1 after the header).
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import InvalidInputError

NEW_YORK = ZoneInfo("America/New_York")
TIME_COLUMNS = ("ts", "timestamp", "datetime", "time", "date")
Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


class DataFileError(InvalidInputError):
    """A data file that can't be used; says which file, column and row."""


class TapeKind(StrEnum):
    """What the rows of a file are."""

    BARS = "bars"
    QUOTE_BARS = "quote bars"
    TRADES = "trades"
    QUOTES = "quotes"


_LAYOUTS = {
    TapeKind.BARS: ("open", "high", "low", "close", "volume"),
    TapeKind.QUOTE_BARS: ("bid_close", "ask_close"),
    TapeKind.TRADES: ("price", "size"),
    TapeKind.QUOTES: ("bid", "ask"),
}
_OPTIONAL = {
    TapeKind.QUOTE_BARS: ("bid_size", "ask_size"),
    TapeKind.QUOTES: ("bid_size", "ask_size"),
}
_ONE_SIDED = frozenset({"bid", "ask", "bid_size", "ask_size"})


@dataclass(frozen=True, slots=True)
class Tape:
    """A file's rows in order of time; every array has one entry a row.

    `ts_ns` int64 nanoseconds UTC; `columns` float64, NaN where an optional side is absent.
    `timeframe` is set for bars. `skipped` rows were flagged suspicious by their vendor.
    """

    path: Path
    kind: TapeKind
    symbols: npt.NDArray[np.object_]
    ts_ns: Times
    columns: dict[str, Floats]
    timeframe: Timeframe | None
    skipped: int


def read_tape(path: Path) -> Tape:
    """Read `path`. Raises DataFileError."""
    table = _read_table(path)
    kind = _kind_of(table, path)
    suspicious = _suspicious(table)
    skipped = int(suspicious.sum())
    table = table.append_column("_row", pa.array(np.arange(1, table.num_rows + 1)))
    if skipped:
        table = table.filter(pa.array(~suspicious))
    if table.num_rows == 0:
        raise DataFileError(f"{path}: no rows")
    rows: Times = table["_row"].to_numpy()
    ts_ns, daily = _times(table, path, rows)
    symbols = _symbols(table, path, rows)
    names = [*_LAYOUTS[kind], *(n for n in _OPTIONAL.get(kind, ()) if n in table.column_names)]
    columns = {name: _numbers(table, path, name, rows) for name in names}
    order = np.argsort(ts_ns, kind="stable")
    ts_ns, symbols = ts_ns[order], symbols[order]
    columns = {name: column[order] for name, column in columns.items()}
    timeframe = None
    if kind in (TapeKind.BARS, TapeKind.QUOTE_BARS):
        timeframe = Timeframe.DAY if daily else _timeframe_of(path, symbols, ts_ns)
    return Tape(path, kind, symbols, ts_ns, columns, timeframe, skipped)


def _read_table(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return pa.parquet.read_table(path)
        if path.suffix == ".csv":
            return _read_csv(path)
    except FileNotFoundError as error:
        raise DataFileError(f"{path}: no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise DataFileError(f"{path}: unreadable: {str(error).splitlines()[0]}") from error
    raise DataFileError(f"{path}: neither .parquet nor .csv")


def _read_csv(path: Path) -> pa.Table:
    """Every column as text, so that a value that can't be read is found with its row."""
    with path.open(encoding="utf-8-sig", errors="strict") as file:
        try:
            header = file.readline().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataFileError(f"{path}: not UTF-8 text") from error
    names = [name.strip().strip('"').lower() for name in header.split(",")]
    ragged: list[str] = []

    def refuse(row: Any) -> str:
        ragged.append(
            f"{path}: row {row.number - 1}: {row.actual_columns} values for "
            f"{row.expected_columns} columns"
            if row.number is not None
            else f"{path}: a row has {row.actual_columns} values for {row.expected_columns} columns"
        )
        return "skip"

    table = pa.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(column_names=names, skip_rows=1, use_threads=False),
        parse_options=pa.csv.ParseOptions(invalid_row_handler=refuse),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True
        ),
    )
    if ragged:
        raise DataFileError(ragged[0])
    return table


def _kind_of(table: pa.Table, path: Path) -> TapeKind:
    present = set(table.column_names)
    if not present & set(TIME_COLUMNS):
        raise DataFileError(f"{path}: no time column (one of {', '.join(TIME_COLUMNS)})")
    for kind, needed in _LAYOUTS.items():
        if present.issuperset(needed):
            return kind
    best = max(_LAYOUTS, key=lambda kind: len(present & set(_LAYOUTS[kind])))
    missing = [name for name in _LAYOUTS[best] if name not in present]
    raise DataFileError(
        f"{path}: as {best.value} it lacks column {', '.join(missing)} "
        f"(it has {', '.join(table.column_names)})"
    )


def _suspicious(table: pa.Table) -> npt.NDArray[np.bool_]:
    if "suspicious" not in table.column_names:
        return np.zeros(table.num_rows, dtype=np.bool_)
    column = table["suspicious"]
    if pa.types.is_string(column.type):
        column = pc.equal(pc.utf8_lower(column), "true")
    flags: npt.NDArray[np.bool_] = pc.fill_null(column, False).to_numpy()
    return flags


def _times(table: pa.Table, path: Path, rows: Times) -> tuple[Times, bool]:
    name = next(name for name in TIME_COLUMNS if name in table.column_names)
    column = table[name]
    if column.null_count:
        row = rows[int(np.argmax(pc.is_null(column).to_numpy()))]
        raise DataFileError(f"{path}: column {name}, row {row}: no time")
    if pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
        return _times_from_text(column, path, name, rows)
    if pa.types.is_date(column.type):
        return _midnights(column.cast(pa.date32())), True
    if not pa.types.is_timestamp(column.type):
        raise DataFileError(f"{path}: column {name}: {column.type} is no time")
    if column.type.tz is None:
        raise DataFileError(f"{path}: column {name}: times have no time zone")
    return _as_ns(column), False


def _times_from_text(
    column: pa.ChunkedArray, path: Path, name: str, rows: Times
) -> tuple[Times, bool]:
    daily = bool(pc.all(pc.equal(pc.utf8_length(column), 10)).as_py())
    target = pa.date32() if daily else pa.timestamp("ns", "UTC")
    try:
        cast = column.cast(target)
    except pa.ArrowInvalid:
        index, value = _first_bad(column, target)
        raise DataFileError(
            f"{path}: column {name}, row {rows[index]}: {value!r} is not "
            + ("a date" if daily else "an ISO 8601 time with a zone")
        ) from None
    return (_midnights(cast), True) if daily else (_as_ns(cast), False)


def _first_bad(column: pa.ChunkedArray, target: pa.DataType) -> tuple[int, object]:
    for index, value in enumerate(column):
        try:
            value.cast(target)
        except pa.ArrowInvalid:
            return index, value.as_py()
    raise AssertionError("the whole column was refused, so one value must be")


def _as_ns(column: pa.ChunkedArray) -> Times:
    ns: Times = column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_numpy()
    return ns


def _midnights(column: pa.ChunkedArray) -> Times:
    """A day's bar starts at midnight in New York, as Alpaca stamps it."""
    naive = column.cast(pa.timestamp("s"))
    return _as_ns(pc.assume_timezone(naive, str(NEW_YORK)))


def _symbols(table: pa.Table, path: Path, rows: Times) -> npt.NDArray[np.object_]:
    if "symbol" not in table.column_names:
        return np.full(table.num_rows, path.stem.upper(), dtype=object)
    column = pc.utf8_upper(table["symbol"].cast(pa.string()))
    empty = pc.fill_null(pc.equal(pc.utf8_length(column), 0), True).to_numpy()
    if empty.any():
        raise DataFileError(f"{path}: column symbol, row {rows[int(np.argmax(empty))]}: no symbol")
    symbols: npt.NDArray[np.object_] = column.to_numpy()
    return symbols


def _numbers(table: pa.Table, path: Path, name: str, rows: Times) -> Floats:
    column = table[name]
    if column.null_count and name not in _ONE_SIDED:
        row = rows[int(np.argmax(pc.is_null(column).to_numpy()))]
        raise DataFileError(f"{path}: column {name}, row {row}: no value")
    try:
        numbers: Floats = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        index, value = _first_bad(column, pa.float64())
        raise DataFileError(
            f"{path}: column {name}, row {rows[index]}: {value!r} is not a number"
        ) from None
    except pa.ArrowException as error:
        raise DataFileError(f"{path}: column {name}: {column.type} is no number") from error
    return numbers


def _timeframe_of(path: Path, symbols: npt.NDArray[np.object_], ts_ns: Times) -> Timeframe:
    """The smallest distance between two bars of one symbol names the timeframe."""
    gaps = [np.diff(ts_ns[symbols == symbol]) for symbol in np.unique(symbols)]
    positive = np.concatenate(gaps)
    positive = positive[positive > 0]
    smallest = int(positive.min()) if positive.size else Timeframe.MINUTE.ns
    for timeframe in Timeframe:
        if timeframe.ns == smallest:
            return timeframe
    raise DataFileError(f"{path}: bars {smallest / 1e9:g} s apart are none of our timeframes")
