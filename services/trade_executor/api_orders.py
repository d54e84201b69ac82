"""HTTP: orders placed, amended and cancelled by people."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from fastapi import APIRouter, Header, Query
from fastapi.responses import HTMLResponse, Response

from libs.common.contracts.risk_api import Name, OrderFields
from libs.common.domain.vocabulary import OrderStatus
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import IdSource, OrderId
from libs.common.runtime.app import json_response
from libs.common.runtime.logging import correlation_id_var
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from libs.common.runtime.readiness import Readiness
from services.trade_executor.amending import AmendFields
from services.trade_executor.amends import Amends
from services.trade_executor.answering import Answering
from services.trade_executor.cancels import Cancels
from services.trade_executor.dossier_page import POLICY, dossier_page
from services.trade_executor.dossier_store import DossierStore
from services.trade_executor.lists_store import ListStore
from services.trade_executor.placing import Placing
from services.trade_executor.rows import paged, shown
from services.trade_executor.shapes import ORDER_EVENT, DossierShape, OrderShape

Limit = Annotated[int, Query(ge=1, le=500)]
Key = Annotated[
    str, Header(alias="Idempotency-Key", min_length=1, max_length=128, pattern=r"^[!-~]+$")
]
Status = OrderStatus | Literal["open"]

READ, WRITE = requires("orders:read"), requires("orders:write")
PREFIX = "/api/v1/orders"


def require_started(readiness: Readiness) -> None:
    """Raise UnavailableError until the books are known to agree with the broker's."""
    if "start" in readiness.reasons:
        raise UnavailableError("orders are taken once the start-up reconciliation is done")


def order_routes(
    placing: Placing,
    cancels: Cancels,
    lists: ListStore,
    readiness: Readiness,
    ids: IdSource,
    answer: Answering,
) -> APIRouter:
    """Return the routes of the list: place, list, cancel all."""
    router = APIRouter(prefix=PREFIX, tags=["orders"])

    @router.post(
        "", dependencies=[WRITE], status_code=201, responses=answers(OrderShape, 409, status=201)
    )
    async def place_order(fields: OrderFields, idempotency_key: Key) -> Response:
        """Place an order. It is judged by the risk manager; a denial is an order with status
        `denied` and its reason. The same key gives the same order; 409 if the key was used for
        another one; 503 until the books are known to agree with the broker's, and where they
        cannot be written in time: ask again with the same key."""
        require_started(readiness)
        correlation_id = correlation_id_var.get() or ids.new()
        order = await answer.of(placing.place(fields, idempotency_key, correlation_id))
        return json_response(shown(order), status=201)

    @router.get("", dependencies=[READ], responses=answers(page_of(OrderShape)))
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
        return paged(page)

    @router.delete(
        "",
        status_code=202,
        dependencies=[requires("orders:cancel")],
        responses=answers(page_of(OrderShape), 409, status=202),
    )
    async def cancel_all_orders(symbol: Name | None = None) -> Response:
        """Ask for the cancel of every open order, of one symbol where it is given; lists those
        that were asked for."""
        asked = await answer.of(
            cancels.cancel_open("cancel all by request", spare_protective=False, symbol=symbol)
        )
        return json_response({"items": [shown(order) for order in asked], "next": None}, status=202)

    return router


def one_order_routes(
    amends: Amends,
    cancels: Cancels,
    lists: ListStore,
    dossiers: DossierStore,
    readiness: Readiness,
    ids: IdSource,
    answer: Answering,
) -> APIRouter:
    """Return the routes of one order."""
    router = APIRouter(prefix=PREFIX, tags=["orders"])

    @router.get("/{order_id}", dependencies=[READ], responses=answers(OrderShape))
    async def show_order(order_id: UUID) -> Response:
        """Show one order."""
        return json_response(shown(await lists.order(order_id)))

    @router.get("/{order_id}/events", dependencies=[READ], responses=answers(page_of(ORDER_EVENT)))
    async def list_order_events(order_id: UUID) -> Response:
        """List everything that happened to an order, oldest first."""
        return paged(await lists.events(OrderId(order_id)))

    @router.get("/{order_id}/dossier", dependencies=[READ], responses=answers(DossierShape))
    async def show_order_dossier(order_id: UUID) -> Response:
        """Show an order's whole story: what led to it, its judgement, events, executions and
        ledger lines, how long each leg took, and its cost against the arrival price."""
        return json_response(await dossiers.dossier(order_id))

    @router.get(
        "/{order_id}/dossier/page",
        dependencies=[READ],
        response_class=HTMLResponse,
        responses=answers(None, media={"text/html": {"type": "string"}}),
    )
    async def show_order_dossier_page(order_id: UUID) -> Response:
        """The same as a page to keep or print: no script, nothing loaded from elsewhere."""
        dossier = msgspec.json.decode(json_response(await dossiers.dossier(order_id)).body)
        headers = {"Content-Security-Policy": POLICY}
        return HTMLResponse(dossier_page(dossier), headers=headers)

    @router.patch(
        "/{order_id}",
        dependencies=[WRITE],
        status_code=202,
        responses=answers(OrderShape, 409, status=202),
    )
    async def amend_order(order_id: UUID, fields: AmendFields, idempotency_key: Key) -> Response:
        """Amend an order: quantity (the total, executions included), prices, time in force. It is
        judged as an order is; the answer is the order that is to take its place, and until that
        says `working` the old one stands. 409 where the order or the broker does not allow it."""
        require_started(readiness)
        correlation_id = correlation_id_var.get() or ids.new()
        order = await answer.of(
            amends.amend(OrderId(order_id), fields, idempotency_key, correlation_id)
        )
        return json_response(shown(order), status=202)

    @router.delete(
        "/{order_id}",
        status_code=202,
        dependencies=[requires("orders:cancel")],
        responses=answers(OrderShape, 409, status=202),
    )
    async def cancel_order(order_id: UUID) -> Response:
        """Ask for a cancel. 202: a cancel is a wish until the order says `canceled`, a fill may
        come first. 409 where the order has ended or is just being sent."""
        order = await answer.of(cancels.cancel(OrderId(order_id), "cancel by request"))
        return json_response(shown(order), status=202)

    return router
