"""The table of unreadable things keeps the newest."""

from __future__ import annotations

import datetime as dt

from libs.common.runtime.database import Database
from services.trade_executor.quarantine import Unreadable
from services.trade_executor.quarantine_store import BrokerQuarantineStore


async def test_the_oldest_are_forgotten(database_url: str) -> None:
    database = Database(database_url, pool_size=1, timeout_s=5, name="test")
    store = BrokerQuarantineStore(database, rows_max=3)
    now = dt.datetime.now(dt.UTC)
    try:
        for number in range(5):
            body = f"{number}".encode()
            await store.keep([Unreadable(now, "answer", "account", "no", 200, body, len(body))])
        page = await store.page(limit=2, after=None)
        assert [one["body"] for one in page.items] == ["4", "3"]
        rest = await store.page(limit=2, after=page.next)
        assert [one["body"] for one in rest.items] == ["2"]
    finally:
        await database.close()
