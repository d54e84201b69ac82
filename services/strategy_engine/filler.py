"""Bars from the table: history before a strategy begins, what was missed while it runs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Final

import numpy as np

from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import get_logger
from services.strategy_engine.bars import Arrival
from services.strategy_engine.metrics import GAPS
from services.strategy_engine.ports import History
from services.strategy_engine.settings import EngineSettings
from services.strategy_engine.streams import Feed, Stream, Turn

_log = get_logger(__name__)

_NS: Final = 1_000_000_000


class Filler:
    """Reads the table and steps feeds over what it finds; what came of it goes into a Turn."""

    def __init__(
        self, settings: EngineSettings, history: History, clock: Clock, ids: IdSource
    ) -> None:
        self._settings = settings
        self._history = history
        self._clock = clock
        self._ids = ids

    async def warm(self, stream: Stream, end: int, turn: Turn) -> None:
        """Fill the stream from the bars stored before `end`, if there are any."""
        count = stream.runner.warmup
        history = await self._history.before(
            stream.configuration.timeframe, stream.symbol, end, max(count, 1)
        )
        if len(history):
            stream.warm(history)
            turn.moved[stream.key] = stream

    async def begin(self, feeds: Sequence[Feed], turn: Turn) -> None:
        """Begin streams that have never run: their first live bar ends their history.

        Not at the start of the engine: the history may still be on its way into the table, and
        what comes after the warm-up is a signal.
        """
        for feed in feeds:
            first = feed.first_pending()
            if first is None:
                continue
            if not self._late(feed):
                after = await self._history.since(feed.timeframe, {feed.symbol: first - 1}, 1)
                if not len(after[feed.symbol]):
                    continue
            for stream in feed.fresh:
                await self.warm(stream, first, turn)
                stream.warmed = True
            stopped = feed.advance(turn)
            feed.waiting_since_ns = self._clock.monotonic_ns() if stopped else None

    async def catch_up(self, feeds: Sequence[Feed], turn: Turn) -> bool:
        """Step over what the table has beyond each feed; tell whether there may be more."""
        more = False
        rows_max = self._settings.history_rows_max
        for timeframe in sorted({feed.timeframe for feed in feeds}):
            group = [feed for feed in feeds if feed.timeframe == timeframe]
            since = {feed.symbol: feed.ts for feed in group}
            stored = await self._history.since(timeframe, since, rows_max)
            for feed in group:
                self._fill(feed, stored[feed.symbol], turn)
                more = more or len(stored[feed.symbol]) == rows_max
                await asyncio.sleep(0)
        return more

    def _fill(self, feed: Feed, stored: np.ndarray, turn: Turn) -> None:
        gapped = feed.gapped()
        late = self._late(feed)
        feed.fill(self._arrivals(feed, stored), turn)
        if gapped and len(stored):
            GAPS.labels("filled" if len(stored) > 1 else "empty").inc()
        elif gapped and late:
            GAPS.labels("timed_out").inc()
            _log.warning("gap_timed_out", symbol=feed.symbol, last=feed.ts)
            feed.step_pending(turn)
        elif gapped:
            return
        # A gap that comes behind this one has its own time to wait.
        stopped = feed.advance(turn)
        feed.waiting_since_ns = self._clock.monotonic_ns() if stopped else None

    def _arrivals(self, feed: Feed, stored: np.ndarray) -> list[Arrival]:
        first = feed.first_pending()
        cause = feed.pending[first] if first is not None else None
        correlation_id: uuid.UUID = cause.correlation_id if cause else self._ids.new()
        causation_id = cause.causation_id if cause else None
        return [Arrival(bar, correlation_id, causation_id) for bar in stored]

    def _late(self, feed: Feed) -> bool:
        since = feed.waiting_since_ns
        waited = 0 if since is None else self._clock.monotonic_ns() - since
        return waited >= self._settings.gap_timeout_s * _NS
