"""HTTP: protections asked for by people, and how well each is covered."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

from libs.common.contracts.risk_api import Amount, Name
from libs.common.domain.vocabulary import Side
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from libs.common.kernel.ids import Symbol, derived_id
from libs.common.kernel.money import ZERO, plain
from libs.common.runtime.app import json_response
from libs.common.runtime.auth.principal import principal
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from libs.common.runtime.readiness import Readiness
from services.trade_executor.api_orders import PREFIX, Key, require_started
from services.trade_executor.ports import Books
from services.trade_executor.protection import ProtectionDesk
from services.trade_executor.protection_store import Protection, ProtectionStore, shown
from services.trade_executor.shapes import ProtectionShape


class ProtectionFields(BaseModel):
    """A wish: guard `quantity` shares of the position, or all of it, with a stop."""

    model_config = ConfigDict(extra="forbid")

    symbol: Name
    stop_price: Amount
    quantity: Amount | None = None
    take_profit_price: Amount | None = None


def protection_routes(
    desk: ProtectionDesk,
    store: ProtectionStore,
    books: Books,
    readiness: Readiness,
    market_clock: Clock,
    account_id: str,
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix=f"{PREFIX}/protection", tags=["protection"])

    def body(one: Protection) -> dict[str, Any]:
        coverage = desk.coverage.get(one.id)
        figures = {} if coverage is None else {
            "needed": plain(coverage.needed),
            "active": plain(coverage.active),
            "missing": plain(coverage.missing),
        }  # fmt: skip
        return {**shown(one), "ended": one.ended, **figures}

    @router.get(
        "", dependencies=[requires("orders:read")], responses=answers(page_of(ProtectionShape))
    )
    async def list_protections() -> Response:
        """List what is guarded, with how much of it has its exits at the broker."""
        items = [body(one) for one in await store.open()]
        return json_response({"items": items, "next": None})

    @router.post(
        "",
        dependencies=[requires("orders:write")],
        status_code=201,
        responses=answers(ProtectionShape, 409, status=201),
    )
    async def protect(request: Request, fields: ProtectionFields, idempotency_key: Key) -> Response:
        """Guard a position: exits are placed and kept until it is closed. 409 where there is no
        position; the same key gives the same protection."""
        require_started(readiness)
        priced_at = market_clock.now()
        identity = derived_id("protection", account_id, idempotency_key)
        known = await store.one(identity)
        if known is None:
            position = (await books.positions()).get(Symbol(fields.symbol), ZERO)
            if not position:
                raise ConflictError(f"there is no position in {fields.symbol} to protect")
            side = Side.SELL if position > 0 else Side.BUY
            profit = fields.take_profit_price
            if profit is not None and (profit - fields.stop_price) * side.sign >= 0:
                word = "above" if side is Side.SELL else "below"
                raise InvalidInputError(f"take_profit_price: must be {word} stop_price")
            known = Protection(
                id=identity,
                symbol=fields.symbol,
                side=side,
                quantity=fields.quantity,
                stop_price=fields.stop_price,
                take_profit_price=profit,
                entry_id=None,
                actor=principal(request).actor,
                seq=0,
                priced_at=priced_at,
            )
            await store.add(known)
            desk.look_soon()
        return json_response(body(known), status=201)

    @router.delete(
        "/{protection_id}",
        status_code=202,
        dependencies=[requires("orders:write")],
        responses=answers(ProtectionShape, 409, status=202),
    )
    async def unprotect(protection_id: UUID) -> Response:
        """Give a protection up; the exits that were placed for it are cancelled."""
        one = await store.one(protection_id)
        if one is None:
            raise NotFoundError(f"there is no protection {protection_id}")
        if one.ended:
            raise ConflictError(f"protection {protection_id} has ended")
        await desk.give_up(one, "withdrawn by request")
        return json_response(shown(one), status=202)

    return router
