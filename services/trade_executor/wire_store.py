"""The table of what went over the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import insert, or_, select

from libs.common.runtime.database import Database, ReadSession
from libs.common.runtime.schema.execution import broker_messages
from services.trade_executor.wire_log import WireRow

_SHOWN = ("ts", "method", "path", "status", "sent", "received", "error", "took_us")


class BrokerMessageStore:
    """Implements `WireStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, rows: Sequence[WireRow]) -> None:
        """Write rows. Raises UnavailableError."""
        async with self._database.write() as tx:
            await tx.execute(insert(broker_messages), [asdict(row) for row in rows])


async def messages_of(
    session: ReadSession, order_id: UUID, broker_order_id: str | None, *, limit: int
) -> list[dict[str, Any]]:
    """Return what was said about an order, oldest first, `limit` messages at most."""
    table = broker_messages.c
    about = table.order_id == order_id
    if broker_order_id is not None:
        about = or_(about, table.broker_order_id == broker_order_id)
    query = select(*(table[name] for name in _SHOWN)).where(about).order_by(table.seq)
    return [dict(row) for row in await session.rows(query.limit(limit))]
