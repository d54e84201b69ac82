"""A small HTTP stand-in for the risk manager, that judges as it is told to."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

from infra.embedded.ports import free_port
from libs.common.contracts.messages import ApprovedOrder
from libs.common.contracts.risk_api import AssessmentReply, AssessmentRequest
from libs.common.domain.vocabulary import Verdict
from tests.support.executor_orders import approval


class RiskStandIn:
    """Approves everything but the symbols it was told to deny; counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.late_s = 0.0
        self.deny: set[str] = set()
        self.approved: dict[uuid.UUID, ApprovedOrder] = {}

    async def judge(self, request: Request) -> Response:
        """Answer as the risk manager does."""
        self.asked += 1
        await asyncio.sleep(self.late_s)
        asked = AssessmentRequest.model_validate_json(await request.body())
        order: ApprovedOrder = approval(
            asked.order.to_spec(), order_id=asked.request_id, generation=1, reference_price="100"
        )
        denied = asked.order.symbol in self.deny
        if not denied:
            order = self.approved.setdefault(order.order_id, order)
        reply = AssessmentReply(
            verdict=Verdict.DENIED if denied else Verdict.APPROVED,
            code="RESTRICTED" if denied else "APPROVED",
            detail="by the stand-in",
            assessment=order.assessment,
            order=None if denied else order,
        )
        return Response(msgspec.json.encode(reply), media_type="application/json")


@asynccontextmanager
async def serving_risk(stand_in: RiskStandIn) -> AsyncIterator[str]:
    app = FastAPI()
    app.add_api_route("/api/v1/risk/assessments", stand_in.judge, methods=["POST"])
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving
