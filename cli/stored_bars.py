"""Bars that the running system has recorded, read through its gateway: `--data store`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Final

import numpy as np

from cli.client import Gateway
from libs.common.backtest.data import History, Wanted, bars_of_columns, check_bars, holes
from libs.common.backtest.errors import DataError
from libs.common.kernel.clock import format_ns, parse_ns

BARS: Final = "/api/v1/market/bars"
PAGE: Final = 10_000
TIMEOUT_S: Final = 60.0
_BEGINNING: Final = "1970-01-01T00:00:00Z"
_COLUMNS: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class StoredBars:
    """Asks page by page, from the first bar on: what comes before the start warms up."""

    page: int = PAGE

    def read(self, wanted: Wanted) -> History:
        """Return checked bars; see the port. Raises DataError, CommandError."""
        with Gateway(timeout_s=TIMEOUT_S) as gateway:
            bars = {symbol: _bars(gateway, symbol, wanted, self.page) for symbol in wanted.symbols}
            source = f"{gateway.url}{BARS}"
        for symbol, own in bars.items():
            if len(own) == 0:
                raise DataError(f"{source}: no bars of {symbol} of {wanted.timeframe.value}")
            check_bars(symbol, own, wanted, lambda _: source)
        return History(wanted.timeframe, bars, source, notes=holes(bars))


def _bars(gateway: Gateway, symbol: str, wanted: Wanted, limit: int) -> np.ndarray:
    asked = {
        "symbol": symbol,
        "timeframe": wanted.timeframe.value,
        "start": _BEGINNING,
        "end": None if wanted.end_ns is None else format_ns(wanted.end_ns),
        "limit": limit,
        "format": "csv",
    }
    rows: list[dict[str, str]] = []
    after = None
    while True:
        page = list(csv.DictReader(gateway.text(BARS, {**asked, "after": after}).splitlines()))
        rows += page
        if len(page) < limit:
            break
        after = page[-1]["ts"]
    times = np.array([parse_ns(row["ts"], "ts") for row in rows], np.int64)
    columns = {name: np.array([float(row[name]) for row in rows]) for name in _COLUMNS}
    return bars_of_columns(times, columns)
