"""The bars that the data collector stored, read only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from libs.common.kernel.clock import from_ns, to_ns
from libs.common.runtime.database import Database
from services.strategy_engine.bars import Row, records

_COLUMNS: Final = "ts, open, high, low, close, volume"
_SINCE: Final = text(
    f"""
    SELECT wanted.symbol, {_COLUMNS}
    FROM unnest(CAST(:symbols AS text[]), CAST(:since AS timestamptz[])) AS wanted(symbol, since)
    CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM market_ohlcv
        WHERE symbol = wanted.symbol AND timeframe = :timeframe AND ts > wanted.since
        ORDER BY ts LIMIT :rows_max
    ) AS bars
    ORDER BY wanted.symbol, ts
    """  # nosec B608 # our own constants
)
_BEFORE: Final = text(
    f"""
    SELECT {_COLUMNS} FROM market_ohlcv
    WHERE symbol = :symbol AND timeframe = :timeframe AND ts < :end
    ORDER BY ts DESC LIMIT :count
    """  # nosec B608 # our own constants
)


class BarTable:
    """Stored bars, read only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def since(
        self, timeframe: str, since: Mapping[str, int], rows_max: int
    ) -> dict[str, np.ndarray]:
        """Return each symbol's bars that start after its `since`; see the port."""
        values = {
            "symbols": list(since),
            "since": [from_ns(ts) for ts in since.values()],
            "timeframe": timeframe,
            "rows_max": rows_max,
        }
        async with self._database.read() as session:
            rows = await session.rows(_SINCE, values)
        found: dict[str, list[Row]] = {symbol: [] for symbol in since}
        for row in rows:
            found[row["symbol"]].append(_bar(row))
        return {symbol: records(bars) for symbol, bars in found.items()}

    async def before(self, timeframe: str, symbol: str, end: int, count: int) -> np.ndarray:
        """Return the last `count` bars that start before `end`; see the port."""
        values = {"symbol": symbol, "timeframe": timeframe, "end": from_ns(end), "count": count}
        async with self._database.read() as session:
            rows = await session.rows(_BEFORE, values)
        return records(_bar(row) for row in reversed(rows))


def _bar(row: RowMapping) -> Row:
    o, h, low, c, volume = (float(row[name]) for name in ("open", "high", "low", "close", "volume"))
    return to_ns(row["ts"]), o, h, low, c, volume
