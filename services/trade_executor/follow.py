"""Following the broker's order stream: reconcile after every connection, then event by event."""

from __future__ import annotations

import asyncio

from libs.common.domain.orders import OrderEvent
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.metrics import STREAM_EVENTS
from services.trade_executor.model import Update
from services.trade_executor.ports import Broker, Gap
from services.trade_executor.reconciliation import Reconciliation
from services.trade_executor.tasks import Tasks
from services.trade_executor.watch import Watch

_log = get_logger(__name__)

_ENDS = frozenset(
    {
        OrderEvent.FILLED,
        OrderEvent.CANCELED,
        OrderEvent.EXPIRED,
        OrderEvent.REJECTED,
        OrderEvent.REPLACED,
    }
)
# What says that more changed than this one order, or what nobody can read: compare everything.
_COMPARED = frozenset(
    {
        OrderEvent.BUSTED,
        OrderEvent.CORRECTED,
        OrderEvent.UNRECOGNISED,
    }
)

_AMENDED = frozenset({OrderEvent.BUSTED, OrderEvent.CORRECTED})


class StreamFollower:
    """Applies what the stream tells.

    Updates of one order are applied in the order of their arrival (each takes the order's lock,
    which is first come, first served); different orders go side by side, `in_flight_max` at most.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        lifecycle: Lifecycle,
        identifier: Identifier,
        reconciliation: Reconciliation,
        tasks: Tasks,
        in_flight_max: int,
        watch: Watch,
    ) -> None:
        self._broker = broker
        self._lifecycle = lifecycle
        self._identifier = identifier
        self._reconciliation = reconciliation
        self._tasks = tasks
        self._room = asyncio.Semaphore(in_flight_max)
        self._watch = watch
        self._count = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        async for item in self._broker.stream():
            if isinstance(item, Gap):
                # The stream has no memory: what happened in the gap is asked for.
                _log.info("stream_gap", why=item.why)
                self._tasks.spawn("reconcile after gap", self._reconcile)
                continue
            self._watch.stream_spoke()
            STREAM_EVENTS.labels(item.event).inc()
            await self._room.acquire()
            self._count += 1
            self._tasks.spawn(f"update {self._count}", lambda update=item: self._apply(update))  # type: ignore[misc]

    async def _reconcile(self) -> None:
        await self._reconciliation.run("reconnect", balances=True, deep=True)

    async def _apply(self, update: Update) -> None:
        try:
            await self.apply(update)
        except UnavailableError:
            # The database or broker is away: the update is not lost, reconciliation asks again.
            self._watch.executions_lacking()
            _log.warning("update_deferred", word=update.event_word)
        finally:
            self._room.release()

    async def apply(self, update: Update) -> None:
        """Apply one update: its execution first, then what it says of the state."""
        order = await self._identifier.family(update.order)
        if update.event in _AMENDED and await self._reconciliation.reversals.told(order, update):
            order = await self._lifecycle.find(order.id)
        elif update.event in _COMPARED:
            _log.warning("broker_event_compared", word=update.event_word, order=str(order.id))
            self._tasks.spawn("reconcile after gap", self._reconcile)
        elif update.execution is not None:
            written = await self._lifecycle.executed(
                order.id,
                update.execution,
                source="stream",
                sum_there=update.order.filled_quantity,
            )
            order = written.order
        if update.order.filled_quantity > order.filled_quantity:
            # An execution is missing or late. What the venue calls an end is believed when all
            # that came before it is booked: reconciliation asks for both.
            self._watch.executions_lacking()
            if update.event in _ENDS:
                return
        event = update.event
        if event is OrderEvent.PARTLY_FILLED and update.execution is not None:
            # Its execution has said so. The word alone, after an end that came in between, would
            # look as if the venue contradicted itself.
            event = OrderEvent.ACKNOWLEDGED
        await self._lifecycle.happen(
            order.id,
            event,
            reason=update.reason,
            broker_order_id=update.order.broker_order_id,
        )
        if update.event is OrderEvent.RESTATED:
            # A split: its shares are booked first, for what the order holds may need them.
            await self._reconciliation.book_activities()
            await self._lifecycle.restate(order.id, update.order)
