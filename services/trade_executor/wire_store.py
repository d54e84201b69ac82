"""The table of what went over the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import or_, select, text

from libs.common.runtime.database import Database, ReadSession
from libs.common.runtime.schema.execution import broker_messages
from services.trade_executor.wire_log import WireRow

_SHOWN = ("ts", "method", "path", "status", "sent", "received", "error", "took_us")


# One parameter: the driver would spend milliseconds on the thousands of a batch.
_KEEP = text(
    """
    INSERT INTO broker_messages (ts, method, path, status, order_id, broker_order_id, sent,
                                 received, error, took_us)
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        ts timestamptz, method text, path text, status integer, order_id uuid,
        broker_order_id text, sent text, received text, error text, took_us bigint)
    """
)


class BrokerMessageStore:
    """Implements `WireStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, rows: Sequence[WireRow]) -> None:
        """Write rows. Raises UnavailableError."""
        encoded = orjson.dumps(rows).decode()
        async with self._database.single() as tx:
            await tx.execute(_KEEP, {"rows": encoded})


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
