"""Looks at what this replica's strategies have made, and demotes the one that lost too much."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Collection
from decimal import Decimal
from typing import Final

from libs.common.domain.sessions import NEW_YORK
from libs.common.domain.vocabulary import StrategyMode
from libs.common.kernel.clock import Clock
from libs.common.kernel.money import from_float
from libs.common.runtime.logging import get_logger
from services.strategy_engine.configurator import Configurator
from services.strategy_engine.engine import Engine
from services.strategy_engine.leases import LeaseLostError
from services.strategy_engine.metrics import BEHIND, DEMOTIONS, DRAWDOWN, HIT_RATE, PNL
from services.strategy_engine.performance import (
    Execution,
    Performance,
    Split,
    Track,
    breach,
    performance_of,
)
from services.strategy_engine.ports import History, Performances
from services.strategy_engine.roster import Member, bars_behind
from services.strategy_engine.streams import StreamStatus

_log = get_logger(__name__)

_BEGINNING: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# Transactions become visible out of the order of their booking times.
_OVERLAP: Final = dt.timedelta(seconds=60)


class Reviewer:
    """Keeps a track of each strategy that runs here, from the tables of the executor."""

    def __init__(
        self,
        engine: Engine,
        configurator: Configurator,
        *,
        performances: Performances,
        history: History,
        market_clock: Clock,
        review_s: float,
    ) -> None:
        self._engine = engine
        self._configurator = configurator
        self._performances = performances
        self._history = history
        self._market_clock = market_clock
        self._review_s = review_s
        self._tracks: dict[str, Track] = {}
        self._last: dict[str, Performance] = {}
        self._revision: object = None
        self._since = _BEGINNING
        self._taken: dict[tuple[uuid.UUID, str], dt.datetime] = {}

    async def run(self) -> None:
        """Review until cancelled. Raises UnavailableError."""
        while True:
            await self.review()
            await asyncio.sleep(self._review_s)

    async def review(self) -> None:
        """Look at every strategy of this replica once."""
        members = dict(self._engine.roster.members)
        for strategy_id, member in members.items():
            BEHIND.labels(strategy_id).set(bars_behind(member, self._engine.heard))
        await self._catch_up(members)
        for strategy_id, member in members.items():
            try:
                await self._look(strategy_id, member)
            except LeaseLostError as error:
                _log.warning("performance_parted", strategy_id=strategy_id, reason=str(error))

    async def _catch_up(self, members: Collection[str]) -> None:
        revision = await self._performances.revision()
        if revision != self._revision:
            self._tracks.clear()
            self._revision = revision
        for strategy_id in set(self._tracks) - set(members):
            del self._tracks[strategy_id]
            self._last.pop(strategy_id, None)
        if not self._tracks:
            self._since, self._taken = _BEGINNING, {}
        known = set(self._tracks)
        if known:
            await self._take(known, max(_BEGINNING, self._since - _OVERLAP))
        if fresh := set(members) - known:
            for strategy_id in fresh:
                self._tracks[strategy_id] = Track()
            await self._take(fresh, _BEGINNING)
            for performance, _ in await self._performances.list():
                if performance.strategy_id in fresh:
                    self._last[performance.strategy_id] = performance
        horizon = self._since - 2 * _OVERLAP if self._since > _BEGINNING else _BEGINNING
        self._taken = {i: at for i, at in self._taken.items() if at >= horizon}

    async def _take(self, ids: Collection[str], since: dt.datetime) -> None:
        executions = await self._performances.executions(ids, since)
        splits = await self._performances.splits(ids) if since == _BEGINNING else []
        items: list[Execution | Split] = [*executions, *splits]
        for item in sorted(items, key=lambda i: i.booked_at):
            key = item.id, item.strategy_id
            if key in self._taken:
                continue
            self._taken[key] = item.booked_at
            self._since = max(self._since, item.booked_at)
            track = self._tracks[item.strategy_id]
            if isinstance(item, Split):
                track.split(item)
            else:
                track.apply(item)

    async def _look(self, strategy_id: str, member: Member) -> None:
        track, configuration = self._tracks[strategy_id], member.configuration
        marks = {
            symbol: mark
            for symbol, position in track.positions.items()
            if position.quantity and (mark := await self._mark(member, symbol)) is not None
        }
        unrealized = track.unrealized(marks)
        if unrealized is None:
            return
        now = self._market_clock.now()
        performance = performance_of(
            strategy_id,
            track,
            unrealized,
            self._last.get(strategy_id),
            mode=configuration.mode,
            day=now.astimezone(NEW_YORK).date(),
        )
        if performance != self._last.get(strategy_id):
            epochs = self._engine.holdings.of([strategy_id])
            await self._performances.save(performance, epochs)
            self._last[strategy_id] = performance
        PNL.labels(strategy_id).set(float(performance.pnl))
        DEMOTIONS.labels(strategy_id)  # there before the first: zero is a figure too
        DRAWDOWN.labels(strategy_id).set(float(performance.drawdown))
        if performance.hit_rate is not None:
            HIT_RATE.labels(strategy_id).set(performance.hit_rate)
        if configuration.enabled and configuration.mode is StrategyMode.LIVE:
            await self._judge(member, performance)

    async def _judge(self, member: Member, performance: Performance) -> None:
        faults = sum(s.status is StreamStatus.FAULTED for s in member.streams.values())
        reason = breach(member.configuration.limits, performance, faults)
        if reason is not None:
            await self._configurator.demote(member.configuration.id, reason)

    async def _mark(self, member: Member, symbol: str) -> Decimal | None:
        close = self._engine.closes.get(symbol)
        if close is None:
            end = self._market_clock.now_ns()
            timeframe = member.configuration.timeframe
            last = await self._history.before(timeframe, symbol, end, 1)
            close = float(last["close"][0]) if len(last) else None
        return None if close is None else from_float(close)
