"""How the account's dealings with the venue have gone lately, from the executor's tables."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import text

from libs.common.runtime.database import Database

_CONDUCT = text(
    """
    SELECT (SELECT count(*) FROM orders
            WHERE account_id = :account AND NOT external AND created_at >= :since
              AND status <> 'denied') AS sent,
           (SELECT count(*) FROM orders
            WHERE account_id = :account AND NOT external AND created_at >= :since
              AND status = 'rejected') AS rejected,
           (SELECT min(opened_at) FROM discrepancies
            WHERE account_id = :account AND resolved_at IS NULL
              AND kind IN ('position', 'cash')) AS mismatch_since
    """
)


@dataclass(frozen=True, slots=True)
class Conduct:
    """Orders sent and rejected by the venue in a window, and since when our books differ from the
    broker's (None: they do not)."""

    sent: int
    rejected: int
    mismatch_since: dt.datetime | None


class ConductBook(Protocol):
    """Where the account's conduct is read."""

    async def conduct(self, since: dt.datetime) -> Conduct:
        """Return the conduct, orders from `since` on. Raises UnavailableError."""
        ...


class ConductStore:
    """Implements `ConductBook`."""

    def __init__(self, database: Database, account_id: str) -> None:
        self._database = database
        self._account_id = account_id

    async def conduct(self, since: dt.datetime) -> Conduct:
        """Return the conduct, orders from `since` on."""
        async with self._database.read() as session:
            row = await session.row(_CONDUCT, {"account": self._account_id, "since": since})
        assert row is not None
        return Conduct(row["sent"], row["rejected"], row["mismatch_since"])
