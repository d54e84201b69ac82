"""The instruments that the data collector knows, read only."""

from __future__ import annotations

from sqlalchemy import select

from libs.common.runtime.database import Database
from libs.common.runtime.schema.market import instruments


class InstrumentTable:
    """Known instruments, read only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def symbols(self) -> frozenset[str]:
        """Return the symbols of all known instruments."""
        async with self._database.read() as session:
            rows = await session.rows(select(instruments.c.symbol))
        return frozenset(row["symbol"] for row in rows)
