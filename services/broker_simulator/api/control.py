"""`/sim/…`: the simulator's own controls; clock, faults, market, ledger, accounts."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from libs.common.kernel.clock import NS_PER_SECOND, format_ns, from_ns, parse_ns
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.money import plain
from libs.common.runtime.permissions import requires
from services.broker_simulator.broker import Broker
from services.broker_simulator.engine.behaviour import Behaviour
from services.broker_simulator.engine.book import ticks_of
from services.broker_simulator.engine.model import Account
from services.broker_simulator.faults import FaultRequest, Stream
from services.broker_simulator.wire_trading import order_json

_READ = requires("simulator:read")
_CONTROL = requires("simulator:control")
_SIZE_MAX = 2**31 - 1


class ClockChange(BaseModel):
    """A step (`step_s` market seconds, or `to` a time, `next_open` or `next_close`), a factor."""

    model_config = ConfigDict(extra="forbid")

    step_s: Annotated[float | None, Field(ge=0, le=400 * 86_400)] = None
    to: str | None = None
    factor: Annotated[float | None, Field(ge=0, lt=1e7)] = None


class QuoteIn(BaseModel):
    """A best bid and offer that happens now."""

    model_config = ConfigDict(extra="forbid")

    symbol: str
    bid: Annotated[Decimal, Field(gt=0, lt=10**9)]
    ask: Annotated[Decimal, Field(gt=0, lt=10**9)]
    bid_size: Annotated[int, Field(ge=0, le=_SIZE_MAX)] = 100_000
    ask_size: Annotated[int, Field(ge=0, le=_SIZE_MAX)] = 100_000


class TradeIn(BaseModel):
    """A print that happens now, or, with `ts` in the past, arrives late."""

    model_config = ConfigDict(extra="forbid")

    symbol: str
    price: Annotated[Decimal, Field(gt=0, lt=10**9)]
    size: Annotated[int, Field(ge=1, le=_SIZE_MAX)] = 100
    ts: str | None = None


class HaltIn(BaseModel):
    """A halt or a resumption."""

    model_config = ConfigDict(extra="forbid")

    symbol: str
    halted: bool
    reason: str = ""


class ActionIn(BaseModel):
    """A corporate action that takes effect now: `ratio` new shares for one, or cash a share."""

    model_config = ConfigDict(extra="forbid")

    symbol: str
    kind: Literal["split", "dividend"]
    ratio: Annotated[Decimal | None, Field(gt=0, le=1000)] = None
    cash: Annotated[Decimal | None, Field(gt=0, le=10**6)] = None


class MarketChange(BaseModel):
    """What shall happen in the market, in this order: quotes, trades, halts, actions."""

    model_config = ConfigDict(extra="forbid")

    quotes: list[QuoteIn] = []
    trades: list[TradeIn] = []
    halts: list[HaltIn] = []
    actions: list[ActionIn] = []


class NewAccount(BaseModel):
    """A further account."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(min_length=1, max_length=128)]
    secret: Annotated[str, Field(min_length=1, max_length=128)]
    cash: Annotated[Decimal, Field(ge=0, lt=10**12)] = Decimal(1_000_000)
    multiplier: Annotated[Decimal, Field(ge=1, le=4)] = Decimal(2)


def control_router(
    broker: Broker, refuse: Callable[[float], None], tell: Callable[[str, Any], None]
) -> APIRouter:
    """Return the control paths. `refuse` closes the port for so many seconds; `tell` hands a
    scripted market what happened, so that history knows it."""
    router = APIRouter(prefix="/sim", tags=["simulator"])

    @router.get("/clock", dependencies=[_READ])
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

    @router.get("/faults", dependencies=[_READ])
    async def faults() -> Response:
        """List the switches that are on, with how often they struck."""
        return _json(_faults_body(broker))

    @router.post("/faults", dependencies=[_CONTROL], openapi_extra=_body_of("FaultRequest"))
    async def add_faults(request: Request) -> Response:
        """Turn faults on; carry out disconnections and refusals now."""
        wanted = _read(await request.body(), FaultRequest)
        if not 0 <= wanted.refuse_s <= 600:
            raise InvalidInputError(f"refuse_s {wanted.refuse_s} must be between 0 and 600")
        for fault in wanted.faults:
            fault.check()
        added = [broker.faults.add(fault) for fault in wanted.faults]
        if wanted.behaviour is not None:
            broker.registry.behaviour = wanted.behaviour
        broker.apply_standing_faults()
        for stream in wanted.disconnect:
            (broker.trading if stream is Stream.TRADING else broker.data).drop_all()
        if wanted.refuse_s > 0:
            refuse(wanted.refuse_s)
        return _json({"items": msgspec.to_builtins(added)}, 201)

    @router.delete("/faults", dependencies=[_CONTROL])
    async def clear_faults() -> dict[str, int]:
        """Turn every fault off and let the exchange behave."""
        removed = broker.faults.remove()
        broker.registry.behaviour = Behaviour()
        broker.apply_standing_faults()
        return {"removed": removed}

    @router.delete("/faults/{fault_id}", dependencies=[_CONTROL])
    async def clear_fault(fault_id: int) -> dict[str, int]:
        """Turn one fault off."""
        removed = broker.faults.remove(fault_id)
        broker.apply_standing_faults()
        return {"removed": removed}

    @router.post("/market", dependencies=[_CONTROL])
    async def market(change: MarketChange) -> dict[str, Any]:
        """Let quotes, prints, halts and corporate actions happen."""
        _check_market(broker, change)
        for quote in change.quotes:
            row = (
                broker.now_ns,
                _ticks(quote.bid, "bid"),
                _ticks(quote.ask, "ask"),
                quote.bid_size,
                quote.ask_size,
            )
            tell(quote.symbol, row)
            broker.exchange.quote(quote.symbol, *row)
        for trade in change.trades:
            ts = broker.now_ns if trade.ts is None else parse_ns(trade.ts, "ts")
            print_ = (ts, _ticks(trade.price, "price"), trade.size)
            tell(trade.symbol, print_)
            broker.exchange.trade(trade.symbol, *print_)
        for halt in change.halts:
            broker.exchange.halt(halt.symbol, halt.halted, halt.reason)
        for action in change.actions:
            _act(broker, action)
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

    @router.get("/ledger", dependencies=[_READ])
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


def ledger_body(broker: Broker, account: Account) -> dict[str, Any]:
    """Return one account's truth, amounts as strings."""
    registry = broker.registry
    fills = [e for e in registry.executions if e.account == account.id]
    orders = (registry.orders[i] for i in registry.account_orders[account.id])
    return {
        "id": account.id,
        "key": account.key,
        "number": account.number,
        "cash": plain(account.cash),
        "opening_cash": plain(account.opening_cash),
        "realized_pnl": plain(account.realized_pnl),
        "fees_paid": plain(account.fees_paid),
        "positions": [
            {"symbol": p.symbol, "qty": plain(p.qty), "cost": plain(p.cost)}
            for p in sorted(account.positions.values(), key=lambda p: p.symbol)
        ],
        "orders": [order_json(o, broker.asset_id(o.symbol), None) for o in orders],
        "executions": [
            {
                "execution_id": e.id,
                "order_id": e.order_id,
                "client_order_id": registry.orders[e.order_id].client_order_id,
                "symbol": e.symbol,
                "side": e.side.value,
                "qty": plain(e.qty),
                "price": plain(e.price),
                "money": plain(e.money),
                "fee": plain(e.fee),
                "ts": format_ns(e.ts),
            }
            for e in fills
        ],
        "activities": [
            {
                "id": a.id,
                "type": a.activity_type,
                "symbol": a.symbol,
                "net_amount": plain(a.net_amount),
                "ts": format_ns(a.ts),
            }
            for a in registry.activities
            if a.account == account.id
        ],
    }


def _target(broker: Broker, to: str) -> int:
    calendar = broker.registry.calendar
    if to == "next_open":
        return calendar.next_open_ns(broker.now_ns)
    if to == "next_close":
        return calendar.next_close_ns(broker.now_ns)
    return parse_ns(to, "to")


def _check_market(broker: Broker, change: MarketChange) -> None:
    named = [
        *(quote.symbol for quote in change.quotes),
        *(trade.symbol for trade in change.trades),
        *(halt.symbol for halt in change.halts),
        *(action.symbol for action in change.actions),
    ]
    for symbol in named:
        if symbol not in broker.registry.assets:
            raise InvalidInputError(f"unknown symbol {symbol!r}")
    for quote in change.quotes:
        if quote.bid >= quote.ask:
            raise InvalidInputError(f"{quote.symbol}: bid {quote.bid} must be below {quote.ask}")
    for action in change.actions:
        if (action.kind == "split") != (action.ratio is not None) or (
            (action.kind == "dividend") != (action.cash is not None)
        ):
            raise InvalidInputError("a split takes ratio, a dividend takes cash")


def _ticks(price: Decimal, what: str) -> int:
    try:
        return ticks_of(price)
    except ValueError as error:
        raise InvalidInputError(f"{what}: {error}") from error


def _act(broker: Broker, action: ActionIn) -> None:
    if action.ratio is not None:
        broker.engine.split(action.symbol, action.ratio, broker.now_ns)
    elif action.cash is not None:
        broker.engine.pay_dividend(action.symbol, action.cash, broker.now_ns)


def _faults_body(broker: Broker) -> dict[str, Any]:
    return {
        "items": msgspec.to_builtins(broker.faults.active),
        "next": None,
        "behaviour": msgspec.to_builtins(broker.registry.behaviour),
    }


def _read(body: bytes, kind: type[FaultRequest]) -> FaultRequest:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidInputError(f"faults: {error}") from error


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _body_of(name: str) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([FaultRequest])
    schema = components[name]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
