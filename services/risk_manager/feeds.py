"""Keeping the book current: order events, executions, account values, prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from libs.common.contracts.channels import (
    MARKET_DATA,
    ORDERS_EVENTS,
    PORTFOLIO_UPDATES,
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
    Trade,
    TradeReversed,
)
from libs.common.kernel.clock import NS_PER_SECOND
from libs.common.kernel.money import notional
from services.risk_manager import metrics
from services.risk_manager.handlers import Office
from services.risk_manager.pending import Fill, parts_of
from services.risk_manager.upkeep import refresh

_ASK_EVERY_S: Final = 1.0
_BAR_NS: Final = {"1s": NS_PER_SECOND, "1m": 60 * NS_PER_SECOND}


async def take_order_events(office: Office, envelopes: Sequence[Envelope[OrderEvent]]) -> None:
    """Turn reservations into orders, and end them; take up orders that we did not approve."""
    async with office.lock:
        for envelope in envelopes:
            if envelope.payload.account_id == office.desk.account_id:
                await _take_order_event(office, envelope.payload)


async def _take_order_event(office: Office, event: OrderEvent) -> None:
    book = office.desk.book
    filled = event.filled_quantity
    if event.order_id in book.ended:
        if event.to_status.is_terminal:
            # Repeated, unless the venue corrected an execution after the end.
            if book.end(event.order_id, filled, event.seq):
                return
        else:
            # Mostly a late message; but what ended may turn out to live.
            found = await office.store.open_order(event.order_id)
            if found is not None and not (found.ended or found.leg):
                book.revive(found.pending)
                return
        metrics.REPEATED.labels("order_event").inc()
        return
    if event.order_id not in book.orders:
        # An order adopted from the broker, a replacement, or one whose approval had expired.
        found = await office.store.open_order(event.order_id)
        if found is None or found.leg:
            return
        if found.ended:
            book.pass_over(event.order_id)
            return
        book.take_up(found.pending, found.before_us)
    book.confirm(event.order_id)
    if event.quantity is not None:
        if event.event == "restated":
            book.restate(event.order_id, event.quantity, event.limit_price)
        book.resize(event.order_id, event.quantity)
    if event.to_status.is_terminal and not book.end(event.order_id, filled, event.seq):
        metrics.REPEATED.labels("order_event").inc()


async def take_trades(office: Office, envelopes: Sequence[Envelope[Trade]]) -> None:
    """Book executions; one that was seen changes nothing and is counted."""
    async with office.lock:
        for envelope in envelopes:
            trade = envelope.payload
            if trade.account_id != office.desk.account_id:
                continue
            if not office.desk.book.execute(fill_of(trade)):
                metrics.REPEATED.labels("trade").inc()


def fill_of(trade: Trade) -> Fill:
    """The execution as the book needs it. Buy 10 at 20.00, fees 0.50 → cash -200.50."""
    value = notional(trade.quantity, trade.price)
    return Fill(
        trade_id=trade.trade_id,
        order_id=trade.order_id,
        symbol=trade.symbol,
        side=trade.side,
        quantity=trade.quantity,
        cash=-trade.side.sign * value - trade.commission - trade.fees,
        strategy_id=trade.strategy_id,
    )


async def take_reversals(office: Office, envelopes: Sequence[Envelope[TradeReversed]]) -> None:
    """Take executions back that the venue took back."""
    async with office.lock:
        for envelope in envelopes:
            told = envelope.payload
            if told.account_id != office.desk.account_id:
                continue
            if not office.desk.book.execute(reversal_of(told)):
                metrics.REPEATED.labels("reversal").inc()


def reversal_of(told: TradeReversed) -> Fill:
    """The execution the other way round: of a buy of 10 at 20.00, fees 0.50 → cash +200.50."""
    value = notional(told.quantity, told.price)
    return Fill(
        trade_id=told.reversal_id,
        order_id=told.order_id,
        symbol=told.symbol,
        side=told.side.opposite,
        quantity=told.quantity,
        cash=told.side.sign * value + told.commission + told.fees,
        strategy_id=told.strategy_id,
        reverses=True,
    )


async def take_changes(office: Office, envelopes: Sequence[Envelope[PositionChanged]]) -> None:
    """Take over shares that moved without a trade, each strategy its part."""
    async with office.lock:
        for envelope in envelopes:
            told = envelope.payload
            if told.account_id != office.desk.account_id:
                continue
            parts = [(part.strategy_id, part.quantity) for part in told.shares]
            for fill in parts_of(told.change_id, told.symbol, told.amount, parts):
                if not office.desk.book.execute(fill):
                    metrics.REPEATED.labels("position_change").inc()


async def take_updates(office: Office, envelopes: Sequence[Envelope[PortfolioUpdate]]) -> None:
    """Where the portfolio knows another cash balance than we, ask the ledger itself."""
    ours = [e.payload for e in envelopes if e.payload.account_id == office.desk.account_id]
    if not ours or ours[-1].cash == office.desk.book.cash:
        return
    # Mostly one of us has only heard earlier of the same execution: ask no more than once a second.
    if office.clock.now_ns() / 1e9 - office.refreshed_at >= _ASK_EVERY_S:
        await refresh(office)


async def take_market(office: Office, envelope: Envelope[MarketData]) -> None:
    """Mark a symbol by its last quote, else by the close of its last bar."""
    data, book = envelope.payload, office.desk.book
    if data.quotes:
        quote = data.quotes[-1]
        if 0.0 < quote.bid <= quote.ask:
            book.set_mark(data.symbol, quote.bid, quote.ask, quote.ts_event)
            return
    for bar in reversed(data.bars):
        length = _BAR_NS.get(bar.timeframe)
        if length is not None and bar.close > 0.0:
            book.set_mark(data.symbol, bar.close, bar.close, bar.ts_event + length)
            return


HANDLERS: Final = {
    ORDERS_EVENTS: take_order_events,
    TRADES_EXECUTED: take_trades,
    TRADES_REVERSED: take_reversals,
    POSITIONS_CHANGED: take_changes,
    PORTFOLIO_UPDATES: take_updates,
    MARKET_DATA: take_market,
}
