"""A risk desk with a book, prices and limits, and orders to bring before it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from decimal import Decimal

from libs.common.contracts.messages import OrderSpec, Signal
from libs.common.domain.instruments import Instrument
from libs.common.domain.vocabulary import SessionState, Side, StrategyMode, TradingState
from services.risk_manager.book import Book
from services.risk_manager.desk import Desk, Moment, Switch
from services.risk_manager.judgement import Ask, Judgement, judge, reserve
from services.risk_manager.limits import LimitBook, LimitKey, Scope, defaults
from services.risk_manager.pending import Fill, Pending

NOW = dt.datetime(2022, 3, 1, 15, 0, tzinfo=dt.UTC)
NOW_NS = int(NOW.timestamp()) * 10**9
# Two sectors, so that sums of sectors and of all differ.
SYMBOLS = {"AAPL": "technology", "MSFT": "technology", "KO": "staples", "XOM": "energy"}


def instruments(names: Mapping[str, str] = SYMBOLS) -> dict[str, Instrument]:
    """Shortable instruments by symbol and sector."""
    return {s: Instrument(s, sector=sector, shortable=True) for s, sector in names.items()}


def desk(cash: int = 1_000_000, **limits: int | str) -> Desk:
    """A desk with cash, every symbol at 100, and the account's limits changed as given."""
    listed = instruments()
    book = Book(listed)
    book.cash = Decimal(cash)
    for symbol in listed:
        book.set_mark(symbol, 99.99, 100.01, NOW_NS)
    values = defaults()
    for name, value in limits.items():
        values[LimitKey(Scope.ACCOUNT, "", name)] = Decimal(value)
    return Desk(
        account_id="main",
        instruments=listed,
        book=book,
        limits=LimitBook(values),
        switch=Switch(TradingState.ACTIVE, 1, "test", "test", NOW),
    )


def moment(wall: float = 0.0, session: SessionState = SessionState.REGULAR) -> Moment:
    """Market time at the marks."""
    return Moment(wall, NOW_NS, 1.0, session)


def market_order(
    side: Side = Side.BUY, quantity: int | str = 10, symbol: str = "AAPL"
) -> OrderSpec:
    """A market order."""
    return OrderSpec(symbol=symbol, side=side, quantity=Decimal(quantity))


def ask(spec: OrderSpec, strategy_id: str | None = "sma") -> Ask:
    """A request for `spec` under a fresh id."""
    return Ask(uuid.uuid4(), spec, strategy_id)


def bring(at: Desk, spec: OrderSpec, *, wall: float = 0.0, expires_at: float = 30.0) -> Judgement:
    """Judge, and reserve what is approved."""
    now = moment(wall)
    judgement = judge(at, ask(spec), now)
    if judgement.refusal is None:
        reserve(at, judgement, now, expires_at)
    return judgement


def fill(order: Pending, quantity: int | str | Decimal, price: int | str = 100) -> Fill:
    """An execution of a pending order without fees."""
    amount = Decimal(quantity)
    return Fill(
        trade_id=uuid.uuid4(),
        order_id=order.order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=amount,
        cash=-order.side.sign * amount * Decimal(price),
        strategy_id=order.strategy_id,
    )


def signal(symbol: str = "AAPL", target: float = 1.0, minute: int = 0, **more: object) -> Signal:
    """A decision of strategy `sma` on the bar of that minute."""
    bar_ts = NOW + dt.timedelta(minutes=minute)
    fields: dict[str, object] = {
        "signal_id": uuid.uuid4(),
        "strategy_id": "sma",
        "symbol": symbol,
        "timeframe": "1m",
        "bar_ts": bar_ts,
        "ts_event": bar_ts + dt.timedelta(minutes=1),
        "target": target,
        "confidence": 1.0,
        "reference_price": Decimal(100),
        "mode": StrategyMode.LIVE,
    }
    return Signal(**(fields | more))  # type: ignore[arg-type]
