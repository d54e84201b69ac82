"""HTTP: orders placed by people, lists, cancels, reconciliation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from libs.common.contracts.risk_api import Name, OrderFields
from libs.common.domain.vocabulary import OrderStatus
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import IdSource, OrderId
from libs.common.runtime.app import json_response
from libs.common.runtime.logging import correlation_id_var
from libs.common.runtime.permissions import requires
from libs.common.runtime.readiness import Readiness
from services.trade_executor.answering import Answering
from services.trade_executor.cancels import Cancels
from services.trade_executor.dossier_store import DossierStore
from services.trade_executor.lists_store import ListStore
from services.trade_executor.placing import Placing
from services.trade_executor.ports import Page
from services.trade_executor.reconciliation import Reconciliation
from services.trade_executor.rows import shown

Limit = Annotated[int, Query(ge=1, le=500)]
Key = Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=128)]
Status = OrderStatus | Literal["open"]

READ, WRITE = requires("orders:read"), requires("orders:write")
PREFIX = "/api/v1/orders"


def routes(
    *,
    placing: Placing,
    cancels: Cancels,
    reconciliation: Reconciliation,
    lists: ListStore,
    dossiers: DossierStore,
    blocks: Callable[[], dict[str, list[str]]],
    readiness: Readiness,
    ids: IdSource,
    answer_s_max: float,
) -> list[APIRouter]:
    """Return the service's routes."""
    answer = Answering(readiness, answer_s_max)
    return [
        _order_routes(placing, cancels, lists, readiness, ids, answer),
        _record_routes(reconciliation, lists, blocks),
        _one_order_routes(cancels, lists, dossiers, answer),
    ]


def _order_routes(
    placing: Placing,
    cancels: Cancels,
    lists: ListStore,
    readiness: Readiness,
    ids: IdSource,
    answer: Answering,
) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["orders"])

    @router.post("", dependencies=[WRITE], status_code=201)
    async def place_order(fields: OrderFields, idempotency_key: Key) -> Response:
        """Place an order. It is judged by the risk manager; a denial is an order with status
        `denied` and its reason. The same key gives the same order; 409 if the key was used for
        another one; 503 until the books are known to agree with the broker's, and where they
        cannot be written in time: ask again with the same key."""
        if "start" in readiness.reasons:
            raise UnavailableError("orders are taken once the start-up reconciliation is done")
        correlation_id = correlation_id_var.get() or ids.new()
        order = await answer.of(placing.place(fields, idempotency_key, correlation_id))
        return json_response(shown(order), status=201)

    @router.get("", dependencies=[READ])
    async def list_orders(
        limit: Limit = 50,
        after: str | None = None,
        status: Status | None = None,
        symbol: Name | None = None,
        strategy_id: Name | None = None,
    ) -> Response:
        """List orders, newest first; `status=open` for all that have not ended."""
        page = await lists.orders(
            limit=limit,
            after=after,
            status=status if isinstance(status, OrderStatus) else None,
            open_only=status == "open",
            symbol=symbol,
            strategy_id=strategy_id,
        )
        return _paged(page)

    @router.delete("", dependencies=[requires("orders:cancel")])
    async def cancel_all_orders() -> Response:
        """Ask for the cancel of every open order; lists those that were asked for."""
        asked = await answer.of(
            cancels.cancel_open("cancel all by request", spare_protective=False)
        )
        return json_response({"items": [shown(order) for order in asked], "next": None}, status=202)

    return router


def _record_routes(
    reconciliation: Reconciliation,
    lists: ListStore,
    blocks: Callable[[], dict[str, list[str]]],
) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["records"])

    @router.get("/trades", dependencies=[READ])
    async def list_trades(
        limit: Limit = 50,
        after: str | None = None,
        symbol: Name | None = None,
        order_id: UUID | None = None,
        strategy_id: Name | None = None,
    ) -> Response:
        """List executions, newest first."""
        page = await lists.trades(
            limit=limit, after=after, symbol=symbol, order_id=order_id, strategy_id=strategy_id
        )
        return _paged(page)

    @router.get("/reconciliation", dependencies=[READ])
    async def show_reconciliation() -> Response:
        """Show the last comparisons with the broker, open discrepancies, blocked symbols."""
        return json_response({**await lists.reconciliation(), "blocks": blocks()})

    @router.post("/reconciliation", dependencies=[requires("orders:reconcile")])
    async def reconcile() -> Response:
        """Compare everything with the broker now; returns what was found."""
        findings = await reconciliation.run("request", balances=True, deep=True)
        return json_response({**findings.shown(), **await lists.reconciliation()})

    return router


def _one_order_routes(
    cancels: Cancels, lists: ListStore, dossiers: DossierStore, answer: Answering
) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["orders"])

    @router.get("/{order_id}", dependencies=[READ])
    async def show_order(order_id: UUID) -> Response:
        """Show one order."""
        return json_response(shown(await lists.order(order_id)))

    @router.get("/{order_id}/events", dependencies=[READ])
    async def list_order_events(order_id: UUID) -> Response:
        """List everything that happened to an order, oldest first."""
        return _paged(await lists.events(OrderId(order_id)))

    @router.get("/{order_id}/dossier", dependencies=[READ])
    async def show_order_dossier(order_id: UUID) -> Response:
        """Show an order's whole story: what led to it, its judgement, events, executions and
        ledger lines, how long each leg took, and its cost against the arrival price."""
        return json_response(await dossiers.dossier(order_id))

    @router.delete("/{order_id}", dependencies=[requires("orders:cancel")])
    async def cancel_order(order_id: UUID) -> Response:
        """Ask for a cancel. 202: a cancel is a wish until the order says `canceled`, a fill may
        come first. 409 where the order has ended or is just being sent."""
        order = await answer.of(cancels.cancel(OrderId(order_id), "cancel by request"))
        return json_response(shown(order), status=202)

    return router


def _paged(page: Page) -> Response:
    body: dict[str, Any] = {"items": page.items, "next": page.next}
    return json_response(body)
