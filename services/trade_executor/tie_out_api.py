"""HTTP: the daily tie-outs with the broker."""

from __future__ import annotations

import datetime as dt

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

from libs.common.runtime.app import json_response
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from libs.common.runtime.readiness import Readiness
from services.trade_executor.api_orders import PREFIX, READ, Limit, require_started
from services.trade_executor.rows import paged
from services.trade_executor.shapes import TIE_OUT
from services.trade_executor.tie_out_store import TieOutStore
from services.trade_executor.tie_outs import TieOuts


class TieOutFields(BaseModel):
    """Which market day; the last closed one if none is named."""

    model_config = ConfigDict(extra="forbid")

    day: dt.date | None = None


def tie_out_routes(tie_outs: TieOuts, store: TieOutStore, readiness: Readiness) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix=f"{PREFIX}/tieouts", tags=["records"])

    @router.get("", dependencies=[READ], responses=answers(page_of(TIE_OUT)))
    async def list_tie_outs(
        limit: Limit = 50, after: str | None = None, day: dt.date | None = None
    ) -> Response:
        """List attempts, newest first: both sides' figures of the day, what differs, and the cash
        from the tie-out of the day before to this one."""
        return paged(await store.page(limit=limit, after=after, day=day))

    @router.post(
        "",
        dependencies=[requires("orders:reconcile")],
        status_code=201,
        responses=answers(TIE_OUT, 409, status=201),
    )
    async def tie_out(fields: TieOutFields | None = None) -> Response:
        """Tie out a closed market day now, the last one unless `day` says otherwise. Every
        attempt is kept; 409 for a day that has not closed or was before the books began."""
        require_started(readiness)
        return json_response(await tie_outs.now(fields.day if fields else None), status=201)

    return router
