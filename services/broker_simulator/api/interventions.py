"""`/sim/orders`, `/sim/executions`, `/sim/activities`: what a broker's desk does by itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from libs.common.kernel.errors import InvalidInputError, NotFoundError
from libs.common.kernel.money import MONEY_QUANTUM, plain
from libs.common.runtime.openapi import answers
from libs.common.runtime.permissions import requires
from services.broker_simulator.broker import Broker
from services.broker_simulator.engine import actions, amendments
from services.broker_simulator.engine.interventions import Intervention
from services.broker_simulator.engine.model import SHARE_ACTIVITIES, Account, Order
from services.broker_simulator.wire_trading import activity_json, fill_json, order_json

_CONTROL = requires("simulator:control")


class InterventionIn(BaseModel):
    """What shall be done to an order, and the reason that the stream gives."""

    model_config = ConfigDict(extra="forbid")

    do: Intervention
    reason: Annotated[str | None, Field(max_length=200)] = None


class AmendmentIn(BaseModel):
    """A bust, or a correction with what shall stand instead."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["bust", "correct"]
    qty: Annotated[Decimal | None, Field(gt=0, lt=10**9, decimal_places=8)] = None
    price: Annotated[Decimal | None, Field(gt=0, lt=10**9, decimal_places=4)] = None


class JournalIn(BaseModel):
    """Cash that moves without a trade: a FEE, a journal (JNLC), a deposit (CSD), interest (INT)."""

    model_config = ConfigDict(extra="forbid")

    type: Annotated[str, Field(pattern=r"^[A-Z]{2,8}$")]
    net_amount: Annotated[Decimal, Field(gt=-(10**12), lt=10**12, decimal_places=4)]
    key: str | None = None
    symbol: str | None = None
    sub_type: Annotated[str | None, Field(pattern=r"^[A-Z]{2,8}$")] = None
    description: Annotated[str, Field(max_length=200)] = ""


def interventions_router(broker: Broker) -> APIRouter:
    """Return the paths."""
    router = APIRouter(prefix="/sim", tags=["simulator"], dependencies=[_CONTROL])

    @router.post("/orders/{order_id}")
    async def intervene(order_id: str, wanted: InterventionIn) -> dict[str, Any]:
        """Do something to an order, named by its id or the client's; returns it."""
        order = _order(broker, order_id)
        broker.engine.interventions.intervene(order, wanted.do, broker.now_ns, wanted.reason)
        await broker.settle()
        return order_json(order, broker.asset_id(order.symbol), None)

    @router.post("/executions/{execution_id}")
    async def amend(execution_id: str, wanted: AmendmentIn) -> dict[str, Any]:
        """Bust or correct an execution; returns the record of it as the activities show it."""
        registry, now = broker.registry, broker.now_ns
        if wanted.kind == "bust":
            if wanted.qty is not None or wanted.price is not None:
                raise InvalidInputError("a bust takes neither qty nor price")
            amended = amendments.bust(registry, execution_id, now)
        else:
            amended = amendments.correct(registry, execution_id, wanted.qty, wanted.price, now)
        await broker.settle()
        return fill_json(amended)

    @router.post("/activities", status_code=201, responses=answers(dict[str, Any], 404, status=201))
    async def journal(wanted: JournalIn) -> dict[str, Any]:
        """Move cash of an account, the first one unless `key` says otherwise."""
        if wanted.type in SHARE_ACTIVITIES or wanted.type == "FILL":
            raise InvalidInputError(f"type {wanted.type} is not made by hand")
        activity = actions.journal(
            broker.registry,
            _account(broker, wanted.key),
            wanted.type,
            wanted.net_amount.quantize(MONEY_QUANTUM),
            broker.now_ns,
            description=wanted.description,
            sub_type=wanted.sub_type,
            symbol=wanted.symbol,
        )
        await broker.settle()
        return {**activity_json(activity), "cash": plain(_account(broker, wanted.key).cash)}

    return router


def _order(broker: Broker, name: str) -> Order:
    registry = broker.registry
    known = registry.orders.get(name)
    if known is None:
        ids = (o for (_, client_id), o in registry.by_client_id.items() if client_id == name)
        known = registry.orders.get(next(ids, ""))
    if known is None:
        raise NotFoundError(f"order {name}")
    return known


def _account(broker: Broker, key: str | None) -> Account:
    accounts = broker.registry.accounts.values()
    found = (a for a in accounts if key is None or a.key == key)
    account = next(found, None)
    if account is None:
        raise NotFoundError(f"account of key {key!r}")
    return account
