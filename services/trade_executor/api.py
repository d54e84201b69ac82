"""HTTP: the service's routes, and the records that reconciliation keeps."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from libs.common.contracts.risk_api import Name
from libs.common.kernel.ids import IdSource
from libs.common.runtime.app import json_response
from libs.common.runtime.openapi import answers, page_of, schema_of
from libs.common.runtime.permissions import requires
from libs.common.runtime.readiness import Readiness
from services.trade_executor.amends import Amends
from services.trade_executor.answering import Answering
from services.trade_executor.api_orders import PREFIX, READ, Limit, one_order_routes, order_routes
from services.trade_executor.api_triggers import trigger_routes
from services.trade_executor.cancels import Cancels
from services.trade_executor.closing_api import closing_routes
from services.trade_executor.closing_store import ClosingStore
from services.trade_executor.closings import Closings
from services.trade_executor.dossier_store import DossierStore
from services.trade_executor.lists_store import ListStore
from services.trade_executor.placing import Placing
from services.trade_executor.quarantine import Quarantine
from services.trade_executor.reconciliation import Reconciliation
from services.trade_executor.rows import paged
from services.trade_executor.shapes import (
    RECONCILIATION,
    FindingsShape,
    TradeShape,
    UnreadableShape,
    object_of,
)
from services.trade_executor.trigger_store import TriggerStore
from services.trade_executor.triggers import Triggers


def routes(
    *,
    placing: Placing,
    amends: Amends,
    triggers: Triggers,
    trigger_store: TriggerStore,
    cancels: Cancels,
    closings: Closings,
    closing_store: ClosingStore,
    reconciliation: Reconciliation,
    lists: ListStore,
    dossiers: DossierStore,
    quarantine: Quarantine,
    blocks: Callable[[], dict[str, list[str]]],
    readiness: Readiness,
    ids: IdSource,
    answer_s_max: float,
) -> list[APIRouter]:
    """Return the service's routes."""
    answer = Answering(readiness, answer_s_max)
    return [
        order_routes(placing, cancels, lists, readiness, ids, answer),
        closing_routes(closings, closing_store, readiness, ids, answer),
        trigger_routes(triggers, trigger_store, readiness, ids, answer),
        _record_routes(reconciliation, lists, quarantine, blocks),
        one_order_routes(amends, cancels, lists, dossiers, readiness, ids, answer),
    ]


def _record_routes(
    reconciliation: Reconciliation,
    lists: ListStore,
    quarantine: Quarantine,
    blocks: Callable[[], dict[str, list[str]]],
) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["records"])

    @router.get("/trades", dependencies=[READ], responses=answers(page_of(TradeShape)))
    async def list_trades(
        limit: Limit = 50,
        after: str | None = None,
        symbol: Name | None = None,
        order_id: UUID | None = None,
        strategy_id: Name | None = None,
    ) -> Response:
        """List executions, newest first. One that the venue took back has `reversed_by`, the id
        of its reversal, and `reversed_kind`: `bust` or `correction`. It does not count."""
        page = await lists.trades(
            limit=limit, after=after, symbol=symbol, order_id=order_id, strategy_id=strategy_id
        )
        return paged(page)

    @router.get("/quarantine", dependencies=[READ], responses=answers(page_of(UnreadableShape)))
    async def list_quarantine(limit: Limit = 50, after: str | None = None) -> Response:
        """List what the broker said and nobody could read, newest first: where it came from, the
        reason, and its first 64 KiB."""
        return paged(await quarantine.page(limit=limit, after=after))

    @router.get(
        "/reconciliation",
        dependencies=[READ],
        responses=answers(object_of(**RECONCILIATION, blocks=schema_of(dict[str, list[str]]))),
    )
    async def show_reconciliation() -> Response:
        """Show the last comparisons with the broker, open discrepancies, blocked symbols."""
        return json_response({**await lists.reconciliation(), "blocks": blocks()})

    @router.post(
        "/reconciliation",
        dependencies=[requires("orders:reconcile")],
        responses=answers(
            object_of(
                **schema_of(FindingsShape)["$defs"]["FindingsShape"]["properties"], **RECONCILIATION
            )
        ),
    )
    async def reconcile() -> Response:
        """Compare everything with the broker now; returns what was found."""
        findings = await reconciliation.run("request", balances=True, deep=True)
        return json_response({**findings.shown(), **await lists.reconciliation()})

    return router
