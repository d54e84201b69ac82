"""What runs by itself: rebuilding at start, refreshing, expiry, the watch over losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from libs.common.domain.checks import Totals
from libs.common.domain.instruments import Instrument
from libs.common.domain.vocabulary import TradingState
from libs.common.kernel.clock import from_ns
from libs.common.kernel.errors import ConflictError
from libs.common.kernel.money import ZERO
from libs.common.runtime.logging import get_logger
from services.risk_manager import metrics
from services.risk_manager.controls import ensure_switch, seed_limits, set_state
from services.risk_manager.handlers import Office
from services.risk_manager.ports import Listing, Valuation

_log = get_logger(__name__)

_STATES: Final = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}
# Limits that hold whatever is traded are those of no instrument.
_ACCOUNT: Final = Instrument("ACCOUNT")
_RULES: Final = (
    ("DAILY_LOSS_ABOVE_LIMIT", TradingState.REDUCING),
    ("DRAWDOWN_ABOVE_LIMIT", TradingState.HALTED),
)


async def rebuild(office: Office) -> None:
    """Make the book from PostgreSQL, as at every start."""
    desk, book = office.desk, office.desk.book
    async with office.lock:
        _take_listing(office, *await _read_listing(office))
        await seed_limits(office)
        await ensure_switch(office)
        snapshot = await office.store.snapshot()
        for quote in await office.store.quotes({*snapshot.positions, *office.settings.symbols}):
            book.set_mark(quote.symbol, quote.bid, quote.ask, quote.ts_ns)
        book.load(snapshot.cash, snapshot.positions, snapshot.by_strategy, snapshot.executions)
        for order in snapshot.pending:
            book.reserve(order)
        for strategy_id, at in snapshot.approvals:
            desk.rates.add(strategy_id, at)
        desk.last_bars.update(snapshot.last_bars)
        await _recall_losses(office)
        office.booked_until = snapshot.booked_until
        office.earned = snapshot.earned
        office.settled_at = office.clock.now_ns() / 1e9 + office.settings.risk_settle_s
        office.rebuilt = True
    _log.info(
        "book_rebuilt",
        cash=str(book.cash),
        positions=len(book.positions()),
        pending=len(book.orders),
        reservations=book.reservations(),
    )


async def _recall_losses(office: Office) -> None:
    last = await office.registry.last_valuation()
    if last is None:
        return
    losses = office.desk.losses
    losses.peak = last.peak_equity
    losses.day = office.market.date_of(last.ts)
    losses.day_open = last.equity - last.day_pnl
    if losses.day != office.market.date():
        # What happens between two sessions belongs to the session that follows.
        losses.day, losses.day_open = office.market.date(), last.equity


async def refresh(office: Office) -> None:
    """Meet the books again: apply what was booked and not heard of, take over cash and
    positions. A cash difference that no execution explains was earned (a dividend, interest, a
    fee: profit or loss like any other) or else paid in or out, which is neither. A kill switch
    that was set past us, by hand in the database, is followed too."""
    async with office.lock:
        changes = await office.store.changes(office.booked_until)
        book = office.desk.book
        for fill in changes.fills:
            if book.execute(fill):
                metrics.MISSED.inc()
        earned = changes.earned - office.earned
        paid = changes.cash - book.cash - earned
        book.cash, office.earned = changes.cash, changes.earned
        if earned:
            _log.info("cash_earned", amount=str(earned), cash=str(book.cash))
        if paid:
            office.desk.losses.moved(paid)
            _log.info("cash_moved", amount=str(paid), cash=str(book.cash))
        for symbol in {*changes.positions, *book.positions()}:
            book.set_position(symbol, changes.positions.get(symbol, ZERO))
        office.booked_until = changes.booked_until
        switch = await office.registry.switch()
        if switch is not None and switch.generation > office.desk.switch.generation:
            office.desk.switch = switch
        office.refreshed_at = office.clock.now_ns() / 1e9


async def sweep(office: Office) -> None:
    """Release the approvals whose time is over, unless an order stands behind them after all."""
    async with office.lock:
        now = office.clock.now_ns() / 1e9 - office.settings.risk_reservation_grace_s
        for pending in office.desk.book.expired(now):
            order = await office.store.open_order(pending.order_id)
            if order is None:
                office.desk.book.release(pending.order_id)
                metrics.RELEASED.inc()
                _log.warning("reservation_expired", order_id=str(pending.order_id))
            elif order.ended:
                office.desk.book.end(pending.order_id, order.pending.executed)
            else:
                office.desk.book.confirm(pending.order_id)


async def watch(office: Office) -> None:
    """Value the account; set `reducing` or `halted` where a loss limit is reached."""
    desk = office.desk
    totals = desk.book.totals()
    if totals.complete:
        desk.losses.see(office.market.date(), totals.equity)
    loss = desk.losses.loss_today(totals.equity)
    drawdown = desk.losses.drawdown(totals.equity)
    _show(office, totals)
    limits = desk.limits.limits_for(None, _ACCOUNT)
    caps = [limits.daily_loss_max] if limits.daily_loss_max is not None else []
    if limits.daily_loss_share_max is not None and desk.losses.day_open is not None:
        caps.append(limits.daily_loss_share_max * desk.losses.day_open)
    if loss is not None and caps and loss > min(caps):
        await _fire(office, *_RULES[0], f"lost {loss} today, limit {min(caps)}")
    if drawdown is not None and limits.drawdown_max is not None:
        if drawdown > limits.drawdown_max:
            text = f"drawdown {drawdown:.4f}, limit {limits.drawdown_max}"
            await _fire(office, *_RULES[1], text)
        else:
            office.fired.pop(_RULES[1][0], None)
    await _keep_valuation(office)


async def _fire(office: Office, rule: str, state: TradingState, text: str) -> None:
    """Apply a rule once: a person who resumes is not overruled for the same breach on the same
    day. The checks go on denying what would add risk."""
    key = office.desk.losses.day if state is TradingState.REDUCING else True
    if office.fired.get(rule) == key:
        return
    office.fired[rule] = key
    if _STATES[office.desk.switch.state] < _STATES[state]:
        try:
            await set_state(office, state, reason=text, actor=f"rule:{rule}", code=rule)
        except ConflictError:
            office.fired.pop(rule)
            await ensure_switch(office)


async def _keep_valuation(office: Office) -> None:
    now = office.clock.now_ns() / 1e9
    if now - office.valued_at < office.settings.risk_metrics_s:
        return
    desk, totals = office.desk, office.desk.book.totals()
    losses = desk.losses
    if not totals.complete or losses.peak is None or losses.day_open is None:
        return
    office.valued_at = now
    net = totals.equity - desk.book.cash
    gross = totals.positions_value
    await office.registry.add_valuation(
        Valuation(
            ts=from_ns(office.market.moment().market_ns),
            equity=totals.equity,
            peak_equity=losses.peak,
            drawdown=round(losses.drawdown(totals.equity) or ZERO, 8),
            day_pnl=totals.equity - losses.day_open,
            gross=gross,
            net=net,
            leverage=round(gross / totals.equity, 6) if totals.equity > 0 else ZERO,
        )
    )


def _show(office: Office, totals: Totals) -> None:
    """Set the gauges."""
    desk = office.desk
    metrics.EQUITY.set(float(totals.equity))
    metrics.HELD.set(float(totals.held))
    metrics.GROSS.set(float(totals.gross))
    metrics.NET.set(float(totals.equity - desk.book.cash))
    metrics.LOSS.set(float(desk.losses.loss_today(totals.equity) or 0))
    metrics.DRAWDOWN.set(float(desk.losses.drawdown(totals.equity) or 0))
    metrics.RESERVATIONS.set(desk.book.reservations())
    metrics.OPEN_ORDERS.set(len(desk.book.orders))
    metrics.GENERATION.set(desk.switch.generation)
    metrics.STATE.set(_STATES[desk.switch.state])


async def relist(office: Office) -> None:
    """Read the instruments again."""
    listing, volatility = await _read_listing(office)
    async with office.lock:
        _take_listing(office, listing, volatility)


async def _read_listing(office: Office) -> tuple[Listing, Mapping[str, float]]:
    listing = await office.store.listing()
    return listing, await office.store.volatilities(office.settings.symbols)


def _take_listing(office: Office, listing: Listing, volatility: Mapping[str, float]) -> None:
    desk = office.desk
    desk.instruments.clear()
    desk.instruments.update(listing.instruments)
    desk.restricted = listing.restricted
    desk.volatility = volatility
    desk.book.revalue_all()
