"""Audit's routes: the record, its verification, and the story of one id."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.common.kernel.errors import ConflictError, NotFoundError
from libs.common.runtime.app import json_response
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from services.audit.guard import ChainGuard
from services.audit.logic import Row, Verification
from services.audit.ports import AuditLog, Filters, Stories
from services.audit.sealing import Sealer
from services.audit.shapes import EventShape, VerificationShape
from services.audit.story import Story, tell

SEQ_MAX = 2**62
Word = Annotated[str, Field(min_length=1, max_length=200)]
Seq = Annotated[int, Field(ge=1, le=SEQ_MAX)]


class EventsQuery(BaseModel):
    """Filters of `GET /events`; `after` is the `next` of the page before."""

    model_config = ConfigDict(extra="forbid")

    event_type: Word | None = None
    actor: Word | None = None
    action: Word | None = None
    resource: Word | None = None
    outcome: Word | None = None
    channel: Word | None = None
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    message_id: UUID | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    recorded_since: AwareDatetime | None = None
    recorded_until: AwareDatetime | None = None
    text: Word | None = None
    after: Seq | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class SensitiveQuery(EventsQuery):
    """The same, and by what is sealed."""

    ip: Word | None = None
    user_agent: Word | None = None


class VerifyQuery(BaseModel):
    """The part of the chain to read; all of it unless said."""

    model_config = ConfigDict(extra="forbid")

    first_seq: Seq = 1
    last_seq: Seq | None = None


def router(
    log: AuditLog, stories: Stories, guard: ChainGuard, sealer: Sealer | None = None
) -> APIRouter:
    """Return the routes under `/api/v1/audit`."""
    routes = APIRouter(prefix="/api/v1/audit", tags=["audit"])

    @routes.get(
        "/events", dependencies=[requires("audit:read")], responses=answers(page_of(EventShape))
    )
    async def events(query: Annotated[EventsQuery, Query()]) -> Response:
        """Recorded events, newest first; personal details are sealed. A search by `text` looks
        through so many rows a page: a page without items may still have a `next`."""
        filters = Filters(**query.model_dump(exclude={"after", "limit"}))
        page = await log.page(filters, query.after, query.limit)
        return json_response({"items": [_shown(row) for row in page.rows], "next": page.next})

    @routes.get(
        "/events/sensitive",
        dependencies=[requires("audit:read_sensitive")],
        responses=answers(page_of(EventShape), 409),
    )
    async def sensitive(query: Annotated[SensitiveQuery, Query()]) -> Response:
        """Recorded events with their personal details; also by address or user agent."""
        if sealer is None:
            raise ConflictError("nothing is sealed here: TRADEWIND_ENCRYPTION_KEYS is not set")
        await sealer.load()
        wanted = query.model_dump(exclude={"after", "limit", "ip", "user_agent"})
        sealed = {
            name: sealer.tokens(name, value)
            for name, value in (("ip", query.ip), ("user_agent", query.user_agent))
            if value is not None
        }
        page = await log.page(Filters(**{**wanted, **sealed}), query.after, query.limit)
        items = [sealer.revealed(_read(row)) for row in page.rows]
        return json_response({"items": items, "next": page.next})

    @routes.get(
        "/verify", dependencies=[requires("audit:read")], responses=answers(VerificationShape)
    )
    async def verify(query: Annotated[VerifyQuery, Query()]) -> Response:
        """Read the hash chain and name the first row that does not fit, if any."""
        return json_response(outcome(await guard.verify(query.first_seq, query.last_seq)))

    @routes.get(
        "/trace/{story_id}", dependencies=[requires("audit:read")], responses=answers(Story)
    )
    async def trace(story_id: UUID) -> Response:
        """The whole story of a correlation, message, signal, order or trade id, in order."""
        story = tell(str(story_id), await stories.steps(story_id))
        if not story.steps:
            raise NotFoundError(f"nothing is known of id {story_id}")
        return json_response(story)

    return routes


def outcome(verification: Verification) -> VerificationShape:
    """Return a verification as it is shown to people and programs."""
    return {
        "valid": verification.valid,
        "rows": verification.rows,
        "head": verification.head,
        "broken": verification.broken,
        "anchors": verification.anchors,
        "anchored_seq": verification.anchored_seq,
    }


def _read(row: Row) -> dict[str, Any]:
    return {**msgspec.structs.asdict(row), "details": msgspec.json.decode(row.details)}


def _shown(row: Row) -> dict[str, Any]:
    return {**msgspec.structs.asdict(row), "details": msgspec.Raw(row.details.encode())}
