"""HTTP: proposals listed, agreed to, refused; the same in every service that has some."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypedDict
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from libs.common.kernel.ids import IdSource
from libs.common.runtime.app import json_response
from libs.common.runtime.auth.principal import principal
from libs.common.runtime.four_eyes import FourEyes, Proposal
from libs.common.runtime.logging import correlation_id_var
from libs.common.runtime.openapi import Responses, answers, page_of
from libs.common.runtime.permissions import requires

Limit = Annotated[int, Query(ge=1, le=500)]


class ProposalShape(TypedDict):
    """A wish that waits for a second person, or what became of it."""

    id: UUID
    service: str
    account_id: str
    action: str
    state: str
    summary: str
    reason: str
    body: dict[str, Any]
    proposed_by: str
    proposed_at: dt.datetime
    expires_at: dt.datetime
    decided_by: str | None
    decided_at: dt.datetime | None
    outcome: str | None


WAITS: Responses = answers(ProposalShape, status=202)
"""The answer of a route whose act has become a proposal."""


def proposal_view(proposal: Proposal, now: dt.datetime) -> ProposalShape:
    """Return a proposal as the API shows it."""
    body = dict(proposal.body)
    return {
        "id": proposal.id,
        "service": proposal.service,
        "account_id": proposal.account_id,
        "action": proposal.action,
        "state": proposal.state(now),
        "summary": body.pop("summary"),
        "reason": body.pop("reason"),
        "body": body,
        "proposed_by": proposal.proposed_by,
        "proposed_at": proposal.proposed_at,
        "expires_at": proposal.expires_at,
        "decided_by": proposal.decided_by,
        "decided_at": proposal.decided_at,
        "outcome": proposal.outcome,
    }


def waits(eyes: FourEyes, proposal: Proposal) -> Response:
    """Return the answer 202 with a proposal that waits."""
    return json_response(proposal_view(proposal, eyes.now()), status=202)


def proposal_routes(
    prefix: str,
    area: str,
    eyes: FourEyes,
    ids: IdSource,
    *,
    route_class: type[APIRoute] = APIRoute,
) -> APIRouter:
    """Return the routes under `<prefix>/proposals`."""
    router = APIRouter(prefix=f"{prefix}/proposals", tags=["proposals"], route_class=route_class)
    approve = [requires(f"{area}:approve", step_up=True)]

    async def decided(
        request: Request, decide: Callable[[Any, UUID], Awaitable[Proposal]]
    ) -> Response:
        proposal = await decide(principal(request), correlation_id_var.get() or ids.new())
        return json_response(proposal_view(proposal, eyes.now()))

    @router.get(
        "", dependencies=[requires(f"{area}:read")], responses=answers(page_of(ProposalShape))
    )
    async def listed(limit: Limit = 50, after: UUID | None = None) -> Response:
        """List proposals, newest first: those that wait, and what became of the others."""
        found = await eyes.page(limit=limit, after=after)
        following = str(found[-1].id) if len(found) == limit else None
        now = eyes.now()
        return json_response(
            {"items": [proposal_view(one, now) for one in found], "next": following}
        )

    @router.post(
        "/{proposal_id}/approve", dependencies=approve, responses=answers(ProposalShape, 409)
    )
    async def agree(request: Request, proposal_id: UUID) -> Response:
        """Agree to a proposal of somebody else; it is carried out at once. 409 where it waits no
        more, or what it would change is not as it was."""
        return await decided(
            request, lambda who, correlation: eyes.approve(proposal_id, who, correlation)
        )

    @router.post(
        "/{proposal_id}/reject",
        dependencies=[requires(f"{area}:approve")],
        responses=answers(ProposalShape, 409),
    )
    async def refuse(request: Request, proposal_id: UUID) -> Response:
        """Refuse a proposal, or withdraw one's own."""
        return await decided(
            request, lambda who, correlation: eyes.reject(proposal_id, who, correlation)
        )

    return router
