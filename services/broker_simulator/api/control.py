"""`/sim/…`: the simulator's own controls; clock, faults, market, ledger, accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from libs.common.kernel.clock import NS_PER_SECOND, format_ns, from_ns, parse_ns
from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.openapi import answers, body_of
from libs.common.runtime.permissions import PUBLIC, requires
from services.broker_simulator.api.control_models import (
    ClockChange,
    MarketChange,
    NewAccount,
)
from services.broker_simulator.api.ledger import ledger_body
from services.broker_simulator.api.market_changes import carry_out
from services.broker_simulator.broker import Broker
from services.broker_simulator.fault_request import FaultRequest, read_faults

_READ = requires("simulator:read")
_CONTROL = requires("simulator:control")


def control_router(broker: Broker, tell: Callable[[str, Any], None]) -> APIRouter:
    """Return the control paths. `tell` hands a scripted market what happened, so that history
    knows it."""
    router = APIRouter(prefix="/sim", tags=["simulator"])

    # Public: the time is no secret, and every service asks for it.
    @router.get("/clock", dependencies=[requires(PUBLIC)])
    async def clock() -> dict[str, Any]:
        """Return market time, how fast it runs now, and the session."""
        return clock_body(broker)

    @router.post("/clock", dependencies=[_CONTROL])
    async def set_clock(change: ClockChange) -> dict[str, Any]:
        """Set the factor, then step; answers when everything until then has happened."""
        if change.factor is not None:
            broker.clock.set_factor(change.factor)
        if change.step_s is not None and change.to is not None:
            raise InvalidInputError("only one of step_s and to may be given")
        if change.step_s is not None:
            await broker.step_to(broker.now_ns + int(change.step_s * NS_PER_SECOND))
        elif change.to is not None:
            await broker.step_to(_target(broker, change.to))
        return clock_body(broker)

    @router.get("/faults", dependencies=[_READ], responses=answers(dict[str, Any]))
    async def faults() -> Response:
        """List the switches that are on, with how often they struck, and what a plan did."""
        return _json(_faults_body(broker))

    @router.post(
        "/faults",
        dependencies=[_CONTROL],
        status_code=201,
        openapi_extra=body_of(FaultRequest),
        responses=answers(dict[str, Any], status=201),
    )
    async def add_faults(request: Request) -> Response:
        """Turn faults on; carry out disconnections and refusals now; begin a plan."""
        added = broker.switches.on(read_faults(await request.body(), "faults"))
        return _json({"items": msgspec.to_builtins(added)}, 201)

    @router.delete("/faults", dependencies=[_CONTROL])
    async def clear_faults() -> dict[str, int]:
        """Turn every fault off, end a plan, and let the exchange behave."""
        return {"removed": broker.switches.off()}

    @router.delete("/faults/{fault_id}", dependencies=[_CONTROL])
    async def clear_fault(fault_id: int) -> dict[str, int]:
        """Turn one fault off."""
        removed = broker.faults.remove(fault_id)
        broker.switches.apply_standing()
        return {"removed": removed}

    @router.post("/market", dependencies=[_CONTROL])
    async def market(change: MarketChange) -> dict[str, Any]:
        """Let quotes, prints, jumps, halts and corporate actions happen."""
        carry_out(broker, change, tell)
        await broker.settle_market()
        return {"now": format_ns(broker.now_ns)}

    @router.get("/market", dependencies=[_READ])
    async def market_state() -> dict[str, Any]:
        """Return each symbol's quote and last print."""
        items = [
            {
                "symbol": symbol,
                "bid": b.bid / 10_000,
                "ask": b.ask / 10_000,
                "last": b.last / 10_000,
                "halted": b.halted,
            }
            for symbol, b in broker.registry.books.items()
        ]
        return {"items": items, "next": None}

    @router.get("/ledger", dependencies=[_READ], responses=answers(dict[str, Any]))
    async def ledger() -> Response:
        """Return the truth: every account with its cash, positions, orders and executions."""
        accounts = [ledger_body(broker, a) for a in broker.registry.accounts.values()]
        return _json({"now": format_ns(broker.now_ns), "accounts": accounts})

    @router.post("/accounts", dependencies=[_CONTROL], status_code=201)
    async def open_account(new: NewAccount) -> dict[str, Any]:
        """Open a further account for a key pair, for as long as this process lives."""
        account = broker.open_account(new.key, new.secret, new.cash, new.multiplier)
        await broker.settle()
        return {"id": account.id, "number": account.number, "key": account.key}

    @router.get("/state", dependencies=[_READ])
    async def state() -> dict[str, Any]:
        """Return figures about the simulator itself."""
        return broker.describe()

    return router


def clock_body(broker: Broker) -> dict[str, Any]:
    """Return the clock's answer; `factor` is how fast time runs at this moment (0 at rest)."""
    calendar = broker.registry.calendar
    moment = from_ns(broker.now_ns)
    return {
        "now": format_ns(broker.now_ns),
        "factor": broker.clock.rate,
        "factor_set": broker.clock.factor,
        "state": calendar.state_at(moment).value,
        "next_open": calendar.next_open(moment).isoformat(),
        "next_close": calendar.next_close(moment).isoformat(),
    }


def _target(broker: Broker, to: str) -> int:
    calendar = broker.registry.calendar
    if to == "next_open":
        return calendar.next_open_ns(broker.now_ns)
    if to == "next_close":
        return calendar.next_close_ns(broker.now_ns)
    return parse_ns(to, "to")


def _faults_body(broker: Broker) -> dict[str, Any]:
    return {
        "items": msgspec.to_builtins(broker.faults.active),
        "next": None,
        "behaviour": msgspec.to_builtins(broker.registry.behaviour),
        "plan": broker.switches.planner.shown(),
    }


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
