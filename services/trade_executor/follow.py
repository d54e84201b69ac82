"""Following the broker's order stream: reconcile after every connection, then event by event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from libs.common.domain.orders import OrderEvent
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.metrics import STREAM_EVENTS
from services.trade_executor.model import Update
from services.trade_executor.ports import Broker, Reconnected
from services.trade_executor.reconciliation import Reconciliation
from services.trade_executor.tasks import Tasks

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
        clock: Clock,
        tasks: Tasks,
        in_flight_max: int,
        on_lacking: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._lifecycle = lifecycle
        self._identifier = identifier
        self._reconciliation = reconciliation
        self._clock = clock
        self._tasks = tasks
        self._room = asyncio.Semaphore(in_flight_max)
        self._on_lacking = on_lacking
        self._count = 0
        self._heard_ns = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        async for item in self._broker.stream():
            if isinstance(item, Reconnected):
                # The stream has no memory: what happened while it was away is asked for.
                self._tasks.spawn("reconcile after connection", self._reconcile)
                continue
            self._heard_ns = self._clock.monotonic_ns()
            STREAM_EVENTS.labels(item.event).inc()
            await self._room.acquire()
            self._count += 1
            self._tasks.spawn(f"update {self._count}", lambda update=item: self._apply(update))  # type: ignore[misc]

    @property
    def silent_s(self) -> float:
        """Seconds since the stream last told anything."""
        return (self._clock.monotonic_ns() - self._heard_ns) / 1e9

    async def _reconcile(self) -> None:
        await self._reconciliation.run("reconnect", balances=True, deep=True)

    async def _apply(self, update: Update) -> None:
        try:
            await self.apply(update)
        except UnavailableError:
            # The database or broker is away: the update is not lost, reconciliation asks again.
            self._on_lacking()
            _log.warning("update_deferred", word=update.event_word)
        finally:
            self._room.release()

    async def apply(self, update: Update) -> None:
        """Apply one update: its execution first, then what it says of the state."""
        order = await self._identifier.family(update.order)
        if update.execution is not None:
            written = await self._lifecycle.executed(order.id, update.execution, source="stream")
            order = written.order
        if update.order.filled_quantity > order.filled_quantity:
            # An execution is missing or late. What the venue calls an end is believed when all
            # that came before it is booked: reconciliation asks for both.
            self._on_lacking()
            if update.event in _ENDS:
                return
        if update.event is OrderEvent.UNRECOGNISED:
            _log.warning("broker_event_unrecognised", word=update.event_word, order=str(order.id))
        await self._lifecycle.happen(
            order.id,
            update.event,
            reason=update.order.reason,
            broker_order_id=update.order.broker_order_id,
        )
