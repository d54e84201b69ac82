"""Keeps one account valued: marks come in, executions make the book be read again.

An execution is never added up here. It only says that the executor's tables have changed, and
they are read anew: so a message that comes twice, late or never changes no figure.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import msgspec

from libs.common.contracts.channels import (
    MARKET_DATA,
    ORDERS_EVENTS,
    POSITIONS_CHANGED,
    TRADES_EXECUTED,
    TRADES_REVERSED,
)
from libs.common.contracts.envelope import Envelope
from libs.common.contracts.messages import (
    MarketData,
    OrderEvent,
    PortfolioUpdate,
    PositionChanged,
    PositionValue,
    Trade,
    TradeReversed,
)
from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from services.portfolio import metrics
from services.portfolio.day import Opening, day_pnl, opening_of, session_date, snapshot_of
from services.portfolio.logic import (
    Book,
    Mark,
    Valuation,
    mark_of,
    newer,
    value_book,
)
from services.portfolio.ports import Books, EquityPoint, Journal, Market
from services.portfolio.settings import PortfolioSettings
from services.portfolio.shares import ValuedShare, value_share


@dataclass(frozen=True, slots=True)
class Present:
    """The account as it was valued last."""

    ts: dt.datetime
    values: Valuation
    opening: Opening
    session: SessionState

    @property
    def day_pnl(self) -> Decimal:
        """Profit of the trading day."""
        return day_pnl(self.opening, self.values)


@dataclass
class Keeper:
    """One account's marks, book and day."""

    settings: PortfolioSettings
    books: Books
    journal: Journal
    market: Market
    clock: Clock
    marks: dict[str, Mark] = field(default_factory=dict)
    present: Present | None = None
    _book: Book = field(default_factory=Book)
    _stale_book: bool = True
    _loaded_ns: int = 0
    _published: PortfolioUpdate | None = None
    _published_ns: int = 0
    _point_ns: int | None = None
    _saved_ns: int = 0
    _final: bool = False

    def take_market(self, data: MarketData) -> None:
        """Keep the newest price of a symbol."""
        fresh = mark_of(data, self.clock.monotonic_ns())
        if fresh is not None:
            self.marks[data.symbol] = newer(self.marks.get(data.symbol), fresh)

    def book_changed(self) -> None:
        """Note that the executor's tables say something new."""
        self._stale_book = True

    async def start(self) -> None:
        """Read the book and take up the trading day where it was left."""
        await self._load()
        await self.refresh()

    async def run(self) -> None:
        """Value and publish until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self.settings.portfolio_update_s)

    async def refresh(self) -> Present:
        """Value the account now; save and publish what has changed."""
        if self._stale_book or self._past(self._loaded_ns, self.settings.portfolio_reload_s):
            await self._load()
        ts, session = self.market.now(), self.market.session()
        values = self._valued(session)
        before = self.present
        opening = await self._opening(ts, session, values)
        self.present = Present(ts, values, opening, session)
        metrics.show(values, self.present.day_pnl)
        await self._snapshot(before)
        await self._publish()
        return self.present

    async def save(self) -> None:
        """Save the day's snapshot as it stands; called at shutdown."""
        if self.present is not None and not self._final:
            await self._save(self.present, final=False)

    async def shares(self, strategy_id: str | None) -> list[ValuedShare]:
        """Return what each strategy, or this one, holds and has made, at the marks."""
        shares = await self.books.shares(strategy_id)
        priceless = {s.symbol for s in shares if s.quantity} - self.marks.keys()
        stored = await self.books.last_prices(priceless) if priceless else {}
        marks = {**stored, **self.marks}
        return [value_share(share, marks.get(share.symbol)) for share in shares]

    async def _load(self) -> None:
        self._stale_book = False
        try:
            self._book = await self.books.book()
            priceless = {h.symbol for h in self._book.holdings if h.quantity} - self.marks.keys()
            if priceless:
                stored = await self.books.last_prices(priceless)
                self.marks = {**stored, **self.marks}
        except UnavailableError:
            self._stale_book = True
            raise
        self._loaded_ns = self.clock.monotonic_ns()
        metrics.RELOADS.inc()

    def _valued(self, session: SessionState) -> Valuation:
        age_max = dt.timedelta(seconds=self.settings.portfolio_mark_age_s)
        return value_book(
            self._book,
            self.marks,
            self.clock.monotonic_ns(),
            age_max if session is SessionState.REGULAR else None,
        )

    async def _opening(self, ts: dt.datetime, session: SessionState, values: Valuation) -> Opening:
        known = self.present.opening.date if self.present else await self.journal.last_date()
        date = session_date(ts, session, known)
        if self.present is not None and self.present.opening.date == date:
            return self.present.opening
        if self.present is not None and not self._final:
            # The close was missed: what was seen last is the best word on the day that is over.
            await self._save(self.present, final=True)
        today = await self.journal.today(date)
        self._final = today is not None and today.final
        self._saved_ns = 0
        return opening_of(date, today, await self.journal.before(date), values)

    async def _snapshot(self, before: Present | None) -> None:
        present = self.present
        assert present is not None
        closed = present.session in (SessionState.POST, SessionState.CLOSED)
        was_open = before is not None and before.session is SessionState.REGULAR
        if self._final:
            return
        if closed and was_open and before is not None and before.opening == present.opening:
            await self._save(present, final=True)
        elif self._saved_ns == 0 or self._past(self._saved_ns, self.settings.portfolio_snapshot_s):
            await self._save(present, final=False)

    async def _save(self, present: Present, *, final: bool) -> None:
        await self.journal.save(
            snapshot_of(self.settings.account_id, present.opening, present.values, final=final)
        )
        self._saved_ns = self.clock.monotonic_ns()
        self._final = final

    async def _publish(self) -> None:
        present = self.present
        assert present is not None
        update = update_of(self.settings.account_id, present)
        if not self._is_news(update):
            return
        point = None
        if self._point_ns is None or self._past(self._point_ns, self.settings.portfolio_equity_s):
            point = EquityPoint(present.ts, present.values.equity, present.values.cash)
        await self.journal.publish(update, point)
        self._published, self._published_ns = update, self.clock.monotonic_ns()
        if point is not None:
            self._point_ns = self.clock.monotonic_ns()
        metrics.UPDATES.inc()

    def _is_news(self, update: PortfolioUpdate) -> bool:
        known = self._published
        if known is None or _holdings(known) != _holdings(update):
            return True
        same = msgspec.structs.replace(update, ts=known.ts) == known
        return not same and self._past(self._published_ns, self.settings.portfolio_publish_s)

    def _past(self, since_ns: int, seconds: float) -> bool:
        return self.clock.monotonic_ns() - since_ns >= seconds * 1e9


def update_of(account_id: str, present: Present) -> PortfolioUpdate:
    """Return the message that tells others what the account is worth."""
    values = present.values
    return PortfolioUpdate(
        account_id=account_id,
        ts=present.ts,
        cash=values.cash,
        equity=values.equity,
        long_value=values.long_value,
        short_value=values.short_value,
        day_pnl=present.day_pnl,
        realized_pnl=values.realized_pnl,
        unrealized_pnl=values.unrealized_pnl,
        total_pnl=values.total_pnl,
        positions=tuple(
            PositionValue(
                symbol=position.symbol,
                quantity=position.quantity,
                avg_cost=position.avg_cost,
                mark=position.mark,
                market_value=position.market_value,
                unrealized_pnl=position.unrealized_pnl,
                realized_pnl=position.realized_pnl,
                stale=position.stale,
            )
            for position in values.positions
        ),
    )


def _holdings(update: PortfolioUpdate) -> tuple[object, ...]:
    """What executions change and prices do not."""
    positions = tuple((position.symbol, position.quantity) for position in update.positions)
    return update.cash, update.realized_pnl, positions


async def take_market(keeper: Keeper, envelope: Envelope[MarketData]) -> None:
    """A price: kept, valued at the next beat."""
    keeper.take_market(envelope.payload)


async def take_trades(keeper: Keeper, envelopes: Sequence[Envelope[Trade]]) -> None:
    """Executions: the book has changed."""
    if any(envelope.payload.account_id == keeper.settings.account_id for envelope in envelopes):
        keeper.book_changed()


async def take_order_events(keeper: Keeper, envelopes: Sequence[Envelope[OrderEvent]]) -> None:
    """Orders come and go: what they hold has changed."""
    if any(envelope.payload.account_id == keeper.settings.account_id for envelope in envelopes):
        keeper.book_changed()


async def take_reversals(keeper: Keeper, envelopes: Sequence[Envelope[TradeReversed]]) -> None:
    """Executions taken back: the book has changed."""
    if any(envelope.payload.account_id == keeper.settings.account_id for envelope in envelopes):
        keeper.book_changed()


async def take_changes(keeper: Keeper, envelopes: Sequence[Envelope[PositionChanged]]) -> None:
    """Splits: the book has changed."""
    if any(envelope.payload.account_id == keeper.settings.account_id for envelope in envelopes):
        keeper.book_changed()


LOG_HANDLERS: Final[dict[Any, Any]] = {
    TRADES_EXECUTED: take_trades,
    TRADES_REVERSED: take_reversals,
    POSITIONS_CHANGED: take_changes,
    ORDERS_EVENTS: take_order_events,
}
BROADCAST_HANDLERS: Final[dict[Any, Any]] = {MARKET_DATA: take_market}
