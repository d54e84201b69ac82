"""HTTP: positions closed by people."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from libs.common.contracts.risk_api import Name
from libs.common.kernel.ids import IdSource, Symbol
from libs.common.runtime.app import json_response
from libs.common.runtime.logging import correlation_id_var
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from libs.common.runtime.readiness import Readiness
from services.trade_executor.answering import Answering
from services.trade_executor.api_orders import PREFIX, READ, Key, Limit, require_started
from services.trade_executor.closing import CloseFields
from services.trade_executor.closing_store import ClosingStore, shown
from services.trade_executor.closings import Closings
from services.trade_executor.shapes import ClosingShape

CLOSE = requires("orders:close")


def closing_routes(
    closings: Closings, store: ClosingStore, readiness: Readiness, ids: IdSource, answer: Answering
) -> APIRouter:
    """Return the routes of closings."""
    router = APIRouter(prefix=PREFIX, tags=["positions"])

    @router.post(
        "/positions/close",
        dependencies=[CLOSE],
        status_code=202,
        responses=answers(page_of(ClosingShape), 409, status=202),
    )
    async def close_all_positions(idempotency_key: Key) -> Response:
        """Close every position, the largest first. 202: each is on record and goes on by itself;
        ask for it under `/closings/{id}`."""
        require_started(readiness)
        begun = await answer.of(closings.close_all(idempotency_key))
        return json_response({"items": [shown(one) for one in begun], "next": None}, status=202)

    @router.post(
        "/positions/{symbol}/close",
        dependencies=[CLOSE],
        status_code=202,
        responses=answers(ClosingShape, 409, status=202),
    )
    async def close_position(
        symbol: Name, idempotency_key: Key, fields: CloseFields | None = None
    ) -> Response:
        """Close a position, or `quantity` or `percent` of it. What reserves its shares is
        cancelled first, and placed again if the close fails. The same key is the same closing;
        409 if it was used for another wish, 404 where nothing is held."""
        require_started(readiness)
        correlation_id = correlation_id_var.get() or ids.new()
        begun = await answer.of(
            closings.close(Symbol(symbol), fields or CloseFields(), idempotency_key, correlation_id)
        )
        return json_response(shown(begun), status=202)

    @router.get("/closings", dependencies=[READ], responses=answers(page_of(ClosingShape)))
    async def list_closings(limit: Limit = 50) -> Response:
        """List closings, newest first."""
        found = await store.recent(limit)
        return json_response({"items": [shown(one) for one in found], "next": None})

    @router.get("/closings/{closing_id}", dependencies=[READ], responses=answers(ClosingShape))
    async def show_closing(closing_id: UUID) -> Response:
        """Show how far a closing has come: `open`, `closed`, or `failed` with the reason."""
        return json_response(shown(await store.get(closing_id)))

    return router
