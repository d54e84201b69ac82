"""The database's bars as a CSV file: what a run reads, and what its result can be checked by."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import psycopg
from sqlalchemy import text

from libs.common.backtest.spec import BacktestSpec
from libs.common.kernel.clock import from_ns
from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.database import Database

_FIRST: Final = text(
    """
    SELECT min(ts) AS first FROM (
        SELECT ts FROM market_ohlcv
        WHERE symbol = :symbol AND timeframe = :timeframe AND ts < :start
        ORDER BY ts DESC LIMIT :before
    ) AS earlier
    """
)
_COPY: Final = """
    COPY (
        SELECT symbol, (extract(epoch FROM ts) * 1000000)::bigint * 1000 AS ts,
               open, high, low, close, volume
        FROM market_ohlcv
        WHERE symbol = {symbol} AND timeframe = {timeframe}
          AND ts >= {first} AND ts < {end}
        ORDER BY ts LIMIT {limit}
    ) TO STDOUT WITH (FORMAT csv)
"""
_HEADER: Final = b"symbol,ts,open,high,low,close,volume\n"
_BEGINNING: Final = "-infinity"
_END: Final = "infinity"


class BarExport:
    """Reads `market_ohlcv`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def export(self, spec: BacktestSpec, before: int, path: Path, bars_max: int) -> int:
        """Write the spec's bars; see the port."""
        count = 0
        async with self._database.read() as session:
            raw = await session.connection.get_raw_connection()
            driver = cast("psycopg.AsyncConnection[Any]", raw.driver_connection)
            with path.open("wb") as file:
                file.write(_HEADER)
                for symbol in spec.symbols:
                    first = _BEGINNING
                    if spec.start_ns is not None:
                        start = from_ns(spec.start_ns)
                        values = {"symbol": symbol, "timeframe": spec.timeframe.value}
                        row = await session.row(
                            _FIRST, {**values, "start": start, "before": before}
                        )
                        found = row["first"] if row is not None else None
                        first = (found or start).isoformat()
                    end = _END if spec.end_ns is None else from_ns(spec.end_ns).isoformat()
                    query = psycopg.sql.SQL(_COPY).format(
                        symbol=symbol,
                        timeframe=spec.timeframe.value,
                        first=first,
                        end=end,
                        limit=bars_max - count + 1,
                    )
                    before_this = count
                    async with driver.cursor() as cursor, cursor.copy(query) as copy:
                        async for block in copy:
                            count += bytes(block).count(b"\n")
                            file.write(block)
                    if count == before_this:
                        raise InvalidInputError(
                            f"store: no bars of {symbol} of {spec.timeframe.value} in that time"
                        )
                    if count > bars_max:
                        raise InvalidInputError(
                            f"more than {bars_max} bars of {spec.timeframe.value} are asked for; "
                            "name fewer symbols or a shorter time"
                        )
        return count
