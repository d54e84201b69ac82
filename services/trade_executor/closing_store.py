"""The table of closings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import RowMapping

from libs.common.kernel.errors import NotFoundError
from libs.common.kernel.money import plain
from libs.common.runtime.database import Database
from libs.common.runtime.schema.execution import closings
from libs.common.runtime.schema.market import instrument_of, instruments
from services.trade_executor.closing import Closing, ClosingStatus


class ClosingStore:
    """Implements `ClosingBook`."""

    def __init__(self, database: Database, account_id: str) -> None:
        self._database = database
        self._account_id = account_id

    async def add(self, closing: Closing) -> Closing:
        """Keep a new closing; return the one that its id stands for already, if there is one."""
        values = {**asdict(closing), "exits": list(closing.exits)}
        async with self._database.write() as tx:
            await tx.execute(insert(closings).values(values).on_conflict_do_nothing())
        return await self.get(closing.id)

    async def get(self, closing_id: UUID) -> Closing:
        """Return a closing. Raises NotFoundError."""
        async with self._database.read() as session:
            row = await session.row(select(closings).where(closings.c.id == closing_id))
        if row is None:
            raise NotFoundError(f"there is no closing {closing_id}")
        return _closing(row)

    async def open(self) -> Sequence[Closing]:
        """Return those that have not come to an end, oldest first."""
        query = select(closings).where(
            closings.c.account_id == self._account_id, closings.c.status == ClosingStatus.OPEN
        )
        async with self._database.read() as session:
            rows = await session.rows(query.order_by(closings.c.created_at, closings.c.id))
        return [_closing(row) for row in rows]

    async def note(self, closing: Closing, **facts: Any) -> Closing:
        """Write facts of an open closing; return it as it then stands."""
        if "exits" in facts:
            facts["exits"] = list(facts["exits"])
        query = update(closings).where(
            closings.c.id == closing.id, closings.c.status == ClosingStatus.OPEN
        )
        async with self._database.write() as tx:
            await tx.execute(query.values(**facts, updated_at=func.now()))
        return await self.get(closing.id)

    async def quantity_step(self, symbol: str) -> Decimal | None:
        """Return the finest step of quantity that the venue takes; None for a symbol not known."""
        async with self._database.read() as session:
            row = await session.row(select(instruments).where(instruments.c.symbol == symbol))
        return None if row is None else instrument_of(row).quantity_step

    async def recent(self, limit: int) -> Sequence[Closing]:
        """Return the newest closings, newest first."""
        query = select(closings).where(closings.c.account_id == self._account_id)
        async with self._database.read() as session:
            rows = await session.rows(
                query.order_by(closings.c.created_at.desc(), closings.c.id).limit(limit)
            )
        return [_closing(row) for row in rows]


def shown(closing: Closing) -> dict[str, Any]:
    """Return a closing as the API shows it."""
    amounts = {"quantity": closing.quantity, "percent": closing.percent}
    return {
        "id": str(closing.id),
        "symbol": closing.symbol,
        "status": closing.status,
        "cause": closing.cause,
        **{name: None if value is None else plain(value) for name, value in amounts.items()},
        "order_id": closing.order_id and str(closing.order_id),
        "exits": [str(one) for one in closing.exits],
        "reason": closing.reason,
        "created_at": closing.created_at,
        "correlation_id": str(closing.correlation_id),
    }


def _closing(row: RowMapping) -> Closing:
    values = {name: row[name] for name in Closing.__slots__}
    values["status"] = ClosingStatus(row["status"])
    values["exits"] = tuple(row["exits"])
    return Closing(**values)
