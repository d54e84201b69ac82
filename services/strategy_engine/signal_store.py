"""Stored signals, to be listed."""

from __future__ import annotations

from sqlalchemy import and_, select
from sqlalchemy.engine import RowMapping

from libs.common.contracts.messages import Signal
from libs.common.domain.vocabulary import StrategyMode
from libs.common.runtime.database import Database
from libs.common.runtime.schema.strategies import signals as signal_table
from services.strategy_engine.ports import Place, SignalRow


class SignalTable:
    """Stored signals, to be listed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self, strategy_id: str | None, symbol: str | None, after: Place | None, limit: int
    ) -> list[SignalRow]:
        """Return signals, newest first, from `after` on."""
        columns = signal_table.c
        query = select(signal_table).order_by(columns.created_at.desc(), columns.id.desc())
        if strategy_id is not None:
            query = query.where(columns.strategy_id == strategy_id)
        if symbol is not None:
            query = query.where(columns.symbol == symbol)
        if after is not None:
            same = and_(columns.created_at == after.created_at, columns.id < after.id)
            query = query.where((columns.created_at < after.created_at) | same)
        async with self._database.read() as session:
            rows = await session.rows(query.limit(limit))
        return [_signal_row(row) for row in rows]


def _signal_row(row: RowMapping) -> SignalRow:
    signal = Signal(
        signal_id=row["id"],
        strategy_id=row["strategy_id"],
        symbol=row["symbol"],
        timeframe=row["timeframe"],
        bar_ts=row["bar_ts"],
        ts_event=row["ts"],
        target=row["target"],
        confidence=row["confidence"],
        reference_price=row["reference_price"],
        mode=StrategyMode(row["mode"]),
        stop=row["stop"],
        take_profit=row["take_profit"],
        limit=row["limit_price"],
        features=row["features"],
    )
    return SignalRow(signal, row["correlation_id"], row["created_at"])
