"""HTTP: judgements, previews, limits, the kill switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Protocol
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from libs.common.contracts.risk_api import (
    AssessmentReply,
    AssessmentRequest,
    Name,
    PreviewRequest,
    RiskState,
    written_plainly,
)
from libs.common.domain.vocabulary import TradingState, Verdict
from libs.common.kernel.money import plain
from libs.common.runtime.app import json_response
from libs.common.runtime.auth.errors import denied
from libs.common.runtime.auth.principal import principal
from libs.common.runtime.four_eyes_api import WAITS, proposal_routes, waits
from libs.common.runtime.logging import correlation_id_var
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from services.risk_manager import controls, handlers
from services.risk_manager.approvals import RESUME, Approvals
from services.risk_manager.desk import Switch
from services.risk_manager.handlers import Office
from services.risk_manager.limits import DEFINITIONS, LimitKey, Scope
from services.risk_manager.ports import Assessment
from services.risk_manager.shapes import (
    ExposureShape,
    LimitChangeShape,
    LimitSetShape,
    LimitShape,
)

PREFIX = "/api/v1/risk"
Limit = Annotated[int, Query(ge=1, le=500)]
Seq = Annotated[int, Query(ge=1, le=2**63 - 1)]
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]


class Records(Protocol):
    """Judgements on record."""

    async def assessments(
        self, *, limit: int, after: UUID | None, verdict: Verdict | None, symbol: str | None
    ) -> list[Assessment]: ...


class LimitTables(Protocol):
    """Limits as they stand in their tables."""

    async def limit_rows(self) -> Sequence[Mapping[str, Any]]: ...

    async def limit_history(
        self, *, limit: int, after: int | None
    ) -> Sequence[Mapping[str, Any]]: ...


class StateChange(BaseModel):
    """Why the kill switch is set."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class HaltRequest(StateChange):
    """A halt; with `flatten` every position is closed too."""

    flatten: bool = False


class LimitRequest(BaseModel):
    """A limit to set, or with `value` null to remove."""

    model_config = ConfigDict(extra="forbid")

    scope: Scope = Scope.ACCOUNT
    scope_key: Annotated[str, Field(max_length=128, pattern=r"^[^\x00-\x1f]*$")] = ""
    name: Annotated[str, Field(min_length=1, max_length=64)]
    value: Annotated[Decimal, written_plainly] | None
    reason: Reason


def routes(
    office: Office, records: Records, tables: LimitTables, approvals: Approvals
) -> list[APIRouter]:
    """The routes of one account's office."""
    router = APIRouter(prefix=PREFIX, tags=["risk"])
    _judgement_routes(router, office, records)
    _state_routes(router, office, approvals)
    _limit_routes(router, office, tables, approvals)
    return [router, proposal_routes(PREFIX, "risk", approvals.eyes, office.ids)]


def _judgement_routes(router: APIRouter, office: Office, records: Records) -> None:
    @router.post(
        "/assessments",
        dependencies=[requires("risk:assess")],
        responses=answers(AssessmentReply, 404, 409),
    )
    async def assess(request: AssessmentRequest) -> Response:
        """Judge an order before its deadline; an approval sets its headroom aside. 200 with the
        verdict, approved or denied; 503 when the deadline passed or no judgement is possible."""
        reply = await handlers.judge_request(office, request, _correlation_id(office))
        return json_response(reply)

    @router.post(
        "/preview", dependencies=[requires("risk:read")], responses=answers(AssessmentReply, 404)
    )
    async def preview(request: PreviewRequest) -> Response:
        """Say what the judgement would be; nothing is set aside or stored."""
        return json_response(await handlers.preview(office, request, _correlation_id(office)))

    @router.get(
        "/assessments", dependencies=[requires("risk:read")], responses=answers(page_of(Assessment))
    )
    async def assessments(
        limit: Limit = 50,
        after: UUID | None = None,
        verdict: Verdict | None = None,
        symbol: Name | None = None,
    ) -> Response:
        """List judgements with all their checks, newest first; `after` is the last id seen."""
        found = await records.assessments(limit=limit, after=after, verdict=verdict, symbol=symbol)
        following = str(found[-1].id) if len(found) == limit else None
        return json_response({"items": found, "next": following})


def _state_routes(router: APIRouter, office: Office, approvals: Approvals) -> None:
    async def change(
        caller: Request, state: TradingState, wish: StateChange, *, flatten: bool = False
    ) -> Response:
        who, story = principal(caller), _correlation_id(office)
        proposal = await approvals.of_state(state, wish.reason, who, story)
        if proposal is not None:
            return waits(approvals.eyes, proposal)
        switch = await controls.set_state(
            office,
            state,
            reason=wish.reason,
            actor=who.actor,
            correlation_id=story,
            flatten=flatten,
        )
        return json_response(_state_of(office, switch))

    @router.get("/state", dependencies=[requires("risk:read")], responses=answers(RiskState))
    async def state() -> Response:
        """Show the kill switch: state, generation, who set it and why."""
        return json_response(_state_of(office, office.desk.switch))

    @router.post("/halt", dependencies=[requires("risk:halt")], responses=answers(RiskState))
    async def halt(caller: Request, request: HaltRequest) -> Response:
        """Stop everything: no order is approved, those approved before are void, open orders are
        cancelled but for protective exits. With `flatten` these go too, and every position is
        closed, the largest first."""
        return await change(caller, TradingState.HALTED, request, flatten=request.flatten)

    @router.post(
        "/reduce",
        dependencies=[requires("risk:halt")],
        responses={**answers(RiskState, 409), **WAITS},
    )
    async def reduce(caller: Request, request: StateChange) -> Response:
        """Approve only what reduces a position. From a halt this lets more through, so it needs
        what `/resume` needs; 202 with the proposal where a second person must agree."""
        if office.desk.switch.state is TradingState.HALTED and not principal(caller).may(RESUME):
            raise denied("permission-denied", f"This releases a halt: it needs {RESUME}.")
        return await change(caller, TradingState.REDUCING, request)

    @router.post(
        "/resume",
        dependencies=[requires("risk:resume")],
        responses={**answers(RiskState, 409), **WAITS},
    )
    async def resume(caller: Request, request: StateChange) -> Response:
        """Trade again; 202 with the proposal where a second person must agree."""
        return await change(caller, TradingState.ACTIVE, request)

    @router.get("/exposure", dependencies=[requires("risk:read")], responses=answers(ExposureShape))
    async def exposure() -> Response:
        """Show the book that judgements are made from: sums, positions, what is pending."""
        return json_response(_exposure_of(office))


def _limit_routes(
    router: APIRouter, office: Office, tables: LimitTables, approvals: Approvals
) -> None:
    @router.get(
        "/limits", dependencies=[requires("risk:read")], responses=answers(page_of(LimitShape))
    )
    async def limits(scope: Scope | None = None, scope_key: str | None = None) -> Response:
        """List the limits with their meaning."""
        rows = [
            row
            for row in await tables.limit_rows()
            if scope in (None, Scope(row["scope"])) and scope_key in (None, row["scope_key"])
        ]
        return json_response({"items": [_limit_of(row) for row in rows], "next": None})

    @router.put(
        "/limits",
        dependencies=[requires("risk:limits")],
        responses={**answers(LimitSetShape, 409), **WAITS},
    )
    async def set_limit(caller: Request, request: LimitRequest) -> Response:
        """Set or remove one limit; the answer tells the value before. 202 with the proposal where
        this raises it and a second person must agree."""
        who, story = principal(caller), _correlation_id(office)
        key = LimitKey(request.scope, request.scope_key, request.name)
        proposal = await approvals.of_limit(key, request.value, request.reason, who, story)
        if proposal is not None:
            return waits(approvals.eyes, proposal)
        change = await controls.set_limit(
            office,
            key,
            request.value,
            reason=request.reason,
            actor=who.actor,
            correlation_id=story,
        )
        return json_response(
            {
                "scope": change.key.scope,
                "scope_key": change.key.key,
                "name": change.key.name,
                "old_value": _plain(change.old),
                "value": _plain(change.new),
                "set_by": change.set_by,
                "set_at": change.set_at,
            }
        )

    @router.get(
        "/limits/history",
        dependencies=[requires("risk:read")],
        responses=answers(page_of(LimitChangeShape)),
    )
    async def history(limit: Limit = 50, after: Seq | None = None) -> Response:
        """List the changes of limits, newest first; `after` is the last id seen."""
        rows = await tables.limit_history(limit=limit, after=after)
        items = [
            {
                **{name: row[name] for name in ("id", "scope", "scope_key", "name")},
                "old_value": _plain(row["old_value"]),
                "new_value": _plain(row["new_value"]),
                **{name: row[name] for name in ("set_by", "reason", "set_at")},
            }
            for row in rows
        ]
        following = str(rows[-1]["id"]) if len(rows) == limit else None
        return json_response({"items": items, "next": following})


def _state_of(office: Office, switch: Switch) -> RiskState:
    return RiskState(
        account_id=office.desk.account_id,
        state=switch.state,
        generation=switch.generation,
        reason=switch.reason,
        set_by=switch.set_by,
        set_at=switch.set_at,
        flatten=switch.flatten,
    )


def _exposure_of(office: Office) -> dict[str, Any]:
    desk = office.desk
    totals, book = desk.book.totals(), desk.book
    return {
        "account_id": desk.account_id,
        "cash": plain(book.cash),
        "equity": plain(totals.equity),
        "gross": plain(totals.gross),
        "net": plain(totals.equity - book.cash),
        "held": plain(totals.held),
        "loss_today": _plain(desk.losses.loss_today(totals.equity)),
        "drawdown": _plain(_rounded(desk.losses.drawdown(totals.equity))),
        "complete": totals.complete,
        "reservations": book.reservations(),
        "positions": [
            {"symbol": symbol, "quantity": plain(quantity)}
            for symbol, quantity in sorted(book.positions().items())
        ],
        "pending": [
            {
                "order_id": str(order.order_id),
                "symbol": order.symbol,
                "side": order.side,
                "remaining": plain(order.remaining),
                "held": plain(order.held),
                "reserved": order.expires_at is not None,
            }
            for order in book.orders.values()
        ],
    }


def _limit_of(row: Mapping[str, Any]) -> dict[str, Any]:
    definition = DEFINITIONS.get(row["name"])
    return {
        "scope": row["scope"],
        "scope_key": row["scope_key"],
        "name": row["name"],
        "value": plain(row["value"]),
        "meaning": "" if definition is None else definition.meaning,
        "set_by": row["set_by"],
        "set_at": row["set_at"],
    }


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _rounded(share: Decimal | None) -> Decimal | None:
    return None if share is None else round(share, 8)


def _correlation_id(office: Office) -> UUID:
    return correlation_id_var.get() or office.ids.new()
