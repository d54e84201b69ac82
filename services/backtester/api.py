"""Routes of the backtester."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from libs.common.backtest.report.page import policy_of
from libs.common.backtest.request import Request as BacktestRequest
from libs.common.backtest.request import request_of
from libs.common.kernel.ids import IdSource
from libs.common.runtime.app import json_response
from libs.common.runtime.auth.errors import AccessError
from libs.common.runtime.auth.principal import principal
from libs.common.runtime.openapi import answers, body_of, page_of
from libs.common.runtime.permissions import requires
from libs.common.runtime.problems import problem
from services.backtester import handlers
from services.backtester.desk import Desk
from services.backtester.hub import Hub
from services.backtester.ports import FINISHED, QueueFullError, Run, Runs, Status
from services.backtester.settings import BacktesterSettings
from services.backtester.shapes import BriefShape, ComparisonShape

KEEPALIVE_S: Final = 10.0
CHECK_S: Final = 1.0
"""How often one who listens is held against what was revoked."""
RETRY_AFTER_S: Final = 5
READ: Final = requires("backtests:read")
WRITE: Final = requires("backtests:write")
_TYPES: Final = {"html": "text/html; charset=utf-8", "json": "application/json"}
_EVENT: Final = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {"event": {"enum": ["progress", "end", "denied"]}, "data": {"type": "string"}},
}
_BYTES: Final = "application/octet-stream"
_FILES: Final = {
    "text/html": {"type": "string"},
    "application/json": {"type": "object"},
    _BYTES: {"type": "string", "format": "binary"},
}
FileName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$")]
Key = Annotated[
    str | None, Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,200}$", max_length=200)
]


class RunsQuery(BaseModel):
    """Filters of the list; `after` is the `next` of the page before."""

    model_config = ConfigDict(extra="forbid")

    status: Status | None = None
    kind: Annotated[str, Field(pattern=r"^[a-z_]{1,32}$")] | None = None
    after: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class CompareQuery(BaseModel):
    """Which runs, comma-separated."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[str, Field(pattern=r"^[0-9a-fA-F,-]{36,760}$")]


def view(run: Run, hub: Hub) -> dict[str, Any]:
    """Return a run as the API shows it; progress as it is now."""
    latest = hub.latest(run.id)
    shown: dict[str, Any] = msgspec.to_builtins(
        run if latest is None or run.status in FINISHED else replace(run, progress=latest)
    )
    return shown


def brief(run: Run, hub: Hub) -> dict[str, Any]:
    """Return a run for a list: without its request and with its metrics alone."""
    shown = view(run, hub)
    result = shown.pop("result") or {}
    request = shown.pop("request")
    spec = request["spec"]
    named = [choice["class_name"] for choice in spec["strategies"]] if spec else []
    return {
        **shown,
        "strategies": named or result.get("strategies", []),
        "metrics": result.get("metrics"),
        **({"parity": _parity(result)} if run.kind == "parity" and result else {}),
    }


def _parity(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a list shows of a comparison."""
    causes = {part: result[part]["causes"] for part in ("decisions", "orders", "fills")}
    shown = ("from", "to", "unexplained", "notes")
    return {**{name: result[name] for name in shown}, "causes": causes}


def router(
    runs: Runs, desk: Desk, hub: Hub, ids: IdSource, settings: BacktesterSettings
) -> APIRouter:
    """Return the routes under `/api/v1/backtests`; those with fixed names come first."""
    routes = APIRouter(prefix="/api/v1/backtests", tags=["backtests"])
    queue_max = settings.backtests_queue_max

    @routes.post(
        "",
        status_code=202,
        openapi_extra=body_of(BacktestRequest),
        dependencies=[WRITE],
        responses=answers(Run, 409, 429, status=202),
    )
    async def submit(request: Request, key: Key = None) -> Response:
        """Queue a run of a `kind`: backtest, sweep, walk_forward, cpcv or parity.

        One Idempotency-Key gives one run. 429 if the queue is full.
        """
        asked = request_of(await request.body())
        try:
            run = await handlers.submit(
                runs, desk, ids, asked, key=key, queue_max=queue_max, data=settings.backtests_data
            )
        except QueueFullError as error:
            return _full(request, error)
        where = {"Location": f"/api/v1/backtests/{run.id}"}
        answer = json_response(view(run, hub), status=202)
        answer.headers.update(where)
        return answer

    @routes.get("", dependencies=[READ], responses=answers(page_of(BriefShape)))
    async def listed(query: Annotated[RunsQuery, Query()]) -> Response:
        """Runs, newest first."""
        found = await runs.page(query.status, query.kind, query.after, query.limit + 1)
        shown = found[: query.limit]
        following = shown[-1].id if len(found) > query.limit else None
        return json_response({"items": [brief(run, hub) for run in shown], "next": following})

    @routes.get("/compare", dependencies=[READ], responses=answers(ComparisonShape, 404))
    async def compare(query: Annotated[CompareQuery, Query()]) -> Response:
        """The metrics of several finished runs side by side."""
        named = [handlers.id_of(part) for part in query.ids.split(",") if part]
        return json_response(await handlers.compare(runs, named))

    @routes.get("/{run_id}", dependencies=[READ], responses=answers(Run))
    async def detail(run_id: UUID) -> Response:
        """One run with its request, progress, result or error, and files."""
        return json_response(view(await runs.get(run_id), hub))

    @routes.get(
        "/{run_id}/events",
        dependencies=[READ],
        responses=answers(None, media={"text/event-stream": _EVENT}),
        response_class=StreamingResponse,
    )
    async def events(request: Request, run_id: UUID) -> Response:
        """Progress as server-sent events, until the run has ended (`end`), or the caller's token
        has or was revoked (`denied`; come again with a new one)."""
        await runs.get(run_id)
        check = partial(request.app.state.gate.authenticator.check, principal(request))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _events(runs, hub, run_id, check), media_type="text/event-stream", headers=headers
        )

    @routes.post("/{run_id}/cancel", dependencies=[WRITE], responses=answers(Run, 409))
    async def cancel(run_id: UUID) -> Response:
        """Cancel a run that waits or works."""
        return json_response(view(await handlers.cancel(runs, desk, run_id), hub))

    @routes.post(
        "/{run_id}/resume",
        status_code=202,
        dependencies=[WRITE],
        responses=answers(Run, 409, 429, status=202),
    )
    async def resume(request: Request, run_id: UUID) -> Response:
        """Queue an interrupted, failed or cancelled run again; what it has kept is not redone."""
        try:
            run = await handlers.resume(runs, desk, run_id, queue_max)
        except QueueFullError as error:
            return _full(request, error)
        return json_response(view(run, hub), status=202)

    @routes.delete(
        "/{run_id}", status_code=204, dependencies=[WRITE], responses=answers(None, 409, status=204)
    )
    async def remove(run_id: UUID) -> Response:
        """Forget a finished run and delete its files."""
        await handlers.remove(runs, desk, run_id)
        return Response(status_code=204)

    @routes.get(
        "/{run_id}/artefacts/{name}", dependencies=[READ], responses=answers(None, media=_FILES)
    )
    async def artefact(run_id: UUID, name: FileName) -> Response:
        """A file that the run left; `artefacts` of the run lists them."""
        path = await handlers.artefact(runs, desk, run_id, name)
        kind = _TYPES.get(path.suffix[1:], _BYTES)
        headers = {"X-Content-Type-Options": "nosniff"}
        if path.suffix == ".html":
            headers["Content-Security-Policy"] = await asyncio.to_thread(policy_of, path)
        return FileResponse(path, media_type=kind, headers=headers)

    return routes


def _full(request: Request, error: QueueFullError) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return problem(429, str(error), code="queue-full", instance=request.url.path, headers=headers)


async def _events(
    runs: Runs, hub: Hub, run_id: UUID, check: Callable[[], None]
) -> AsyncIterator[bytes]:
    """Yield the events of a run; `check` raises AccessError once the caller is out."""
    async with hub.listen(run_id) as ear:
        try:
            while True:
                check()
                run = await runs.get(run_id)
                if run.status in FINISHED:
                    yield _event("end", view(run, hub))
                    return
                latest = hub.latest(run_id) or run.progress
                yield _event("progress", {"status": run.status, "progress": latest})
                quiet_s = 0.0
                while not await ear.wait(CHECK_S):
                    check()
                    quiet_s += CHECK_S
                    if quiet_s >= KEEPALIVE_S:
                        quiet_s = 0.0
                        yield b": still here\n\n"
        except AccessError as error:
            yield _event("denied", {"code": error.code, "detail": str(error)})


def _event(name: str, data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))
