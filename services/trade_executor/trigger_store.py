"""Triggers in PostgreSQL; a change of status takes effect only from the status it was made for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update

from libs.common.contracts.messages import MarketData, Quote
from libs.common.contracts.risk_api import OrderFields
from libs.common.kernel.clock import to_ns
from libs.common.kernel.errors import NotFoundError
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.triggers import order_triggers as table
from services.trade_executor.lists_store import cursor, page
from services.trade_executor.ports import Page
from services.trade_executor.trigger import ENDED, Trigger, TriggerStatus, shown

_LAST_QUOTES = text(
    """
    SELECT s.symbol, q.bid, q.ask, q.ts FROM unnest(CAST(:symbols AS text[])) AS s(symbol)
    CROSS JOIN LATERAL (SELECT bid, ask, ts FROM market_quotes
                        WHERE symbol = s.symbol AND bid > 0 AND ask > 0
                        ORDER BY ts DESC LIMIT 1) AS q
    """
)


class TriggerStore:
    """Implements `TriggerBook`."""

    def __init__(self, runtime: Runtime) -> None:
        self._database = runtime.database
        self._clock = runtime.clock
        self._account = runtime.settings.account_id

    async def add(self, trigger: Trigger) -> Trigger:
        """Keep a new trigger; return the one that its id stands for already, if there is one."""
        row = {
            "id": trigger.id,
            "account_id": trigger.account_id,
            "idempotency_key": trigger.idempotency_key,
            "request": trigger.request,
            "symbol": trigger.symbol,
            "above": trigger.above,
            "below": trigger.below,
            "valid_until": trigger.valid_until,
            "status": trigger.status,
            "correlation_id": trigger.correlation_id,
            "created_at": trigger.created_at,
        }
        known = await self.find(trigger.id)
        if known is not None:
            return known
        async with self._database.write() as tx:
            await tx.execute(insert(table).values(row))
        return trigger

    async def find(self, trigger_id: UUID) -> Trigger | None:
        """Return a trigger."""
        async with self._database.read() as session:
            row = await session.row(select(table).where(table.c.id == trigger_id))
        return _trigger(row) if row else None

    async def get(self, trigger_id: UUID) -> Trigger:
        """Return a trigger. Raises NotFoundError."""
        found = await self.find(trigger_id)
        if found is None:
            raise NotFoundError(f"there is no trigger {trigger_id}")
        return found

    async def standing(self) -> list[Trigger]:
        """Return those that have not come to an end, oldest first."""
        query = (
            select(table)
            .where(table.c.account_id == self._account, table.c.status.not_in(sorted(ENDED)))
            .order_by(table.c.created_at, table.c.id)
        )
        async with self._database.read() as session:
            return [_trigger(row) for row in await session.rows(query)]

    async def move(
        self, trigger: Trigger, to: TriggerStatus, reason: str | None = None, **facts: Any
    ) -> Trigger | None:
        """Change a trigger's status; None if it no longer stands as `trigger` says."""
        now = self._clock.now()
        changed = {"status": to, "updated_at": now, "reason": reason, **facts}
        async with self._database.write() as tx:
            result = await tx.execute(
                update(table)
                .where(
                    table.c.id == trigger.id,
                    table.c.status == trigger.status,
                    table.c.firing == trigger.firing,
                )
                .values(**changed)
                .returning(table)
            )
            row = result.mappings().one_or_none()
        return _trigger(row) if row else None

    async def listed(
        self, *, limit: int, after: str | None, status: TriggerStatus | None, symbol: str | None
    ) -> Page:
        """Return one page, newest first."""
        query = select(table).where(table.c.account_id == self._account)
        if status is not None:
            query = query.where(table.c.status == status)
        if symbol is not None:
            query = query.where(table.c.symbol == symbol)
        query = page(query, table.c.created_at, table.c.id, limit, after)
        async with self._database.read() as session:
            found = [_trigger(row) for row in await session.rows(query)]
        following = cursor(found[-1].created_at, found[-1].id) if len(found) == limit else None
        return Page([shown(one) for one in found], following)

    async def last_quotes(self, symbols: Collection[str]) -> list[MarketData]:
        """Return the last stored quote of each symbol."""
        async with self._database.read() as session:
            rows = await session.rows(_LAST_QUOTES, {"symbols": sorted(symbols)})
        return [_quote(row) for row in rows]


def _quote(row: Mapping[Any, Any]) -> MarketData:
    ns = to_ns(row["ts"])
    quote = Quote(ts_event=ns, bid=float(row["bid"]), ask=float(row["ask"]))
    return MarketData(symbol=row["symbol"], provider="stored", ts_init=ns, quotes=(quote,))


def _trigger(row: Mapping[Any, Any]) -> Trigger:
    met_at: dt.datetime | None = row["met_at"]
    return Trigger(
        id=row["id"],
        account_id=row["account_id"],
        idempotency_key=row["idempotency_key"],
        request=row["request"],
        order=OrderFields.model_validate(row["request"]["order"]),
        correlation_id=row["correlation_id"],
        created_at=row["created_at"],
        above=row["above"],
        below=row["below"],
        valid_until=row["valid_until"],
        status=TriggerStatus(row["status"]),
        firing=row["firing"],
        met_price=row["met_price"],
        met_at=met_at,
        reason=row["reason"],
        updated_at=row["updated_at"],
    )
