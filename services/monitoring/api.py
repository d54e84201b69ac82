"""Monitoring's routes: health, alerts, deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from libs.common.domain.vocabulary import Level
from libs.common.runtime.app import json_response
from libs.common.runtime.auth.principal import principal
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from services.monitoring.alerts import AlertState
from services.monitoring.board import Board, ServiceHealth
from services.monitoring.ports import Alert, Alerts, DeliveryRow
from services.monitoring.shapes import HealthShape, ServiceShape

Limit = Annotated[int, Field(ge=1, le=1000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NoQuery(_Strict):
    """No parameters."""


class AlertsQuery(_Strict):
    """Which alerts; `after` is the `next` of the page before."""

    state: AlertState | None = None
    level: Level | None = None
    after: UUID | None = None
    limit: Limit = 100


class DeliveriesQuery(_Strict):
    """A page of the delivery log."""

    after: Annotated[int, Field(ge=1, le=2**62)] | None = None
    limit: Limit = 100


def router(board: Board, alerts: Alerts, channels: Sequence[str]) -> APIRouter:
    """Return the routes under `/api/v1/monitoring`."""
    routes = APIRouter(prefix="/api/v1/monitoring", tags=["monitoring"])

    @routes.get(
        "/health", dependencies=[requires("monitoring:read")], responses=answers(HealthShape)
    )
    async def health(query: Annotated[NoQuery, Query()]) -> Response:
        """How every service is, by the freshness of its heartbeat and its own word."""
        return json_response(
            {"state": board.state, "services": [_service(line) for line in board.lines]}
        )

    @routes.get(
        "/alerts", dependencies=[requires("monitoring:read")], responses=answers(page_of(Alert))
    )
    async def listed(query: Annotated[AlertsQuery, Query()]) -> Response:
        """Alerts, newest first."""
        found = await alerts.page(query.state, query.level, query.after, query.limit + 1)
        shown = found[: query.limit]
        following = shown[-1].id if len(found) > query.limit else None
        return json_response({"items": shown, "next": following})

    @routes.post(
        "/alerts/{alert_id}/acknowledge",
        dependencies=[requires("monitoring:write")],
        responses=answers(Alert, 409),
    )
    async def acknowledge(request: Request, alert_id: UUID) -> Response:
        """Mark an alert as seen by the caller: it is told again only if it gets worse."""
        return json_response(await alerts.acknowledge(alert_id, principal(request).actor))

    @routes.post(
        "/alerts/{alert_id}/resolve",
        dependencies=[requires("monitoring:write")],
        responses=answers(Alert, 409),
    )
    async def resolve(alert_id: UUID) -> Response:
        """Close an alert; the next occurrence opens a new one."""
        return json_response(await alerts.resolve(alert_id))

    @routes.get(
        "/notifications",
        dependencies=[requires("monitoring:read")],
        responses=answers(page_of(DeliveryRow, channels=list[str])),
    )
    async def notifications(query: Annotated[DeliveriesQuery, Query()]) -> Response:
        """What was sent to people and how it ended, newest first; `channels` are set up."""
        found = await alerts.deliveries(query.after, query.limit + 1)
        shown = found[: query.limit]
        following = shown[-1].id if len(found) > query.limit else None
        return json_response({"items": shown, "next": following, "channels": list(channels)})

    return routes


def _service(line: ServiceHealth) -> ServiceShape:
    found = line.judgement
    return {
        "service": found.service,
        "state": found.state,
        "since": line.since,
        "reasons": found.reasons,
        "heartbeat_age_s": found.age_s,
        "expected": line.expected,
        "instances": [
            {
                "instance": heartbeat.instance,
                "ready": heartbeat.ready,
                "reasons": heartbeat.reasons,
                "ts": heartbeat.ts,
                "started_at": heartbeat.started_at,
                "figures": heartbeat.figures,
            }
            for heartbeat in line.instances
        ],
    }
