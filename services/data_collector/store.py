"""The market tables: ticks and bars go in by COPY, everything comes out by the API's pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from psycopg import AsyncConnection, sql
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import RowMapping

from libs.common.contracts.messages import Bar
from libs.common.domain.instruments import UNKNOWN_SECTOR, Instrument
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import NS_PER_SECOND, from_ns, to_ns
from libs.common.runtime.database import Database, WriteSession
from libs.common.runtime.schema.market import (
    instrument_of,
    instruments,
    market_ohlcv,
    market_quarantine,
    market_quotes,
)
from services.data_collector.copy_text import bar_block, bar_rows, month, tick_block
from services.data_collector.ports import BarPage, QuarantineRow, QuoteRow, Ticks
from services.data_collector.validation import Quarantined

_TICK_COLUMNS = (
    "symbol", "ts", "bid", "ask", "bid_size", "ask_size", "last_price", "volume", "provider",
)  # fmt: skip
_BAR_COLUMNS = (
    "symbol", "timeframe", "ts", "open", "high", "low", "close", "volume", "vwap", "trades",
    "provider",
)  # fmt: skip
_BAR_VALUES = ("open", "high", "low", "close", "volume", "vwap", "trades", "provider")
_BAR_TYPES = (
    "symbol text, timeframe text, ts timestamptz, open numeric(20,8), high numeric(20,8), "
    "low numeric(20,8), close numeric(20,8), volume numeric(20,8), vwap numeric(20,8), "
    "trades bigint, provider text"
)
_STAGING = sql.SQL(
    "CREATE TEMPORARY TABLE IF NOT EXISTS bars_staged ({}) ON COMMIT DELETE ROWS"
).format(sql.SQL(_BAR_TYPES))
_LISTED = f"jsonb_to_recordset(CAST(:bars AS jsonb)) AS bars({_BAR_TYPES})"
_BARS_FEW = 500
_INSTRUMENT_BATCH = 1000


class MarketStore:
    """Writes and reads the tables of the data collector.

    Every method raises UnavailableError when the database can't be reached; a write that was
    cut off may then have happened, so all writes of bars and instruments bear repetition.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._months: set[tuple[str, date]] = set()

    async def append_ticks(self, provider: str, batches: Sequence[Ticks]) -> int:
        """COPY quotes and trades into `market_quotes`; returns the number of rows."""
        block, rows, months = tick_block(provider, batches)
        if not rows:
            return 0
        await self._ensure_months("market_quotes", months)
        async with self._database.write() as tx:
            await _copy(tx, "market_quotes", _TICK_COLUMNS, block)
        return rows

    async def add_bars(
        self, provider: str, bars: Mapping[str, Sequence[Bar]], *, replace: bool = False
    ) -> int:
        """Add bars; returns the number written. Many go by COPY, the few that close together in
        live trading by one statement, which an order may be waiting for.

        A bar that is there already stays as it is, because someone may have traded on it; with
        `replace` it is overwritten.
        """
        count = sum(map(len, bars.values()))
        if not count:
            return 0
        await self._ensure_months(
            "market_ohlcv", {month(bar.ts_event) for some in bars.values() for bar in some}
        )
        if count <= _BARS_FEW:
            async with self._database.single() as tx:
                statement = _ADD_FEW[replace]
                said = await tx.execute(statement, {"bars": bar_rows(provider, bars)})
                return int(said.scalar_one())
        async with self._database.write() as tx:
            connection = await _driver(tx)
            await connection.execute(_STAGING)
            await _copy(tx, "bars_staged", _BAR_COLUMNS, bar_block(provider, bars))
            result = await tx.execute(text(_merge("bars_staged", replace=replace)))
            return int(result.scalar_one())

    async def quarantine(self, provider: str, ticks: Sequence[Quarantined]) -> None:
        """Keep refused ticks with their reason."""
        if not ticks:
            return
        async with self._database.write() as tx:
            await tx.execute(
                text(
                    "INSERT INTO market_quarantine (symbol, ts, provider, code, reason, tick) "
                    "SELECT * FROM unnest(CAST(:symbols AS text[]), CAST(:ts AS timestamptz[]), "
                    "CAST(:providers AS text[]), CAST(:codes AS text[]), "
                    "CAST(:reasons AS text[]), CAST(:ticks AS jsonb[]))"
                ),
                {
                    "symbols": [tick.symbol for tick in ticks],
                    "ts": [_instant(tick.ts_event) for tick in ticks],
                    "providers": [provider] * len(ticks),
                    "codes": [tick.code.value for tick in ticks],
                    "reasons": [tick.reason for tick in ticks],
                    "ticks": [tick.tick for tick in ticks],
                },
            )

    async def put_instruments(self, some: Sequence[Instrument]) -> None:
        """Insert or update instruments; a known sector is never overwritten by an unknown one."""
        for start in range(0, len(some), _INSTRUMENT_BATCH):
            batch = some[start : start + _INSTRUMENT_BATCH]
            statement = insert(instruments).values([_instrument_row(item) for item in batch])
            new = statement.excluded
            changes: dict[str, Any] = {
                column: new[column]
                for column in (
                    "name", "exchange", "asset_class", "currency", "tick_size", "lot_size",
                    "tradable", "shortable", "fractionable",
                )
            }  # fmt: skip
            changes["sector"] = func.coalesce(
                func.nullif(new.sector, UNKNOWN_SECTOR), instruments.c.sector
            )
            async with self._database.write() as tx:
                await tx.execute(
                    statement.on_conflict_do_update(index_elements=["symbol"], set_=changes)
                )

    async def instruments(self) -> list[Instrument]:
        """Every instrument, by symbol."""
        async with self._database.read() as session:
            rows = await session.rows(select(instruments).order_by(instruments.c.symbol))
        return [instrument_of(row) for row in rows]

    async def last_bar_ns(self, symbols: Sequence[str], timeframe: Timeframe) -> dict[str, int]:
        """The start of the newest stored bar of each symbol that has one."""
        table = market_ohlcv.c
        query = (
            select(table.symbol, func.max(table.ts).label("ts"))
            .where(table.symbol.in_(symbols), table.timeframe == timeframe.value)
            .group_by(table.symbol)
        )
        async with self._database.read() as session:
            return {row["symbol"]: to_ns(row["ts"]) for row in await session.rows(query)}

    async def minutes_since(self, symbols: Sequence[str], start_ns: int) -> dict[str, list[Bar]]:
        """Stored minute bars that start at `start_ns` or later, oldest first, by symbol."""
        table = market_ohlcv.c
        query = (
            select(market_ohlcv)
            .where(
                table.symbol.in_(symbols),
                table.timeframe == Timeframe.MINUTE.value,
                table.ts >= from_ns(start_ns),
            )
            .order_by(table.symbol, table.ts)
        )
        found: dict[str, list[Bar]] = {}
        async with self._database.read() as session:
            for row in await session.rows(query):
                found.setdefault(row["symbol"], []).append(_bar(row))
        return found

    async def bars(
        self, symbol: str, timeframe: Timeframe, start: datetime, end: datetime, limit: int
    ) -> list[BarPage]:
        """Stored bars of one symbol that start in [start, end), oldest first."""
        table = market_ohlcv.c
        query = (
            select(market_ohlcv)
            .where(
                table.symbol == symbol,
                table.timeframe == timeframe.value,
                table.ts >= start,
                table.ts < end,
            )
            .order_by(table.ts)
            .limit(limit)
        )
        names = ("ts", "open", "high", "low", "close", "volume", "vwap", "trades", "provider")
        async with self._database.read() as session:
            return [
                BarPage(**{name: row[name] for name in names}) for row in await session.rows(query)
            ]

    async def quotes(
        self, symbol: str, start: datetime, end: datetime, limit: int
    ) -> list[QuoteRow]:
        """Stored quotes and trades of one symbol in [start, end), oldest first."""
        table = market_quotes.c
        query = (
            select(market_quotes)
            .where(table.symbol == symbol, table.ts >= start, table.ts < end)
            .order_by(table.ts)
            .limit(limit)
        )
        names = ("ts", "bid", "ask", "bid_size", "ask_size", "last_price", "volume", "provider")
        async with self._database.read() as session:
            return [
                QuoteRow(**{name: row[name] for name in names}) for row in await session.rows(query)
            ]

    async def quarantined(
        self, symbol: str | None, code: str | None, before_id: int | None, limit: int
    ) -> list[QuarantineRow]:
        """Refused ticks, newest first, below `before_id`."""
        table = market_quarantine.c
        query = select(market_quarantine).order_by(table.id.desc()).limit(limit)
        for column, wanted in ((table.symbol, symbol), (table.code, code)):
            if wanted is not None:
                query = query.where(column == wanted)
        if before_id is not None:
            query = query.where(table.id < before_id)
        async with self._database.read() as session:
            return [QuarantineRow(**row) for row in await session.rows(query)]

    async def _ensure_months(self, table: str, months: Iterable[date]) -> None:
        due = sorted({(table, first_day) for first_day in months} - self._months)
        if not due:
            return
        async with self._database.write() as tx:
            for _, first_day in due:
                await tx.execute(
                    text("SELECT ensure_month_partition(:table, :month)"),
                    {"table": table, "month": first_day},
                )
        self._months.update(due)


def _merge(source: str, *, replace: bool) -> str:
    """The statement that writes the bars of `source` and counts those written."""
    values = ", ".join(f"{name} = excluded.{name}" for name in _BAR_VALUES)
    update = "UPDATE SET " + values  # nosec B608 # our own constants
    return f"""
        WITH written AS (
            INSERT INTO market_ohlcv ({", ".join(_BAR_COLUMNS)})
            SELECT DISTINCT ON (symbol, timeframe, ts) {", ".join(_BAR_COLUMNS)} FROM {source}
            ON CONFLICT (symbol, timeframe, ts) DO {update if replace else "NOTHING"}
            RETURNING 1
        )
        SELECT count(*) FROM written
        """  # nosec B608 # our own constants


_ADD_FEW = {replace: text(_merge(_LISTED, replace=replace)) for replace in (False, True)}


async def _driver(tx: WriteSession) -> AsyncConnection[object]:
    raw = await tx.connection.get_raw_connection()
    driver = raw.driver_connection
    assert isinstance(driver, AsyncConnection)
    return driver


async def _copy(tx: WriteSession, table: str, columns: Sequence[str], block: str) -> None:
    """Stream one block of COPY text rows."""
    connection = await _driver(tx)
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(block)


def _instant(ns: int) -> datetime | None:
    """The event time of a refused tick, or None where it is no time at all."""
    return from_ns(ns) if 0 < ns < 253_402_300_800 * NS_PER_SECOND else None


def _bar(row: RowMapping) -> Bar:
    return Bar(
        timeframe=row["timeframe"],
        ts_event=to_ns(row["ts"]),
        open=float(row["open"]),
        high=float(row["high"]),
        low=float(row["low"]),
        close=float(row["close"]),
        volume=float(row["volume"]),
        vwap=float(row["vwap"] or 0),
        trades=int(row["trades"] or 0),
    )


def _instrument_row(item: Instrument) -> dict[str, object]:
    return {
        "symbol": item.symbol,
        "name": item.name,
        "exchange": item.exchange,
        "asset_class": item.asset_class.value,
        "currency": item.currency,
        "tick_size": item.tick_size,
        "lot_size": item.lot_size,
        "sector": item.sector,
        "tradable": item.tradable,
        "shortable": item.shortable,
        "fractionable": item.fractionable,
    }
