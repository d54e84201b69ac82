"""Real prices that come with an installed package: a backtest without any download."""

from __future__ import annotations

import datetime as dt
import importlib.util
from functools import partial
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.csv

from libs.common.backtest.columns import as_type, numbers_of
from libs.common.backtest.data import (
    History,
    Wanted,
    bars_of_closes,
    check_bars,
    unknown_symbol,
)
from libs.common.backtest.errors import DataError
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import to_ns

NAME: Final = "sample"
NOTE: Final = (
    "the sample holds adjusted daily closes only: open, high and low repeat the close, volume is "
    "unknown, orders fill at the next close"
)
_ZONE: Final = ZoneInfo("America/New_York")
_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - the zone comes after the days


class SampleReader:
    """Adjusted daily closes of twenty S&P 500 shares, 1990 to 2022, shipped inside skfolio."""

    def read(self, wanted: Wanted) -> History:
        """Return whole series; see the port. Raises DataError if the package is not installed."""
        if wanted.timeframe is not Timeframe.DAY:
            raise DataError(f"{NAME}: has bars of 1d, not of {wanted.timeframe.value}")
        path = sample_path()
        table = _read(path)
        ts = midnights(table.column(0))
        known = set(table.column_names[1:])
        bars = {}
        for symbol in wanted.symbols:
            if symbol not in known:
                raise unknown_symbol(symbol, known, NAME)
            column = table[symbol]
            there = np.arange(len(ts))
            if column.null_count:
                there = np.flatnonzero(column.is_valid().to_pylist())
                column = column.drop_null()
            own = bars_of_closes(ts[there], numbers_of(column))
            place = partial(_place, path, there)
            check_bars(symbol, own, wanted, place, closes_only=True)
            bars[symbol] = own
        return History(Timeframe.DAY, bars, NAME, closes_only=True, notes=(NOTE,))


def _place(path: Path, rows: np.ndarray, index: int) -> str:
    return f"{NAME} {path.name}, line {rows[index] + 2}"


def sample_path() -> Path:
    """Return the file, found without importing its package: that would take seconds."""
    spec = importlib.util.find_spec("skfolio")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"{NAME}: the package skfolio, which holds the prices, is not installed "
            "(extra `simulator`)"
        )
    return Path(spec.submodule_search_locations[0]) / "datasets/data/sp500_dataset.csv.gz"


def sample_symbols() -> tuple[str, ...]:
    """Return the symbols of the sample."""
    return tuple(_read(sample_path()).column_names[1:])


def _read(path: Path) -> Any:
    try:
        return pyarrow.csv.read_csv(path, read_options=pyarrow.csv.ReadOptions(use_threads=False))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{NAME}: {path}: unreadable: {str(error).splitlines()[0]}") from error


def midnights(days: Any) -> np.ndarray:
    """Return dates as ns of midnight in New York: there a day's bar starts, as Alpaca stamps it.

    Arrow could do this too, but asks pandas for it, and importing that takes a second.
    """
    whole = as_type(days, pa.date32()).combine_chunks()
    numbers = numbers_of(pa.chunked_array([whole.view(pa.int32())]))
    found, where = np.unique(numbers, return_inverse=True)
    starts = [_EPOCH + dt.timedelta(days=day) for day in found.tolist()]
    ns = np.array([to_ns(start.replace(tzinfo=_ZONE)) for start in starts], np.int64)
    back: np.ndarray = ns[where]
    return back
