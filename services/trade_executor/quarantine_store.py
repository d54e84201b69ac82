"""The table of what could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import delete, func, insert, select

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.database import Database
from libs.common.runtime.schema.execution import broker_quarantine
from services.trade_executor.ports import Page
from services.trade_executor.quarantine import ROWS_MAX, Unreadable, shown


class BrokerQuarantineStore:
    """Implements `QuarantineStore`."""

    def __init__(self, database: Database, *, rows_max: int = ROWS_MAX) -> None:
        self._database = database
        self._rows_max = rows_max

    async def keep(self, rows: Sequence[Unreadable]) -> None:
        """Write rows and forget the oldest. Raises UnavailableError."""
        seq = broker_quarantine.c.seq
        newest = select(func.max(seq)).scalar_subquery()
        async with self._database.write() as tx:
            await tx.execute(insert(broker_quarantine), [asdict(row) for row in rows])
            await tx.execute(delete(broker_quarantine).where(seq <= newest - self._rows_max))

    async def page(self, *, limit: int, after: str | None) -> Page:
        """Return what is kept, newest first; `after` is the last `seq` seen."""
        query = select(broker_quarantine).order_by(broker_quarantine.c.seq.desc()).limit(limit)
        if after is not None:
            if not after.isdecimal() or len(after) > 18:
                raise InvalidInputError(f"after: {after!r} is not a cursor of this list")
            query = query.where(broker_quarantine.c.seq < int(after))
        async with self._database.read() as session:
            rows = await session.rows(query)
        following = str(rows[-1]["seq"]) if len(rows) == limit else None
        return Page([shown(row) for row in rows], following)
