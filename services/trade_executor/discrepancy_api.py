"""HTTP: discrepancies with the broker, seen and closed by people."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from libs.common.runtime.app import json_response
from libs.common.runtime.auth.principal import principal
from libs.common.runtime.openapi import answers
from libs.common.runtime.permissions import requires
from services.trade_executor.discrepancies import DiscrepancyDesk
from services.trade_executor.shapes import DISCREPANCY

PREFIX = "/api/v1/orders/reconciliation/discrepancies"
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]


class Statement(BaseModel):
    """What a person says of a discrepancy."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


def discrepancy_routes(desk: DiscrepancyDesk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix=PREFIX, tags=["records"])
    settle = requires("orders:reconcile")

    @router.post(
        "/{discrepancy_id}/acknowledge", dependencies=[settle], responses=answers(DISCREPANCY, 409)
    )
    async def acknowledge(request: Request, discrepancy_id: UUID, said: Statement) -> Response:
        """Note that somebody looks after it. It goes on blocking; 409 if it is resolved."""
        return json_response(
            await desk.acknowledge(
                discrepancy_id, reason=said.reason, actor=principal(request).actor
            )
        )

    @router.post(
        "/{discrepancy_id}/resolve", dependencies=[settle], responses=answers(DISCREPANCY, 409)
    )
    async def resolve(request: Request, discrepancy_id: UUID, said: Statement) -> Response:
        """Close it with a reason: its symbol trades again, an order that the broker does not know
        ends as `canceled`. What still differs comes back as a new one; 409 if it is resolved."""
        return json_response(
            await desk.resolve(discrepancy_id, reason=said.reason, actor=principal(request).actor)
        )

    return router
