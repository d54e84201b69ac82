"""Bars from Parquet and CSV files, with the line of whatever is wrong with them.

Columns: a time (`ts`, `timestamp`, `datetime`, `time` with zone, or integers of ns since the
epoch; or `date`), `open high low close volume`, or `close` alone. Without a column `symbol` the
file's name is the symbol.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from libs.common.backtest.columns import as_type, numbers_of
from libs.common.backtest.data import (
    History,
    Wanted,
    bars_of_closes,
    bars_of_columns,
    check_bars,
    holes,
    unknown_symbol,
)
from libs.common.backtest.errors import DataError
from libs.common.backtest.sample import midnights

SUFFIXES: Final = (".parquet", ".csv", ".csv.gz")
_TIMES: Final = ("ts", "timestamp", "datetime", "time", "date")
_COLUMNS: Final = ("open", "high", "low", "close", "volume")
_CLOSES: Final = "has closes only: open, high and low repeat them, volume is unknown"


@dataclass(frozen=True, slots=True)
class _Rows:
    """One symbol's rows of one file. `lines`: shape (k,), the line of each in its file."""

    symbol: str
    bars: np.ndarray
    path: Path
    lines: np.ndarray
    unit: str
    closes_only: bool

    def place(self, index: int) -> str:
        """Return where bar `index` stands."""
        line = self.lines[index] if index < len(self.lines) else 0
        return f"{self.path}, {self.unit} {line}"


class FileReader:
    """Reads one file, or all Parquet and CSV files of one folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, wanted: Wanted) -> History:
        """Return whole series; see the port. Raises DataError."""
        found: dict[str, _Rows] = {}
        for rows in self._rows():
            if rows.symbol in found:
                raise DataError(
                    f"{rows.path}: {rows.symbol} stands in {found[rows.symbol].path} already"
                )
            found[rows.symbol] = rows
        bars, notes = {}, []
        for symbol in wanted.symbols:
            if symbol not in found:
                raise unknown_symbol(symbol, found, str(self._path))
            own = found[symbol]
            check_bars(symbol, own.bars, wanted, own.place, closes_only=own.closes_only)
            bars[symbol] = own.bars
            if own.closes_only:
                notes.append(f"{own.path} {_CLOSES}")
        closes_only = any(found[symbol].closes_only for symbol in wanted.symbols)
        return History(
            wanted.timeframe,
            bars,
            str(self._path),
            closes_only=closes_only,
            notes=(*dict.fromkeys(notes), *holes(bars)),
        )

    def _rows(self) -> Iterator[_Rows]:
        if not self._path.exists():
            raise DataError(f"{self._path}: no such file or folder")
        paths = [self._path]
        if self._path.is_dir():
            paths = sorted(p for p in self._path.iterdir() if p.name.endswith(SUFFIXES))
        if not paths:
            raise DataError(f"{self._path}: no .parquet or .csv file in this folder")
        for path in paths:
            yield from _split(path, _table(path))


def _table(path: Path) -> Any:
    try:
        if path.name.endswith(".parquet"):
            return pyarrow.parquet.ParquetFile(path).read()
        if path.name.endswith((".csv", ".csv.gz")):
            return _csv(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: unreadable: {str(error).splitlines()[0]}") from error
    raise DataError(f"{path}: is neither .parquet nor .csv")


def _csv(path: Path) -> Any:
    ragged: list[str] = []

    def refuse(row: Any) -> str:
        at = f"line {row.number}" if row.number is not None else "a line"
        ragged.append(f"{path}, {at}: {row.actual_columns} values, not {row.expected_columns}")
        return "skip"

    text = pyarrow.csv.ConvertOptions(strings_can_be_null=True, auto_dict_encode=False)
    table = pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(invalid_row_handler=refuse),
        convert_options=text,
    )
    if ragged:
        raise DataError(ragged[0])
    return table


def _split(path: Path, table: Any) -> Iterator[_Rows]:
    table = table.rename_columns([name.strip().lower() for name in table.column_names])
    names = table.column_names
    unit, first = ("row", 1) if path.name.endswith(".parquet") else ("line", 2)
    closes_only = "close" in names and not set(_COLUMNS) <= set(names)
    lacking = [name for name in _COLUMNS if name not in names]
    if lacking and "close" in lacking:
        raise DataError(f"{path}: no column close (it has {', '.join(names)})")
    if table.num_rows == 0:
        raise DataError(f"{path}: no rows")

    def at(index: int) -> str:
        return f"{path}, {unit} {index + first}"

    ts = _times(path, table, at)
    wanted = ("close",) if closes_only else _COLUMNS
    columns = {name: _numbers(path, table[name], name, at) for name in wanted}
    lines = np.arange(first, first + table.num_rows)
    for symbol, here in _by_symbol(path, table, at):
        if closes_only:
            bars = bars_of_closes(ts[here], columns["close"][here])
        else:
            bars = bars_of_columns(ts[here], {n: c[here] for n, c in columns.items()})
        yield _Rows(symbol, bars, path, lines[here], unit, closes_only)


def _by_symbol(path: Path, table: Any, at: Any) -> Iterator[tuple[str, Any]]:
    if "symbol" not in table.column_names:
        yield path.name.partition(".")[0].upper(), slice(None)
        return
    # Imported where text is read: it takes longer than to read numbers.
    import pyarrow.compute as pc

    symbols = pc.utf8_upper(table["symbol"].cast(pa.string()))
    if symbols.null_count:
        raise DataError(f"{at(_first_null(symbols))}: no symbol")
    codes = symbols.combine_chunks().dictionary_encode()
    indices = np.from_dlpack(codes.indices)
    for code, symbol in enumerate(codes.dictionary.to_pylist()):
        yield symbol, np.flatnonzero(indices == code)


def _times(path: Path, table: Any, at: Any) -> np.ndarray:
    name = next((name for name in _TIMES if name in table.column_names), None)
    if name is None:
        raise DataError(f"{path}: no time column (one of {', '.join(_TIMES)})")
    column = table[name]
    if column.null_count:
        raise DataError(f"{at(_first_null(column))}: column {name}: no time")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _times_of_text(column, name, at)
    if pa.types.is_date(column.type):
        return midnights(column)
    if pa.types.is_integer(column.type):
        whole: np.ndarray = numbers_of(as_type(column, pa.int64()))
        return whole
    if not pa.types.is_timestamp(column.type):
        raise DataError(f"{path}: column {name}: {column.type} is no time")
    if column.type.tz is None:
        raise DataError(f"{path}: column {name}: times have no time zone")
    ns: np.ndarray = numbers_of(column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64()))
    return ns


def _times_of_text(column: Any, name: str, at: Any) -> Any:
    import pyarrow.compute as pc

    daily = bool(pc.all(pc.equal(pc.utf8_length(column), 10)).as_py())
    target = pa.date32() if daily else pa.timestamp("ns", "UTC")
    index = _first_bad(column, target)
    if index is not None:
        what = "a date" if daily else "an ISO 8601 time with a zone"
        raise DataError(f"{at(index)}: column {name}: {column[index].as_py()!r} is not {what}")
    return column.cast(target)


def _numbers(path: Path, column: Any, name: str, at: Any) -> np.ndarray:
    if column.null_count:
        raise DataError(f"{at(_first_null(column))}: column {name}: no value")
    try:
        numbers: np.ndarray = numbers_of(as_type(column, pa.float64()))
    except pa.ArrowException as error:
        index = _first_bad(column, pa.float64()) or 0
        value = column[index].as_py()
        raise DataError(f"{at(index)}: column {name}: {value!r} is not a number") from error
    return numbers


def _first_null(column: Any) -> int:
    marks: list[bool] = column.is_null().to_pylist()
    return marks.index(True)


def _first_bad(column: Any, target: Any) -> int | None:
    try:
        column.cast(target)
    except pa.ArrowException:
        for index, value in enumerate(column):
            try:
                value.cast(target)
            except pa.ArrowException:
                return index
    return None
