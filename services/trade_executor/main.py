"""Wiring of the executor: `python -m services.trade_executor.main`."""

from __future__ import annotations

import sys
from functools import partial

from fastapi import FastAPI

from libs.common.contracts.channels import COMMANDS, ORDERS_APPROVED, RISK_ALERTS, SYSTEM_HEALTH
from libs.common.contracts.risk_api import CLOSING
from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.app import create_app, run
from libs.common.runtime.consumers import BroadcastListener, LogConsumer
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.secrets.stored import WAYS, with_stored
from services.trade_executor.adapters.market_feed import TriggerFeed
from services.trade_executor.adapters.risk import HttpRiskDesk
from services.trade_executor.api import routes
from services.trade_executor.assembly import assemble, closings_of, guard_of, triggers_of
from services.trade_executor.closing_store import ClosingStore
from services.trade_executor.discrepancies import DiscrepancyDesk
from services.trade_executor.discrepancy_api import discrepancy_routes
from services.trade_executor.dossier_store import DossierStore
from services.trade_executor.ending import finish
from services.trade_executor.lists_store import ListStore
from services.trade_executor.ports import Broker
from services.trade_executor.protection_api import protection_routes
from services.trade_executor.protection_store import ProtectionStore
from services.trade_executor.quarantine import Quarantine
from services.trade_executor.quarantine_store import BrokerQuarantineStore
from services.trade_executor.settings import ExecutorSettings
from services.trade_executor.store import ExecutorStore
from services.trade_executor.tie_out_api import tie_out_routes
from services.trade_executor.tie_out_store import TieOutStore
from services.trade_executor.tie_outs import TieOuts
from services.trade_executor.trigger_store import TriggerStore
from services.trade_executor.venue import alpaca
from services.trade_executor.wire_log import WireLog
from services.trade_executor.wire_store import BrokerMessageStore

NAME = "trade_executor"
_SWITCH_S = 0.0005
_TURNS_TO_THE_WIRE = 4  # of the event loop, from an order's commit to its sending


def build(settings: ExecutorSettings) -> FastAPI:
    """Return the service's app. Raises InvalidInputError where the broker's keys are missing."""
    if not settings.broker_key.get_secret_value() or not settings.broker_secret.get_secret_value():
        raise InvalidInputError(
            f"TRADEWIND_BROKER_KEY and TRADEWIND_BROKER_SECRET: needed to send orders; {WAYS}"
        )
    # What is asked of the broker is asked in threads. At Python's usual 5 ms an order could stand
    # behind one of them for that long.
    sys.setswitchinterval(_SWITCH_S)
    runtime = Runtime.of(NAME, settings)
    books = ExecutorStore(
        runtime,
        batch_max=settings.batch_max,
        margin=settings.margin,
        shorting=settings.shorting,
    )
    wire_log = WireLog(
        BrokerMessageStore(runtime.database), messages_max=settings.wire_messages_max
    )
    quarantine = Quarantine(BrokerQuarantineStore(runtime.database), runtime.clock)
    broker = alpaca(runtime, settings, wire_log, quarantine)
    risk = HttpRiskDesk(
        settings.risk_url, settings.account_id, runtime.clock, runtime.tokens,
        timeout_s=settings.risk_timeout_s,
    )  # fmt: skip
    return service(runtime, settings, books, broker, risk, wire_log, quarantine)


def service(
    runtime: Runtime,
    settings: ExecutorSettings,
    books: ExecutorStore,
    broker: Broker,
    risk: HttpRiskDesk,
    wire_log: WireLog,
    quarantine: Quarantine,
) -> FastAPI:
    """Return the app over given books, broker and risk desk."""
    executor = assemble(runtime, settings, books, broker, risk)
    books.committer.carry(executor.gate)
    # The order first, then the news of it.
    runtime.outbox.give_way(_TURNS_TO_THE_WIRE)
    handlers, watch, tasks = executor.handlers, executor.watch, executor.tasks
    trigger_store = TriggerStore(runtime)
    triggers = triggers_of(runtime, settings, executor, trigger_store)
    feed = TriggerFeed(runtime.bus, triggers, runtime.readiness)
    closing_store = ClosingStore(runtime.database, settings.account_id)
    closing_risk = HttpRiskDesk(
        settings.risk_url, settings.account_id, runtime.clock, runtime.tokens,
        timeout_s=settings.risk_timeout_s, source=CLOSING,
    )  # fmt: skip
    closings = closings_of(runtime, settings, executor, closing_store, broker, closing_risk)
    lists = ListStore(runtime.database, settings.account_id)
    discrepancies = DiscrepancyDesk(
        runtime, settings.account_id, executor.lifecycle, executor.blocks
    )
    protections = ProtectionStore(runtime, settings.account_id)
    guard = guard_of(runtime, settings, executor, protections, closing_store, broker)
    tie_out_store = TieOutStore(runtime, settings.account_id)
    tie_outs = TieOuts(
        store=tie_out_store,
        books=executor.books,
        broker=broker,
        reconciliation=handlers.reconciliation,
        clock=runtime.clock,
        market_clock=runtime.market_clock,
        poll_s=settings.close_poll_s,
        settle_s=settings.settle_s,
        retry_s=settings.tie_out_retry_s,
    )
    routers = routes(
        placing=executor.placing,
        amends=executor.amends,
        triggers=triggers,
        trigger_store=trigger_store,
        cancels=handlers.cancels,
        closings=closings,
        closing_store=closing_store,
        reconciliation=handlers.reconciliation,
        lists=lists,
        dossiers=DossierStore(runtime.database),
        quarantine=quarantine,
        blocks=executor.blocks.shown,
        readiness=runtime.readiness,
        ids=runtime.ids,
        answer_s_max=settings.answer_s_max,
    )
    app = create_app(
        runtime,
        routers=[
            # Before the routes of one order, whose id stands in the same place.
            protection_routes(
                guard,
                protections,
                executor.books,
                runtime.readiness,
                runtime.market_clock,
                settings.account_id,
            ),
            tie_out_routes(tie_outs, tie_out_store, runtime.readiness),
            *routers,
            discrepancy_routes(discrepancies),
        ],
        sole=True,
        start=[triggers.load, watch.start, triggers.begin, closings.resume],
        stop=[
            partial(
                finish,
                tasks,
                {"entries": books.committer, "wire_messages": wire_log, "quarantined": quarantine},
                [broker.close, risk.close, closing_risk.close],
                settings.shutdown_timeout_s,
            )
        ],
        consumers=[
            LogConsumer(ORDERS_APPROVED, handlers.on_approved),
            LogConsumer(COMMANDS, handlers.on_commands),
        ],
        listeners=[
            BroadcastListener(SYSTEM_HEALTH, handlers.on_heartbeat),
            BroadcastListener(RISK_ALERTS, handlers.on_risk_alert),
        ],
        tasks=[
            ("broker stream", executor.follower.run),
            ("kill switch", watch.follow_gate),
            ("open orders", watch.follow_orders),
            ("books", watch.follow_books),
            ("triggers", feed.run),
            ("trigger expiry", triggers.expire),
            ("closings", closings.follow),
            ("close", executor.close.run),
            ("tie-out", tie_outs.run),
            ("protection", guard.run),
            ("wire log", wire_log.run),
            ("quarantine", quarantine.run),
        ],
        figures=lambda: {
            "orders_open": float(len(executor.desk.open_orders())),
            "orders_in_flight": float(len(tasks)),
            "symbols_blocked": float(len(executor.blocks.shown())),
        },
    )
    app.state.executor = executor
    app.state.closings = closings
    return app


if __name__ == "__main__":
    run(NAME, ExecutorSettings, build, complete=with_stored)
