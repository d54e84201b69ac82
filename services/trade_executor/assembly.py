"""The parts of one executor, put together."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from libs.common.runtime.runtime import Runtime
from services.trade_executor.amends import Amends
from services.trade_executor.cancels import Cancels
from services.trade_executor.claims import Claims
from services.trade_executor.close import CloseWatch
from services.trade_executor.closings import ClosingBook, Closings
from services.trade_executor.desk import Desk
from services.trade_executor.follow import StreamFollower
from services.trade_executor.gate import Blocks, TradingGate
from services.trade_executor.handlers import Handlers
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.lookup import Lookups
from services.trade_executor.open_hours import OpenHours
from services.trade_executor.placing import Placing
from services.trade_executor.ports import Books, Broker, RiskDesk
from services.trade_executor.protection import ProtectionDesk
from services.trade_executor.protection_book import ProtectionBook
from services.trade_executor.reconciliation import Reconciliation
from services.trade_executor.settings import ExecutorSettings
from services.trade_executor.submission import Submission
from services.trade_executor.tasks import Tasks
from services.trade_executor.triggers import TriggerBook, Triggers
from services.trade_executor.watch import Watch

# How far back the order list is read to prove an order absent; market time.
_LIST_BACK = dt.timedelta(days=7)


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


def guard_of(
    runtime: Runtime,
    settings: ExecutorSettings,
    executor: Executor,
    store: ProtectionBook,
    closings: ClosingBook,
    broker: Broker,
) -> ProtectionDesk:
    """Return the desk that looks after an executor's protections; the steps that a venue takes
    are asked of `closings`."""
    return ProtectionDesk(
        store=store,
        books=executor.books,
        desk=executor.desk,
        lifecycle=executor.lifecycle,
        placing=executor.placing,
        cancels=executor.cancels,
        blocks=executor.blocks,
        claims=executor.claims,
        positions_there=broker.positions,
        book_activities=executor.handlers.reconciliation.book_activities,
        quantity_step=closings.quantity_step,
        clock=runtime.clock,
        account_id=settings.account_id,
        look_s=settings.protection_look_s,
        entry_patience_s=settings.protection_entry_s,
        naked_s=settings.protection_naked_s,
    )
