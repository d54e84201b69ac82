"""Pages of orders, their events, trades and reconciliations, for people who look."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, tuple_

from libs.common.domain.vocabulary import OrderStatus
from libs.common.kernel.errors import InvalidInputError, NotFoundError
from libs.common.kernel.ids import OrderId
from libs.common.kernel.money import plain
from libs.common.runtime.database import Database
from libs.common.runtime.schema.execution import (
    discrepancies,
    order_events,
    orders,
    reconciliations,
    trades,
)
from services.trade_executor.model import Order
from services.trade_executor.ports import Page
from services.trade_executor.rows import order_from, shown, with_reversals

_SHOWN_OF_A_TRADE = (
    "id", "order_id", "account_id", "broker", "execution_id", "symbol", "side", "executed_at",
    "strategy_id", "signal_id", "correlation_id", "booked_at", "reversed_by", "reversed_kind",
)  # fmt: skip


class ListStore:
    """Reads lists, newest first, by cursor: what was added meanwhile never shifts a page."""

    def __init__(self, database: Database, account_id: str) -> None:
        self._database = database
        self._account_id = account_id

    async def order(self, order_id: UUID) -> Order:
        """Return an order. Raises NotFoundError."""
        async with self._database.read() as session:
            row = await session.row(select(orders).where(orders.c.id == order_id))
        if row is None:
            raise NotFoundError(f"there is no order {order_id}")
        return order_from(row)

    async def orders(
        self,
        *,
        limit: int,
        after: str | None,
        status: OrderStatus | None = None,
        open_only: bool = False,
        symbol: str | None = None,
        strategy_id: str | None = None,
    ) -> Page:
        """Return one page of orders."""
        query = select(orders).where(orders.c.account_id == self._account_id)
        if status is not None:
            query = query.where(orders.c.status == status)
        if open_only:
            ended = [one for one in OrderStatus if one.is_terminal]
            query = query.where(orders.c.status.not_in(ended))
        if symbol is not None:
            query = query.where(orders.c.symbol == symbol)
        if strategy_id is not None:
            query = query.where(orders.c.strategy_id == strategy_id)
        query = page(query, orders.c.created_at, orders.c.id, limit, after)
        async with self._database.read() as session:
            found = [order_from(row) for row in await session.rows(query)]
        following = None
        if len(found) == limit:
            following = cursor(found[-1].created_at, found[-1].id)
        return Page([shown(order) for order in found], following)

    async def events(self, order_id: OrderId) -> Page:
        """Return an order's whole history, oldest first. Raises NotFoundError."""
        await self.order(order_id)
        query = (
            select(order_events)
            .where(order_events.c.order_id == order_id)
            .order_by(order_events.c.seq)
        )
        async with self._database.read() as session:
            return Page([dict(row) for row in await session.rows(query)], None)

    async def trades(
        self,
        *,
        limit: int,
        after: str | None,
        symbol: str | None = None,
        order_id: UUID | None = None,
        strategy_id: str | None = None,
    ) -> Page:
        """Return one page of executions, those that were taken back marked by `reversed_by`."""
        query = with_reversals().where(trades.c.account_id == self._account_id)
        if symbol is not None:
            query = query.where(trades.c.symbol == symbol)
        if order_id is not None:
            query = query.where(trades.c.order_id == order_id)
        if strategy_id is not None:
            query = query.where(trades.c.strategy_id == strategy_id)
        query = page(query, trades.c.booked_at, trades.c.id, limit, after)
        async with self._database.read() as session:
            rows = await session.rows(query)
        items = [
            {
                **{name: row[name] for name in _SHOWN_OF_A_TRADE},
                "quantity": plain(row["quantity"]),
                "price": plain(row["executed_price"]),
                "commission": plain(row["commission"]),
                "fees": plain(row["fees"]),
                "realized_pnl": plain(row["realized_pnl"]),
            }
            for row in rows
        ]
        following = cursor(rows[-1]["booked_at"], rows[-1]["id"]) if len(rows) == limit else None
        return Page(items, following)

    async def reconciliation(self) -> dict[str, Any]:
        """Return the last runs and what is unresolved."""
        runs = (
            select(reconciliations)
            .where(reconciliations.c.account_id == self._account_id)
            .order_by(reconciliations.c.finished_at.desc())
            .limit(20)
        )
        unresolved = (
            select(discrepancies)
            .where(
                discrepancies.c.account_id == self._account_id,
                discrepancies.c.resolved_at.is_(None),
            )
            .order_by(discrepancies.c.opened_at)
        )
        async with self._database.read() as session:
            return {
                "runs": [dict(row) for row in await session.rows(runs)],
                "discrepancies": [dict(row) for row in await session.rows(unresolved)],
            }


def page(
    query: Select[Any],
    moment: ColumnElement[Any],
    identity: ColumnElement[Any],
    limit: int,
    after: str | None,
) -> Select[Any]:
    """Return `query` for one page, newest first, from the cursor `after` on."""
    if after is not None:
        query = query.where(tuple_(moment, identity) < _read_cursor(after))
    return query.order_by(moment.desc(), identity.desc()).limit(limit)


def cursor(moment: dt.datetime, identity: UUID) -> str:
    """Return where the page after this row begins."""
    return f"{moment.astimezone(dt.UTC):%Y%m%dT%H%M%S.%f}-{identity.hex}"


def _read_cursor(text: str) -> tuple[dt.datetime, UUID]:
    moment, _, identity = text.partition("-")
    try:
        when = dt.datetime.strptime(moment, "%Y%m%dT%H%M%S.%f").replace(tzinfo=dt.UTC)
        return when, UUID(hex=identity)
    except ValueError as error:
        raise InvalidInputError(f"after: {text!r} is not a cursor of this list") from error
