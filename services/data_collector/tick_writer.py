"""Ticks on their way to the tables: a bounded buffer that the live path never waits for."""

import asyncio
from collections import deque

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from libs.common.runtime.readiness import Readiness
from services.data_collector.metrics import ROWS, ROWS_SHED, ROWS_WAITING
from services.data_collector.ports import Ticks, TickStore
from services.data_collector.validation import Quarantined

_log = get_logger(__name__)
_QUARANTINE_MAX = 10_000
_RETRY_S = 1.0


class TickWriter:
    """Stores good ticks and refused ones in batches.

    When the database is away or slower than the market, at most `rows_max` rows wait; what comes
    then is not stored, which is counted (it has been published all the same).
    """

    def __init__(
        self,
        store: TickStore,
        provider: str,
        *,
        rows_max: int,
        batch_rows: int,
        pause_s: float,
        readiness: Readiness | None = None,
    ) -> None:
        self._store = store
        self._provider = provider
        self._rows_max = rows_max
        self._batch_rows = batch_rows
        self._pause_s = pause_s
        self._readiness = readiness or Readiness()
        self._ticks: deque[Ticks] = deque()
        self._rows = 0
        self._refused: deque[Quarantined] = deque()
        self.shed = 0

    @property
    def waiting(self) -> int:
        """Rows not yet stored."""
        return self._rows + len(self._refused)

    def add(self, ticks: Ticks) -> None:
        """Take good ticks; never waits."""
        rows = len(ticks.quotes) + len(ticks.trades)
        if self._rows + rows > self._rows_max:
            self._shed("market_quotes", rows)
            return
        self._ticks.append(ticks)
        self._rows += rows

    def refuse(self, tick: Quarantined) -> None:
        """Take a refused tick; never waits."""
        if len(self._refused) >= _QUARANTINE_MAX:
            self._shed("market_quarantine", 1)
            return
        self._refused.append(tick)

    def _shed(self, table: str, rows: int) -> None:
        self.shed += rows
        ROWS_SHED.labels(table).inc(rows)

    async def run(self) -> None:
        """Store until cancelled; what fails is kept and tried again."""
        while True:
            try:
                while await self.store_once():
                    pass
                self._readiness.clear("ticks")
                await asyncio.sleep(self._pause_s)
            except UnavailableError as error:
                self._readiness.block("ticks", str(error))
                _log.warning("ticks_wait", error=str(error), rows=self.waiting)
                await asyncio.sleep(_RETRY_S)

    async def store_once(self) -> bool:
        """Store one batch; whether a full batch is still waiting. Raises UnavailableError."""
        batch, rows = self._next_batch()
        try:
            if batch:
                ROWS.labels("market_quotes").inc(
                    await self._store.append_ticks(self._provider, batch)
                )
        except (UnavailableError, asyncio.CancelledError):
            self._ticks.extendleft(reversed(batch))
            raise
        except Exception:
            # Rows that the database refuses would be refused for ever: let them go, loudly.
            self._rows -= rows
            self._shed("market_quotes", rows)
            raise
        self._rows -= rows
        await self._store_refused()
        ROWS_WAITING.labels("market_quotes").set(self._rows)
        return self._rows >= self._batch_rows

    def _next_batch(self) -> tuple[list[Ticks], int]:
        batch: list[Ticks] = []
        rows = 0
        while self._ticks and rows < self._batch_rows:
            ticks = self._ticks.popleft()
            rows += len(ticks.quotes) + len(ticks.trades)
            batch.append(ticks)
        return batch, rows

    async def _store_refused(self) -> None:
        refused = list(self._refused)
        if refused:
            await self._store.quarantine(self._provider, refused)
            for _ in refused:
                self._refused.popleft()
            ROWS.labels("market_quarantine").inc(len(refused))

    async def drain(self) -> None:
        """Store everything that waits; called at shutdown. Raises UnavailableError."""
        while self.waiting:
            await self.store_once()
