"""Routes of the strategy engine."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from libs.common.domain.vocabulary import StrategyMode
from libs.common.kernel.ids import IdSource
from libs.common.runtime.app import json_response
from libs.common.runtime.auth.principal import principal
from libs.common.runtime.four_eyes_api import WAITS, proposal_routes, waits
from libs.common.runtime.logging import correlation_id_var
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from services.strategy_engine.approvals import Approvals
from services.strategy_engine.configuration import Change, NewStrategy
from services.strategy_engine.configurator import Configurator
from services.strategy_engine.engine import Engine
from services.strategy_engine.forwarding import HOP, forward, forwarding_route
from services.strategy_engine.handlers import (
    add_strategy,
    change_strategy,
    check_params,
    list_signals,
    list_strategies,
    swap_strategy,
)
from services.strategy_engine.ports import Book, Leases, Performances, Signals
from services.strategy_engine.roster import Member
from services.strategy_engine.shapes import (
    ClassShape,
    PerformanceShape,
    RefusedShape,
    SignalShape,
    StrategyShape,
    SwapShape,
    ValidShape,
)
from services.strategy_engine.swap import Swap
from services.strategy_engine.swapper import Swapper
from services.strategy_engine.views import classes_view, detail_view, member_view, performance_view

PREFIX = "/api/v1/strategies"
StrategyPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]


class SignalsQuery(BaseModel):
    """Filters of `GET /signals`; `after` is the `next` of the page before."""

    model_config = ConfigDict(extra="forbid")

    strategy_id: Id | None = None
    symbol: Annotated[str, Field(pattern=r"^[A-Za-z0-9./-]{1,32}$")] | None = None
    after: Annotated[str, Field(max_length=200)] | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class ModeBody(BaseModel):
    """The mode that is wanted."""

    model_config = ConfigDict(extra="forbid")

    mode: StrategyMode


class ParamsBody(BaseModel):
    """Parameters to be checked against a strategy's schema."""

    model_config = ConfigDict(extra="forbid")

    class_name: Id
    params: dict[str, Any] = Field(default_factory=dict, max_length=200)


def router(
    engine: Engine,
    configurator: Configurator,
    swapper: Swapper,
    signals: Signals,
    book: Book,
    leases: Leases,
    performances: Performances,
    approvals: Approvals,
    ids: IdSource,
) -> list[APIRouter]:
    """Return the routes under `/api/v1/strategies`; those with fixed names come first."""
    routes = APIRouter(
        prefix=PREFIX,
        tags=["strategies"],
        route_class=forwarding_route(engine, leases),
    )

    @routes.get(
        "", dependencies=[requires("strategies:read")], responses=answers(page_of(StrategyShape))
    )
    async def listed() -> Response:
        """All configured strategies with their state on each symbol.

        Of those that other replicas run, the state is the one they saved last.
        """
        return json_response({"items": await list_strategies(engine, book, leases), "next": None})

    @routes.post(
        "",
        status_code=201,
        dependencies=[requires("strategies:write")],
        responses={**answers(StrategyShape, 404, 409, status=201), **WAITS},
    )
    async def add(request: Request, body: NewStrategy) -> Response:
        """Run one more strategy from the next bar on, warmed up from stored history. 202 with the
        proposal where it is to be live and a second person must agree."""
        who = principal(request)
        proposal = await approvals.of_new(body, who, story())
        if proposal is not None:
            return waits(approvals.eyes, proposal)
        member = await add_strategy(configurator, body, who.actor)
        return json_response(detail_view(member, engine.collected), status=201)

    @routes.get(
        "/signals",
        dependencies=[requires("strategies:read")],
        responses=answers(page_of(SignalShape)),
    )
    async def stored(query: Annotated[SignalsQuery, Query()]) -> Response:
        """Stored signals, newest first."""
        page = await list_signals(
            signals, query.strategy_id, query.symbol, query.after, query.limit
        )
        return json_response(page)

    @routes.get(
        "/performance",
        dependencies=[requires("strategies:read")],
        responses=answers(page_of(PerformanceShape)),
    )
    async def performance() -> Response:
        """What each strategy has made of its executions, when it was last looked at."""
        rows = await performances.list()
        return json_response({"items": [performance_view(*row) for row in rows], "next": None})

    @routes.get(
        "/classes",
        dependencies=[requires("strategies:read")],
        responses=answers(page_of(ClassShape, refused=list[RefusedShape])),
    )
    async def classes() -> Response:
        """Every strategy that the files define, with its parameters; and the refused files."""
        return json_response(classes_view(engine.roster.registry))

    @routes.post(
        "/validate", dependencies=[requires("strategies:read")], responses=answers(ValidShape, 404)
    )
    async def validate(body: ParamsBody) -> Response:
        """Check parameters; 422 lists everything that is wrong with them."""
        params = check_params(engine, body.class_name, body.params)
        return json_response({"class_name": body.class_name, "params": params})

    @routes.post(
        "/reload",
        dependencies=[requires("strategies:write")],
        responses=answers(page_of(ClassShape, refused=list[RefusedShape]), 409),
    )
    async def reload(request: Request) -> Response:
        """Load the strategy files anew; what runs is restarted from its saved state.

        All replicas do so; the answer is this one's.
        """
        view = classes_view(await engine.reload())
        if HOP not in request.headers:
            for url in (await leases.peers()).values():
                await forward(request, url)
        return json_response(view)

    @routes.get(
        "/{strategy_id}",
        dependencies=[requires("strategies:read")],
        responses=answers(StrategyShape),
    )
    async def detail(strategy_id: StrategyPath) -> Response:
        """One strategy with parameters, their ranges, and the state on each symbol."""
        view = detail_view(engine.member(strategy_id), engine.collected)
        view["swap"] = swapper.last(strategy_id)
        return json_response(view)

    @routes.patch(
        "/{strategy_id}",
        dependencies=[requires("strategies:write")],
        responses={**answers(StrategyShape, 409), **WAITS},
    )
    async def change(request: Request, strategy_id: StrategyPath, body: Change) -> Response:
        """Change parameters, universe, weight, mode, or whether it runs, from the next bar on.

        Symbols with the same parameters go on where they are; the others are warmed up anew. 202
        with the proposal where it goes live and a second person must agree.
        """
        return await changed(request, strategy_id, body, detail_view)

    @routes.delete(
        "/{strategy_id}",
        dependencies=[requires("strategies:write")],
        responses=answers(StrategyShape, 409),
    )
    async def disable(request: Request, strategy_id: StrategyPath) -> Response:
        """Stop a strategy; its signals stay, and it can be enabled again."""
        return await changed(request, strategy_id, Change(enabled=False), detail_view)

    @routes.post(
        "/{strategy_id}/swap",
        dependencies=[requires("strategies:write")],
        responses={**answers(StrategyShape, 409), **answers(StrategyShape, status=202)},
    )
    async def swap(request: Request, strategy_id: StrategyPath, body: Swap) -> Response:
        """Exchange code or parameters between two bars, once the new one has proven itself.

        200 when exchanged; 202 while it goes along in shadow first, to be followed by GET.
        """
        candidate = await swap_strategy(swapper, strategy_id, body, principal(request).actor)
        view = detail_view(engine.member(strategy_id), engine.collected)
        view["swap"] = candidate.view()
        return json_response(view, status=202 if candidate.status == "shadowing" else 200)

    @routes.delete(
        "/{strategy_id}/swap",
        dependencies=[requires("strategies:write")],
        responses=answers(SwapShape, 409),
    )
    async def cancel_swap(strategy_id: StrategyPath) -> Response:
        """Give up a swap whose new version still goes along in shadow."""
        return json_response((await swapper.cancel(strategy_id)).view())

    @routes.post(
        "/{strategy_id}/mode",
        dependencies=[requires("strategies:write")],
        responses={**answers(StrategyShape, 409), **WAITS},
    )
    async def mode(request: Request, strategy_id: StrategyPath, body: ModeBody) -> Response:
        """Trade the strategy's signals from now on (`live`), or only record them (`shadow`). 202
        with the proposal where it goes live and a second person must agree."""
        return await changed(request, strategy_id, Change(mode=body.mode), member_view)

    def story() -> UUID:
        return correlation_id_var.get() or ids.new()

    async def changed(
        request: Request,
        strategy_id: str,
        body: Change,
        view: Callable[[Member, Collection[str]], dict[str, Any]],
    ) -> Response:
        who = principal(request)
        proposal = await approvals.of_change(strategy_id, body, who, story())
        if proposal is not None:
            return waits(approvals.eyes, proposal)
        member = await change_strategy(configurator, strategy_id, body, who.actor)
        return json_response(view(member, engine.collected))

    proposals = proposal_routes(
        PREFIX,
        "strategies",
        approvals.eyes,
        ids,
        route_class=forwarding_route(engine, leases, approvals.strategy_of),
    )
    return [proposals, routes]
