"""Takes parcels to a messenger: a bounded queue, patience, and an account of every end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.runtime.logging import get_logger
from libs.common.runtime.resilience import pauses
from services.monitoring import metrics
from services.monitoring.ports import Messenger, Outcome, Parcel, Receipt

_log = get_logger(__name__)


class Courier:
    """Delivers in the background, one parcel after the other; `offer` never waits.

    A parcel is tried `attempts_max` times with growing pauses. One fingerprint is on its way once
    at a time. When the queue is full the new parcel is dropped, and that is recorded.
    """

    def __init__(
        self,
        messenger: Messenger,
        record: Callable[[Receipt], Awaitable[None]],
        clock: Clock,
        *,
        queue_max: int,
        attempts_max: int,
        delay_s: float,
        delay_s_max: float,
    ) -> None:
        self._messenger = messenger
        self._record = record
        self._clock = clock
        self._queue: asyncio.Queue[Parcel] = asyncio.Queue(queue_max)
        self._attempts_max = attempts_max
        self._delay_s = delay_s
        self._delay_s_max = delay_s_max
        self._under_way: set[str] = set()
        self._unrecorded: list[Receipt] = []

    def carries(self, fingerprint: str) -> bool:
        """Tell whether this fingerprint is on its way."""
        return fingerprint in self._under_way

    def offer(self, parcel: Parcel) -> bool:
        """Take a parcel; False if the queue is full, which is recorded as dropped."""
        if self.carries(parcel.fingerprint):
            return True
        try:
            self._queue.put_nowait(parcel)
        except asyncio.QueueFull:
            _log.error("notification_dropped", title=parcel.title)
            self._end(parcel, Outcome.DROPPED, 0, "the delivery queue is full")
            return False
        self._under_way.add(parcel.fingerprint)
        metrics.QUEUE.set(self._queue.qsize())
        return True

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            parcel = await self._queue.get()
            metrics.QUEUE.set(self._queue.qsize())
            try:
                await self._deliver(parcel)
                await self.account()  # while under way: whoever asks next must see it told
            finally:
                self._under_way.discard(parcel.fingerprint)

    async def account(self) -> None:
        """Write the ends of deliveries down; what cannot be written now is kept for later."""
        while self._unrecorded:
            try:
                await self._record(self._unrecorded[0])
            except UnavailableError as error:
                _log.warning("receipt_waits", error=str(error))
                return
            self._unrecorded.pop(0)

    async def _deliver(self, parcel: Parcel) -> None:
        async for attempt in pauses(self._delay_s, self._delay_s_max):
            try:
                await self._messenger.send(parcel)
            except InvalidInputError as error:
                self._end(parcel, Outcome.FAILED, attempt + 1, str(error))
            except UnavailableError as error:
                _log.warning("notification_waits", title=parcel.title, error=str(error))
                if attempt + 1 < self._attempts_max:
                    continue
                self._end(parcel, Outcome.FAILED, attempt + 1, str(error))
            else:
                self._end(parcel, Outcome.DELIVERED, attempt + 1, None)
            return

    def _end(self, parcel: Parcel, outcome: Outcome, attempts: int, error: str | None) -> None:
        channel = self._messenger.name
        metrics.DELIVERIES.labels(channel, outcome.value).inc()
        if error is not None:
            _log.error("notification_lost", title=parcel.title, outcome=outcome, error=error)
        self._unrecorded.append(
            Receipt(parcel, channel, outcome, attempts, error, self._clock.now())
        )
