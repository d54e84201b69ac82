"""`/v2/stocks/…`: bars, quotes, trades, latest values and snapshots from the tape up to now."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.broker_simulator.api.query import (
    read_choice,
    read_int,
    read_symbols,
    read_time,
)
from services.broker_simulator.broker import Broker
from services.broker_simulator.edge import Answer, Request, Router
from services.broker_simulator.engine.refusals import malformed, unprocessable
from services.broker_simulator.market.archive import Archive, Timeframe, read_timeframe
from services.broker_simulator.wire_data import bar_json, quote_json, trade_json

_LIMIT = 1000
_LIMIT_MAX = 10_000
_DAY_NS = 86_400_000_000_000
_MINUTE = Timeframe(1, "Min")
_DAY = Timeframe(1, "Day")
Row = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Period:
    """Which rows are asked for."""

    symbols: list[str]
    start: int
    end: int
    limit: int
    descending: bool
    token: tuple[str, int] | None


class DataApi:
    """The market data paths of one broker."""

    def __init__(self, broker: Broker, archive: Archive) -> None:
        self._broker = broker
        self._archive = archive

    def register(self, router: Router) -> None:
        """Add the paths, for several symbols and for one."""
        for kind, rows in (
            ("bars", self._bar_rows),
            ("quotes", self._quote_rows),
            ("trades", self._trade_rows),
        ):
            router.add("GET", f"/v2/stocks/{kind}", self._history(kind, rows, single=False))
            router.add("GET", f"/v2/stocks/{{symbol}}/{kind}", self._history(kind, rows, True))
        for kind, find in (
            ("bars", self._latest_bar),
            ("quotes", self._latest_quote),
            ("trades", self._latest_trade),
        ):
            router.add("GET", f"/v2/stocks/{kind}/latest", self._latest(kind, find, single=False))
            path = f"/v2/stocks/{{symbol}}/{kind}/latest"
            router.add("GET", path, self._latest(kind, find, single=True))
        router.add("GET", "/v2/stocks/snapshots", self.snapshots)
        router.add("GET", "/v2/stocks/{symbol}/snapshot", self.snapshot)
        router.add("GET", "/v2/stocks/meta/exchanges", self.exchanges)

    async def snapshots(self, request: Request) -> Answer:
        """Return the snapshots of several symbols, keyed by symbol."""
        symbols = self._symbols(request)
        made = await asyncio.to_thread(lambda: {s: self._snapshot(s) for s in symbols})
        return Answer(made)

    async def snapshot(self, request: Request) -> Answer:
        """Return one symbol's snapshot."""
        symbol = self._symbols(request)[0]
        made = await asyncio.to_thread(self._snapshot, symbol)
        return Answer({"symbol": symbol, **made})

    async def exchanges(self, request: Request) -> Answer:
        """Return the names of the exchange codes."""
        return Answer({"V": "Tradewind simulator"})

    def _history(
        self, kind: str, rows: Callable[[Request, str, Period], Iterator[Row]], single: bool
    ) -> Callable[[Request], Any]:
        async def handler(request: Request) -> Answer:
            """Return history up to now, paged."""
            period = self._period(request)
            page, token = await asyncio.to_thread(self._page, request, period, rows)
            if single:
                symbol = period.symbols[0]
                body: dict[str, Any] = {kind: page.get(symbol, []), "symbol": symbol}
            else:
                body = {kind: page}
            return Answer({**body, "next_page_token": token})

        return handler

    def _latest(
        self, kind: str, find: Callable[[str], dict[str, Any] | None], single: bool
    ) -> Callable[[Request], Any]:
        async def handler(request: Request) -> Answer:
            """Return the latest value."""
            symbols = self._symbols(request)
            found = await asyncio.to_thread(lambda: {s: find(s) for s in symbols})
            if single:
                return Answer({"symbol": symbols[0], kind[:-1]: found[symbols[0]]})
            return Answer({kind: {s: body for s, body in found.items() if body is not None}})

        return handler

    def _page(
        self,
        request: Request,
        period: Period,
        rows: Callable[[Request, str, Period], Iterator[Row]],
    ) -> tuple[dict[str, list[dict[str, Any]]], str | None]:
        """Return one page and the token of the next: symbols in order, rows in order of time.

        The token names the last row given; rows of one symbol and time stay together, so a page
        may exceed its limit by those.
        """
        page: dict[str, list[dict[str, Any]]] = {}
        count = 0
        last: tuple[str, int] | None = None
        for symbol in sorted(period.symbols):
            if period.token is not None and symbol < period.token[0]:
                continue
            made: Iterable[Row] = rows(request, symbol, period)
            if period.descending:
                made = reversed(list(made))
            for ts, body in made:
                if period.token is not None and symbol == period.token[0]:
                    after = ts < period.token[1] if period.descending else ts > period.token[1]
                    if not after:
                        continue
                if count >= period.limit and last != (symbol, ts):
                    assert last is not None
                    return page, _token(*last)
                page.setdefault(symbol, []).append(body)
                count += 1
                last = (symbol, ts)
        return page, None

    def _bar_rows(self, request: Request, symbol: str, period: Period) -> Iterator[Row]:
        frame = read_timeframe(request.query.get("timeframe", "1Min"))
        now = self._broker.now_ns
        for candle in self._archive.bars(symbol, frame, period.start, period.end, now):
            yield candle.ts, bar_json(candle)

    def _quote_rows(self, request: Request, symbol: str, period: Period) -> Iterator[Row]:
        end = min(period.end, self._broker.now_ns)
        for _, tape in self._archive.tapes(symbol, period.start, end):
            q = tape.quotes
            a, b = np.searchsorted(q.ts, [period.start, end + 1])
            columns = (q.ts, q.bid, q.ask, q.bid_size, q.ask_size)
            for row in zip(*(c[a:b].tolist() for c in columns), strict=True):
                yield row[0], quote_json(*row)

    def _trade_rows(self, request: Request, symbol: str, period: Period) -> Iterator[Row]:
        end = min(period.end, self._broker.now_ns)
        for _, tape in self._archive.tapes(symbol, period.start, end):
            t = tape.trades
            a, b = np.searchsorted(t.ts, [period.start, end + 1])
            for number, row in enumerate(
                zip(t.ts[a:b].tolist(), t.price[a:b].tolist(), t.size[a:b].tolist(), strict=True),
                start=int(a) + 1,
            ):
                yield row[0], trade_json(*row, number)

    def _latest_quote(self, symbol: str) -> dict[str, Any] | None:
        book = self._broker.registry.books[symbol]
        if not book.has_quote:
            return None
        return quote_json(book.quoted_at, book.bid, book.ask, book.bid_size, book.ask_size)

    def _latest_trade(self, symbol: str) -> dict[str, Any] | None:
        row = self._broker.exchange.last_trades.get(symbol)
        return None if row is None else trade_json(*row)

    def _latest_bar(self, symbol: str) -> dict[str, Any] | None:
        candle = self._broker.exchange.bars.last_minutes.get(symbol)
        if candle is None:
            now = self._broker.now_ns
            recent = list(self._archive.bars(symbol, _MINUTE, now - 7 * _DAY_NS, now, now))
            candle = recent[-1] if recent else None
        return None if candle is None else bar_json(candle)

    def _snapshot(self, symbol: str) -> dict[str, Any]:
        now = self._broker.now_ns
        days = [bar_json(c) for c in self._archive.bars(symbol, _DAY, now - 14 * _DAY_NS, now, now)]
        return {
            "latestTrade": self._latest_trade(symbol),
            "latestQuote": self._latest_quote(symbol),
            "minuteBar": self._latest_bar(symbol),
            "dailyBar": days[-1] if days else None,
            "prevDailyBar": days[-2] if len(days) > 1 else None,
        }

    def _period(self, request: Request) -> Period:
        query = request.query
        now = self._broker.now_ns
        start = read_time(query, "start")
        end = read_time(query, "end", end_of_day=True)
        return Period(
            symbols=self._symbols(request),
            start=now // _DAY_NS * _DAY_NS if start is None else start,
            end=now if end is None else end,
            limit=read_int(query, "limit", _LIMIT, 1, _LIMIT_MAX),
            descending=read_choice(query, "sort", ("asc", "desc"), "asc") == "desc",
            token=_read_token(query.get("page_token")),
        )

    def _symbols(self, request: Request) -> list[str]:
        single = request.params.get("symbol")
        symbols = [single.upper()] if single else read_symbols(request.query)
        if not symbols:
            malformed("symbols is required")
        unknown = [s for s in symbols if s not in self._broker.registry.assets]
        if unknown:
            unprocessable(f"invalid symbol: {', '.join(unknown)}")
        return symbols


def _token(symbol: str, ts: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{ts}".encode()).decode()


def _read_token(text: str | None) -> tuple[str, int] | None:
    if not text:
        return None
    try:
        symbol, _, ts = base64.urlsafe_b64decode(text).decode().partition("|")
        return symbol, int(ts)
    except (binascii.Error, ValueError):
        unprocessable(f"page_token: {text!r} is not one of ours")
