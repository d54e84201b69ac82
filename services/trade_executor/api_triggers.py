"""HTTP: orders kept back until their price is met."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from libs.common.contracts.risk_api import Name
from libs.common.kernel.ids import IdSource
from libs.common.runtime.app import json_response
from libs.common.runtime.logging import correlation_id_var
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from libs.common.runtime.readiness import Readiness
from services.trade_executor.answering import Answering
from services.trade_executor.api_orders import PREFIX, READ, WRITE, Key, Limit, require_started
from services.trade_executor.rows import paged
from services.trade_executor.shapes import TriggerShape
from services.trade_executor.trigger import TriggerFields, TriggerStatus, shown
from services.trade_executor.trigger_store import TriggerStore
from services.trade_executor.triggers import Triggers


def trigger_routes(
    triggers: Triggers,
    store: TriggerStore,
    readiness: Readiness,
    ids: IdSource,
    answer: Answering,
) -> APIRouter:
    """Return the routes of triggers."""
    router = APIRouter(prefix=f"{PREFIX}/triggers", tags=["triggers"])

    @router.post(
        "", dependencies=[WRITE], status_code=201, responses=answers(TriggerShape, 409, status=201)
    )
    async def keep_trigger(fields: TriggerFields, idempotency_key: Key) -> Response:
        """Keep an order until the market is at or beyond a price; it is judged when it fires.
        The same key gives the same trigger; 409 if the key was used for another one."""
        require_started(readiness)
        correlation_id = correlation_id_var.get() or ids.new()
        kept = await answer.of(triggers.keep(fields, idempotency_key, correlation_id))
        return json_response(shown(kept), status=201)

    @router.get("", dependencies=[READ], responses=answers(page_of(TriggerShape)))
    async def list_triggers(
        limit: Limit = 50,
        after: str | None = None,
        status: TriggerStatus | None = None,
        symbol: Name | None = None,
    ) -> Response:
        """List triggers, newest first."""
        return paged(await store.listed(limit=limit, after=after, status=status, symbol=symbol))

    @router.get("/{trigger_id}", dependencies=[READ], responses=answers(TriggerShape))
    async def show_trigger(trigger_id: UUID) -> Response:
        """Show one trigger; `order_id` names the order that it sent."""
        return json_response(shown(await store.get(trigger_id)))

    @router.delete(
        "", dependencies=[requires("orders:cancel")], responses=answers(page_of(TriggerShape), 409)
    )
    async def cancel_triggers(symbol: Name | None = None) -> Response:
        """Cancel all that wait, of one symbol where it is given."""
        canceled = await answer.of(triggers.cancel_all("cancel all by request", symbol=symbol))
        return json_response({"items": [shown(one) for one in canceled], "next": None})

    @router.delete(
        "/{trigger_id}",
        dependencies=[requires("orders:cancel")],
        responses=answers(TriggerShape, 409),
    )
    async def cancel_trigger(trigger_id: UUID) -> Response:
        """Cancel a trigger; 409 where it has fired or ended."""
        return json_response(
            shown(await answer.of(triggers.cancel(trigger_id, "cancel by request")))
        )

    return router
