"""Executions of strategies, read only, and their performance as it was last looked at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from libs.common.domain.vocabulary import Side, StrategyMode
from libs.common.runtime.database import Database
from services.strategy_engine.performance import Execution, Performance, Split
from services.strategy_engine.store import FENCE, fence_of, fenced

_EXECUTIONS: Final = text(
    """
    SELECT t.id, t.strategy_id, t.symbol, t.side, t.quantity, t.executed_price,
           t.commission + t.fees AS cost, s.reference_price, t.booked_at
    FROM trades t LEFT JOIN signals s ON s.id = t.signal_id
    WHERE t.account_id = :account AND t.strategy_id = ANY(:ids) AND t.booked_at > :since
      AND NOT EXISTS (SELECT 1 FROM trade_reversals v WHERE v.trade_id = t.id)
    ORDER BY t.booked_at, t.id
    """
)
_SPLITS: Final = text(
    """
    SELECT c.id, c.symbol, s.strategy_id, s.quantity, c.booked_at
    FROM position_changes c
    CROSS JOIN LATERAL jsonb_to_recordset(c.shares) AS s(strategy_id text, quantity numeric)
    WHERE c.account_id = :account AND s.strategy_id = ANY(:ids)
    ORDER BY c.seq
    """
)
_REVISED: Final = text(
    """
    SELECT (SELECT max(booked_at) FROM trade_reversals WHERE account_id = :account) AS reversed,
           (SELECT max(seq) FROM position_changes WHERE account_id = :account) AS changed
    """
)
_SAVE: Final = text(
    """
    INSERT INTO strategy_performance (strategy_id, mode, executions, trips, hits, realized,
        unrealized, costs, slippage, referred, pnl, peak, drawdown, day, opening, updated_at)
    VALUES (:strategy_id, :mode, :executions, :trips, :hits, :realized, :unrealized, :costs,
        :slippage, :referred, :pnl, :peak, :drawdown, :day, :opening, now())
    ON CONFLICT (strategy_id) DO UPDATE SET
        mode = excluded.mode, executions = excluded.executions, trips = excluded.trips,
        hits = excluded.hits, realized = excluded.realized, unrealized = excluded.unrealized,
        costs = excluded.costs, slippage = excluded.slippage, referred = excluded.referred,
        pnl = excluded.pnl, peak = excluded.peak, drawdown = excluded.drawdown,
        day = excluded.day, opening = excluded.opening, updated_at = excluded.updated_at
    """
)
_LIST: Final = text(
    """
    SELECT p.*, (SELECT count(*) FROM signals g WHERE g.strategy_id = p.strategy_id) AS signals
    FROM strategy_performance p WHERE CAST(:one AS text) IS NULL OR p.strategy_id = :one
    ORDER BY p.strategy_id
    """
)


class PerformanceTable:
    """What strategies have made; see the port."""

    def __init__(self, database: Database, account_id: str) -> None:
        self._database = database
        self._account = {"account": account_id}

    async def executions(self, ids: Collection[str], since: dt.datetime) -> list[Execution]:
        """Return the executions of these strategies booked after `since`, in that order."""
        values = {**self._account, "ids": sorted(ids), "since": since}
        async with self._database.read() as session:
            return [_execution(row) for row in await session.rows(_EXECUTIONS, values)]

    async def splits(self, ids: Collection[str]) -> list[Split]:
        """Return what splits gave to, or took from, these strategies."""
        async with self._database.read() as session:
            rows = await session.rows(_SPLITS, {**self._account, "ids": sorted(ids)})
        return [
            Split(row["id"], row["strategy_id"], row["symbol"], row["quantity"], row["booked_at"])
            for row in rows
        ]

    async def revision(self) -> object:
        """Return something that differs once the past was revised."""
        async with self._database.read() as session:
            row = await session.row(_REVISED, self._account)
        return None if row is None else tuple(row.values())

    async def save(self, performance: Performance, epochs: Mapping[str, int]) -> None:
        """Store how a strategy stands. Raises LeaseLostError where another replica runs it."""
        values = {name: getattr(performance, name) for name in Performance.__dataclass_fields__}
        values |= {"pnl": performance.pnl, "drawdown": performance.drawdown}
        async with fenced(), self._database.write() as tx:
            await tx.execute(FENCE, fence_of(epochs))
            await tx.execute(_SAVE, {**values, "mode": performance.mode.value})

    async def list(self, strategy_id: str | None = None) -> Sequence[tuple[Performance, int]]:
        """Return how strategies stand, with the number of their signals."""
        async with self._database.read() as session:
            rows = await session.rows(_LIST, {"one": strategy_id})
        return [(_performance(row), int(row["signals"])) for row in rows]


def _execution(row: RowMapping) -> Execution:
    return Execution(
        id=row["id"],
        strategy_id=row["strategy_id"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        quantity=row["quantity"],
        price=row["executed_price"],
        cost=row["cost"],
        reference=row["reference_price"],
        booked_at=row["booked_at"],
    )


def _performance(row: RowMapping) -> Performance:
    names = Performance.__dataclass_fields__
    values: dict[str, Any] = {name: row[name] for name in names}
    return Performance(**{**values, "mode": StrategyMode(row["mode"])})
