"""The portfolio's routes: account, positions, strategies, snapshots, equity, ledger."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.kernel.money import plain
from libs.common.runtime.app import json_response
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from services.portfolio.day import Snapshot, day_return
from services.portfolio.handlers import Keeper, Present
from services.portfolio.logic import ValuedPosition
from services.portfolio.ports import Days, EquityPoint, StatementLine, Statements, Wanted
from services.portfolio.shapes import AccountShape, ShareShape, SnapshotShape
from services.portfolio.shares import ValuedShare

Limit = Annotated[int, Field(ge=1, le=1000)]
PERMISSION = "portfolio:read"


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PageQuery(_Query):
    """A page of snapshots; `after` is the `next` of the page before."""

    limit: Limit = 100
    after: dt.date | None = None


class EquityQuery(_Query):
    """A stretch of the equity series, market time."""

    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000


class LedgerQuery(_Query):
    """A page of the statement; `ledger` is a currency or a symbol, `start` and `end` wall time."""

    ledger: Annotated[str, Field(pattern=r"^[A-Z0-9.\-/]{1,32}$")] | None = None
    order_id: UUID | None = None
    trade_id: UUID | None = None
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    limit: Limit = 100
    after: Annotated[int, Field(ge=1, le=2**62)] | None = None


class SharesQuery(_Query):
    """One strategy, or all."""

    strategy_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] | None = None


def router(keeper: Keeper, days: Days, statements: Statements) -> APIRouter:
    """Return the routes under `/api/v1/portfolio`."""
    routes = APIRouter(prefix="/api/v1/portfolio", tags=["portfolio"])
    account_id = keeper.settings.account_id

    @routes.get("/account", dependencies=[requires(PERMISSION)], responses=answers(AccountShape))
    async def account() -> Response:
        """The account's values at their last valuation."""
        return json_response(_account(account_id, _present(keeper)))

    @routes.get(
        "/positions",
        dependencies=[requires(PERMISSION)],
        responses=answers(page_of(ValuedPosition)),
    )
    async def positions() -> Response:
        """Open positions at their marks; `stale` where the mark is old or none at all."""
        values = _present(keeper).values
        return json_response({"items": [_position(p) for p in values.positions], "next": None})

    @routes.get(
        "/strategies", dependencies=[requires(PERMISSION)], responses=answers(page_of(ShareShape))
    )
    async def strategies(query: Annotated[SharesQuery, Query()]) -> Response:
        """What each strategy holds and has made in each symbol; null for no strategy's orders.

        Over all of them `pnl` sums to the account's total P&L.
        """
        valued = await keeper.shares(query.strategy_id)
        return json_response({"items": [_share(one) for one in valued], "next": None})

    @routes.get(
        "/snapshots", dependencies=[requires(PERMISSION)], responses=answers(page_of(SnapshotShape))
    )
    async def snapshots(query: Annotated[PageQuery, Query()]) -> Response:
        """Daily snapshots, newest first."""
        found = await days.snapshots(query.after, query.limit + 1)
        return _page([_snapshot(s) for s in found], query.limit, "date")

    @routes.get(
        "/equity", dependencies=[requires(PERMISSION)], responses=answers(page_of(EquityPoint))
    )
    async def equity(query: Annotated[EquityQuery, Query()]) -> Response:
        """The equity series, oldest first; the newest `limit` points of the stretch."""
        if query.start is not None and query.end is not None and query.start >= query.end:
            raise InvalidInputError("start: must be before end")
        points = await days.equity(query.start, query.end, query.limit)
        return json_response({"items": points, "next": None})

    @routes.get(
        "/ledger", dependencies=[requires(PERMISSION)], responses=answers(page_of(StatementLine))
    )
    async def ledger(query: Annotated[LedgerQuery, Query()]) -> Response:
        """The account's ledger lines, newest first."""
        if query.start is not None and query.end is not None and query.start >= query.end:
            raise InvalidInputError("start: must be before end")
        wanted = Wanted(query.ledger, query.order_id, query.trade_id, query.start, query.end)
        lines = await statements.statement(wanted, query.after, query.limit + 1)
        return _page([msgspec.to_builtins(line) for line in lines], query.limit, "seq")

    return routes


def _present(keeper: Keeper) -> Present:
    if keeper.present is None:
        raise UnavailableError(f"account {keeper.settings.account_id} has not been valued yet")
    return keeper.present


def _page(items: Sequence[Mapping[str, Any]], limit: int, cursor: str) -> Response:
    shown = items[:limit]
    following = shown[-1][cursor] if len(items) > limit else None
    return json_response({"items": shown, "next": following})


def _account(account_id: str, present: Present) -> AccountShape:
    values, opening = present.values, present.opening
    return {
        "account_id": account_id,
        "ts": present.ts,
        "session": present.session,
        "trading_date": opening.date,
        "equity": values.equity,
        "cash": values.cash,
        "cash_held": values.held,
        "cash_available": values.cash - values.held,
        "long_value": values.long_value,
        "short_value": values.short_value,
        "gross_exposure": values.gross,
        "net_exposure": values.net,
        "opening_equity": opening.equity,
        "day_pnl": present.day_pnl,
        "day_return": day_return(opening, present.day_pnl),
        "realized_pnl": values.realized_pnl,
        "unrealized_pnl": values.unrealized_pnl,
        "fees": values.fees,
        "income": values.income,
        "total_pnl": values.total_pnl,
        "positions": len(values.positions),
        "stale": list(values.stale),
    }


def _position(position: ValuedPosition) -> dict[str, Any]:
    return {
        "symbol": position.symbol,
        "quantity": position.quantity,
        "avg_cost": position.avg_cost,
        "mark": position.mark,
        "mark_source": position.mark_source,
        "mark_ts": position.mark_ts,
        "market_value": position.market_value,
        "unrealized_pnl": position.unrealized_pnl,
        "realized_pnl": position.realized_pnl,
        "stale": position.stale,
    }


def _share(valued: ValuedShare) -> ShareShape:
    return {
        "strategy_id": valued.share.strategy_id,
        "symbol": valued.share.symbol,
        "quantity": plain(valued.share.quantity),
        "cash": valued.share.cash,
        "mark": valued.mark,
        "market_value": valued.market_value,
        "pnl": valued.pnl,
    }


def _snapshot(snapshot: Snapshot) -> SnapshotShape:
    return {
        "account_id": snapshot.account_id,
        "date": snapshot.date,
        "total_value": snapshot.total_value,
        "cash_balance": snapshot.cash_balance,
        "invested_value": snapshot.invested_value,
        "opening_value": snapshot.opening.equity,
        "day_pnl": snapshot.day_pnl,
        "total_pnl": snapshot.total_pnl,
        "performance_metrics": snapshot.metrics,
        "final": snapshot.final,
    }
