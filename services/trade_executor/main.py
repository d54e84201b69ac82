"""Wiring of the executor: `python -m services.trade_executor.main`."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from fastapi import FastAPI

from libs.common.contracts.channels import COMMANDS, ORDERS_APPROVED, RISK_ALERTS, SYSTEM_HEALTH
from libs.common.contracts.risk_api import CLOSING
from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.app import create_app, run
from libs.common.runtime.consumers import BroadcastListener, LogConsumer
from libs.common.runtime.runtime import Runtime
from services.trade_executor.adapters.alpaca import AlpacaBroker
from services.trade_executor.adapters.alpaca_record import RecordingAdapter
from services.trade_executor.adapters.alpaca_stream import AlpacaStream
from services.trade_executor.adapters.alpaca_wire import AlpacaLimits
from services.trade_executor.adapters.market_feed import TriggerFeed
from services.trade_executor.adapters.risk import HttpRiskDesk
from services.trade_executor.amends import Amends
from services.trade_executor.api import routes
from services.trade_executor.cancels import Cancels
from services.trade_executor.claims import Claims
from services.trade_executor.close import CloseWatch
from services.trade_executor.closing_store import ClosingStore
from services.trade_executor.closings import ClosingBook, Closings
from services.trade_executor.desk import Desk
from services.trade_executor.discrepancies import DiscrepancyDesk
from services.trade_executor.discrepancy_api import discrepancy_routes
from services.trade_executor.dossier_store import DossierStore
from services.trade_executor.follow import StreamFollower
from services.trade_executor.gate import Blocks, TradingGate
from services.trade_executor.handlers import Handlers
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.lists_store import ListStore
from services.trade_executor.lookup import Lookups
from services.trade_executor.open_hours import OpenHours
from services.trade_executor.placing import Placing
from services.trade_executor.ports import Books, Broker, RiskDesk
from services.trade_executor.protection import ProtectionDesk
from services.trade_executor.protection_api import protection_routes
from services.trade_executor.protection_store import ProtectionStore
from services.trade_executor.quarantine import Quarantine
from services.trade_executor.quarantine_store import BrokerQuarantineStore
from services.trade_executor.reconciliation import Reconciliation
from services.trade_executor.settings import ExecutorSettings
from services.trade_executor.store import ExecutorStore
from services.trade_executor.submission import Submission
from services.trade_executor.tasks import Tasks
from services.trade_executor.trigger_store import TriggerStore
from services.trade_executor.triggers import TriggerBook, Triggers
from services.trade_executor.watch import Watch
from services.trade_executor.wire_log import WireLog, WireMessage
from services.trade_executor.wire_store import BrokerMessageStore

NAME = "trade_executor"
# How far back the order list is read to prove an order absent; market time.
_LIST_BACK = dt.timedelta(days=7)
_SWITCH_S = 0.0005
_CALLS_PER_MINUTE_ALPACA = 200.0
_CALLS_PER_MINUTE_OWN = 120_000.0


@dataclass(frozen=True)
class Executor:
    """The parts of one executor, put together."""

    handlers: Handlers
    follower: StreamFollower
    watch: Watch
    placing: Placing
    amends: Amends
    desk: Desk
    blocks: Blocks
    tasks: Tasks
    gate: TradingGate
    books: Books
    lifecycle: Lifecycle
    close: CloseWatch
    cancels: Cancels
    claims: Claims


def assemble(
    runtime: Runtime, settings: ExecutorSettings, books: Books, broker: Broker, risk: RiskDesk
) -> Executor:
    """Put the parts together; opens nothing."""
    desk, blocks, tasks = Desk(), Blocks(), Tasks()
    clock, market_clock = runtime.clock, runtime.market_clock
    gate = TradingGate(
        books,
        clock,
        age_ms_max=settings.gate_age_ms_max,
        heartbeat_s_max=settings.risk_heartbeat_s_max,
    )
    lifecycle = Lifecycle(
        books, desk, blocks, clock, account_id=settings.account_id, broker=broker.name
    )
    identifier = Identifier(books, broker, desk, lifecycle, legs_wait_s=settings.broker_timeout_s)
    lookups = Lookups(
        broker,
        desk,
        clock,
        first_s=settings.lookup_s_first,
        max_s=settings.lookup_s_max,
        settle_s=settings.lookup_settle_s,
        list_from=lambda: market_clock.now() - _LIST_BACK,
    )
    submission = Submission(
        books=books,
        broker=broker,
        desk=desk,
        lifecycle=lifecycle,
        gate=gate,
        blocks=blocks,
        clock=clock,
        tasks=tasks,
        lookups=lookups,
        identifier=identifier,
        collar=Decimal(str(settings.market_collar_percent)) / 100,
        attempts_max=settings.attempts_max,
    )
    cancels = Cancels(broker, desk, lifecycle)
    amends = Amends(
        books=books,
        broker=broker,
        desk=desk,
        lifecycle=lifecycle,
        submission=submission,
        cancels=cancels,
        gate=gate,
        blocks=blocks,
        risk=risk,
        clock=clock,
        tasks=tasks,
        lookups=lookups,
        identifier=identifier,
        account_id=settings.account_id,
        collar=Decimal(str(settings.market_collar_percent)) / 100,
        answer_s=settings.broker_timeout_s,
    )
    reconciliation = Reconciliation(
        books=books,
        broker=broker,
        desk=desk,
        lifecycle=lifecycle,
        identifier=identifier,
        blocks=blocks,
        clock=clock,
        market_clock=market_clock,
        ids=runtime.ids,
        settle_s=settings.settle_s,
        overlap=dt.timedelta(seconds=settings.watermark_overlap_s),
    )
    watch = Watch(
        books=books,
        broker=broker,
        desk=desk,
        blocks=blocks,
        lifecycle=lifecycle,
        submission=submission,
        amends=amends,
        cancels=cancels,
        gate=gate,
        reconciliation=reconciliation,
        clock=clock,
        tasks=tasks,
        readiness=runtime.readiness,
        gate_poll_s=settings.gate_poll_s,
        watch_s=settings.watch_s,
        orders_s=settings.reconcile_orders_s,
        books_s=settings.reconcile_books_s,
        settle_s=settings.settle_s,
    )
    follower = StreamFollower(
        broker=broker,
        lifecycle=lifecycle,
        identifier=identifier,
        reconciliation=reconciliation,
        tasks=tasks,
        in_flight_max=settings.orders_in_flight_max,
        watch=watch,
    )
    handlers = Handlers(
        account_id=settings.account_id,
        submission=submission,
        cancels=cancels,
        reconciliation=reconciliation,
        gate=gate,
        watch=watch,
        tasks=tasks,
    )
    placing = Placing(
        books, risk, submission, clock, account_id=settings.account_id, broker=broker.name
    )
    close = CloseWatch(
        reconciliation,
        market_clock,
        poll_s=settings.close_poll_s,
        settle_s=settings.settle_s,
    )
    return Executor(
        handlers,
        follower,
        watch,
        placing,
        amends,
        desk,
        blocks,
        tasks,
        gate,
        books,
        lifecycle,
        close,
        cancels,
        Claims(),
    )


def triggers_of(
    runtime: Runtime, settings: ExecutorSettings, executor: Executor, book: TriggerBook
) -> Triggers:
    """Return the triggers of an executor; what cancels its orders cancels them too."""
    triggers = Triggers(
        book=book,
        books=executor.books,
        placing=executor.placing,
        gate=executor.gate,
        hours=OpenHours(runtime.market_clock),
        clock=runtime.clock,
        market_clock=runtime.market_clock,
        tasks=executor.tasks,
        account_id=settings.account_id,
        price_age_s_max=settings.trigger_price_age_s_max,
    )
    executor.handlers.cancels.also.append(triggers.cancel_all)
    return triggers


def closings_of(
    runtime: Runtime,
    settings: ExecutorSettings,
    executor: Executor,
    book: ClosingBook,
    broker: Broker,
    risk: RiskDesk,
) -> Closings:
    """Return the closings of an executor, judged by `risk`; a halt may order them for all."""
    handlers, account_id = executor.handlers, settings.account_id
    closings = Closings(
        book=book,
        books=executor.books,
        broker=broker,
        desk=executor.desk,
        lifecycle=executor.lifecycle,
        cancels=handlers.cancels,
        placing=Placing(
            executor.books, risk, handlers.submission, runtime.clock,
            account_id=account_id, broker=broker.name,
        ),
        claims=executor.claims,
        clock=runtime.clock,
        ids=runtime.ids,
        tasks=executor.tasks,
        account_id=account_id,
        cancel_s_max=settings.closing_cancel_s_max,
        settle_s=settings.settle_s,
    )  # fmt: skip
    executor.watch.flatteners.append(closings.flatten)
    return closings


def alpaca(
    runtime: Runtime, settings: ExecutorSettings, wire_log: WireLog, quarantine: Quarantine
) -> AlpacaBroker:
    """Return the broker that the settings name; what is said to it and by it goes to the log, and
    what of it cannot be read into quarantine."""
    key = settings.broker_key.get_secret_value()
    secret = settings.broker_secret.get_secret_value()

    def report(reason: str | None) -> None:
        if reason is None:
            runtime.readiness.clear("broker stream")
        else:
            runtime.readiness.block("broker stream", reason)

    stream = AlpacaStream(
        settings.broker_stream_url,
        key,
        secret,
        ping_s=settings.stream_ping_s,
        reconnect_s_max=settings.stream_reconnect_s_max,
        timeout_s=settings.broker_timeout_s,
        report=report,
        heard=lambda frame: wire_log.note(
            WireMessage(at_ns=runtime.clock.now_ns(), received=frame)
        ),
        unreadable=quarantine.frame,
    )
    rented = "alpaca.markets" in settings.broker_url
    usual = _CALLS_PER_MINUTE_ALPACA if rented else _CALLS_PER_MINUTE_OWN
    limits = AlpacaLimits(
        threads=settings.broker_threads,
        timeout_s=settings.broker_timeout_s,
        answer_s_max=settings.broker_answer_s_max,
        calls_per_minute=settings.broker_calls_per_minute or usual,
        failures_max=settings.broker_failures_max,
        circuit_reset_s=settings.broker_circuit_reset_s,
    )
    return AlpacaBroker(
        settings.broker_url,
        key,
        secret,
        limits=limits,
        stream=stream,
        adapter_of=partial(
            RecordingAdapter,
            clock=runtime.clock,
            note=wire_log.note,
            bytes_max=settings.broker_answer_bytes_max,
        ),
        unreadable=quarantine.answer,
    )


def build(settings: ExecutorSettings) -> FastAPI:
    """Return the service's app. Raises InvalidInputError where the broker's keys are missing."""
    if not settings.broker_key.get_secret_value() or not settings.broker_secret.get_secret_value():
        raise InvalidInputError(
            "TRADEWIND_BROKER_KEY and TRADEWIND_BROKER_SECRET: needed to send orders"
        )
    # An order's request is made in a thread of its own. At Python's usual 5 ms it could stand
    # behind the event loop for that long, twice.
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
        settings.risk_url, settings.account_id, runtime.clock, timeout_s=settings.risk_timeout_s
    )
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
    handlers, watch, tasks = executor.handlers, executor.watch, executor.tasks
    trigger_store = TriggerStore(runtime)
    triggers = triggers_of(runtime, settings, executor, trigger_store)
    feed = TriggerFeed(runtime.bus, triggers, runtime.readiness)
    closing_store = ClosingStore(runtime.database, settings.account_id)
    closing_risk = HttpRiskDesk(
        settings.risk_url, settings.account_id, runtime.clock,
        timeout_s=settings.risk_timeout_s, source=CLOSING,
    )  # fmt: skip
    closings = closings_of(runtime, settings, executor, closing_store, broker, closing_risk)
    lists = ListStore(runtime.database, settings.account_id)
    discrepancies = DiscrepancyDesk(
        runtime, settings.account_id, executor.lifecycle, executor.blocks
    )
    protections = ProtectionStore(runtime, settings.account_id)
    guard = ProtectionDesk(
        store=protections,
        books=executor.books,
        desk=executor.desk,
        lifecycle=executor.lifecycle,
        placing=executor.placing,
        cancels=executor.cancels,
        blocks=executor.blocks,
        claims=executor.claims,
        clock=runtime.clock,
        account_id=settings.account_id,
        look_s=settings.protection_look_s,
        entry_patience_s=settings.protection_entry_s,
        naked_s=settings.protection_naked_s,
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
                guard, protections, executor.books, runtime.readiness, settings.account_id
            ),
            *routers,
            discrepancy_routes(discrepancies),
        ],
        sole=True,
        start=[triggers.load, watch.start, triggers.begin, closings.resume],
        stop=[
            partial(
                _finish,
                tasks,
                books,
                broker,
                [risk, closing_risk],
                wire_log,
                settings.shutdown_timeout_s,
                quarantine,
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
            ("close", executor.close.run),
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


async def _finish(
    tasks: Tasks,
    books: ExecutorStore,
    broker: Broker,
    risks: Sequence[HttpRiskDesk],
    wire_log: WireLog,
    timeout_s: float,
    quarantine: Quarantine,
) -> None:
    """Let what is being sent come to its answer, then close; orders are left at the broker."""
    await tasks.idle(timeout_s * 0.6)
    await tasks.stop()
    await books.committer.drain()
    await broker.close()
    for risk in risks:
        await risk.close()
    await wire_log.flush()
    await quarantine.flush()


if __name__ == "__main__":
    run(NAME, ExecutorSettings, build)
