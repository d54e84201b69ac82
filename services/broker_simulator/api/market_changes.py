"""Carrying out `POST /sim/market`: quotes, prints, jumps, halts and corporate actions."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from libs.common.kernel.clock import parse_ns
from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.api.control_models import ActionIn, MarketChange
from services.broker_simulator.broker import Broker
from services.broker_simulator.engine.book import CENT, SUB_CENT, SymbolBook, price_of, ticks_of

Tell = Callable[[str, Any], None]
_JUMP_PRINT_SIZE = 100


def carry_out(broker: Broker, change: MarketChange, tell: Tell) -> None:
    """Let all of it happen now. Raises InvalidInputError before anything did."""
    _check_market(broker, change)
    for quote in change.quotes:
        bid, ask = _ticks(quote.bid, "bid"), _ticks(quote.ask, "ask")
        row = (broker.now_ns, bid, ask, quote.bid_size, quote.ask_size)
        tell(quote.symbol, row)
        broker.exchange.quote(quote.symbol, *row)
    for trade in change.trades:
        ts = broker.now_ns if trade.ts is None else parse_ns(trade.ts, "ts")
        print_ = (ts, _ticks(trade.price, "price"), trade.size)
        tell(trade.symbol, print_)
        broker.exchange.trade(trade.symbol, *print_)
    for jump in change.jumps:
        leap(broker, jump.symbol, jump.percent, tell)
    for halt in change.halts:
        broker.exchange.halt(halt.symbol, halt.halted, halt.reason, suspend=halt.suspend_orders)
    for action in change.actions:
        _act(broker, action)


def leap(broker: Broker, symbol: str, percent: Decimal, tell: Tell) -> None:
    """Move the quote of `symbol` by `percent` and print there; the tape goes on as it would."""
    book, ns = broker.registry.books[symbol], broker.now_ns
    if not book.has_quote:
        return
    bid = _moved(book, book.bid, percent)
    ask = max(_moved(book, book.ask, percent), bid + (100 if bid >= 10_000 else 1))
    row = (ns, bid, ask, book.bid_size, book.ask_size)
    tell(symbol, row)
    broker.exchange.quote(symbol, *row)
    print_ = (ns, bid if percent < 0 else ask, _JUMP_PRINT_SIZE)
    tell(symbol, print_)
    broker.exchange.trade(symbol, *print_)


def _moved(book: SymbolBook, ticks: int, percent: Decimal) -> int:
    price = price_of(ticks) * (1 + percent / 100)
    return max(ticks_of(price.quantize(CENT if price >= 1 else SUB_CENT)), 1)


def _check_market(broker: Broker, change: MarketChange) -> None:
    named = [
        *(quote.symbol for quote in change.quotes),
        *(trade.symbol for trade in change.trades),
        *(jump.symbol for jump in change.jumps),
        *(halt.symbol for halt in change.halts),
        *(action.symbol for action in change.actions),
    ]
    for symbol in named:
        if symbol not in broker.registry.assets:
            raise InvalidInputError(f"unknown symbol {symbol!r}")
    for quote in change.quotes:
        if quote.bid >= quote.ask:
            raise InvalidInputError(f"{quote.symbol}: bid {quote.bid} must be below {quote.ask}")
    for action in change.actions:
        if (action.kind == "split") != (action.ratio is not None) or (
            (action.kind == "dividend") != (action.cash is not None)
        ):
            raise InvalidInputError("a split takes ratio, a dividend takes cash")


def _ticks(price: Decimal, what: str) -> int:
    try:
        return ticks_of(price)
    except ValueError as error:
        raise InvalidInputError(f"{what}: {error}") from error


def _act(broker: Broker, action: ActionIn) -> None:
    if action.ratio is not None:
        broker.engine.split(
            action.symbol,
            action.ratio,
            broker.now_ns,
            cash_in_lieu=action.cash_in_lieu,
            cancel_orders=action.cancel_orders,
        )
    elif action.cash is not None:
        broker.engine.pay_dividend(action.symbol, action.cash, broker.now_ns)
