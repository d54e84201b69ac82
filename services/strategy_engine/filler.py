"""Bars from the table: history before a strategy begins, what was missed while it runs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import get_logger
from libs.common.strategy.errors import StepError
from services.strategy_engine.bars import Arrival
from services.strategy_engine.metrics import GAPS
from services.strategy_engine.panel import Panel
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
        count = max(stream.runner.warmup, 1)
        timeframe = stream.configuration.timeframe
        history = {
            symbol: await self._history.before(timeframe, symbol, end, count)
            for symbol in stream.symbols
        }
        if not any(map(len, history.values())):
            return
        try:
            stream.warm(history)
        except StepError as error:
            stream.fault(str(error))
            turn.faulted.append(stream)
            return
        if stream.worker is None:
            turn.moved[stream.key] = stream

    async def begin(self, feeds: Sequence[Feed | Panel], turn: Turn) -> None:
        """Begin streams that have never run: their first live bar ends their history.

        Not at the start of the engine: the history may still be on its way into the table, and
        what comes after the warm-up is a signal.
        """
        for feed in feeds:
            first = feed.first_pending()
            if first is None:
                continue
            if not self._late(feed):
                symbols = list(feed.pending[first]) if isinstance(feed, Panel) else feed.symbols
                probe = dict.fromkeys(symbols, first - 1)
                after = await self._history.since(feed.timeframe, probe, 1)
                if not all(map(len, after.values())):
                    continue
            for stream in feed.fresh:
                await self.warm(stream, first, turn)
                stream.warmed = True
            if isinstance(feed, Panel):
                # What is before its first bar is history, of every symbol.
                feed.known = dict.fromkeys(feed.symbols, first - feed.span_ns)
                for symbol in feed.pending.get(first, ()):
                    feed.known[symbol] = first
            stopped = feed.advance(turn)
            feed.waiting_since_ns = self._clock.monotonic_ns() if stopped else None

    async def catch_up(self, feeds: Sequence[Feed | Panel], turn: Turn) -> bool:
        """Step over what the table has beyond each feed; tell whether there may be more."""
        more = False
        rows_max = self._settings.history_rows_max
        for timeframe in sorted({feed.timeframe for feed in feeds}):
            group = [feed for feed in feeds if feed.timeframe == timeframe]
            since: dict[str, int] = {}
            for feed in group:
                for symbol in feed.symbols:
                    since[symbol] = min(feed.ts, since.get(symbol, feed.ts))
            stored = await self._history.since(timeframe, since, rows_max)
            for feed in group:
                self._fill(feed, stored, turn)
                # One whose process is at work asks again when it has done what it has.
                busy = isinstance(feed, Panel) and feed.job is not None
                more = more or any(len(stored[s]) == rows_max for s in feed.symbols if not busy)
                await asyncio.sleep(0)
        return more

    def _fill(self, feed: Feed | Panel, stored: Mapping[str, np.ndarray], turn: Turn) -> None:
        gapped = feed.gapped()
        late = self._late(feed)
        found = {s: self._arrivals(feed, stored[s]) for s in feed.symbols}
        feed.fill(found, turn)
        count = sum(map(len, found.values()))
        if gapped and count:
            GAPS.labels("filled" if count > len(feed.symbols) else "empty").inc()
        elif gapped and late and isinstance(feed, Feed):
            GAPS.labels("timed_out").inc()
            _log.warning("gap_timed_out", symbol=feed.symbol, last=feed.ts)
            feed.step_pending(turn)
        elif gapped and isinstance(feed, Feed):
            return
        # A gap that comes behind this one has its own time to wait.
        stopped = feed.advance(turn)
        feed.waiting_since_ns = self._clock.monotonic_ns() if stopped else None

    def _arrivals(self, feed: Feed | Panel, stored: np.ndarray) -> list[Arrival]:
        cause = feed.cause()
        correlation_id: uuid.UUID = cause.correlation_id if cause else self._ids.new()
        causation_id = cause.causation_id if cause else None
        after = feed.ts
        return [Arrival(bar, correlation_id, causation_id) for bar in stored if bar["ts"] > after]

    def _late(self, feed: Feed | Panel) -> bool:
        since = feed.waiting_since_ns
        waited = 0 if since is None else self._clock.monotonic_ns() - since
        return waited >= self._settings.gap_timeout_s * _NS
