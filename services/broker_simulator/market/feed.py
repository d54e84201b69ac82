"""All symbols' ticks of the day in one line, handed out up to a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from libs.common.domain.sessions import OutsideCalendarError, Session, SessionCalendar
from libs.common.kernel.clock import from_ns
from services.broker_simulator.market.tape import DayTape, Ints, Market

QUOTE, TRADE = 0, 1
# (ts, symbol index, kind, then bid, ask, bid_size, ask_size or price, size, number of day, 0)
Tick = tuple[int, int, int, int, int, int, int]


@dataclass(slots=True)
class _Line:
    session: Session
    columns: tuple[Ints, ...]
    cursor: int


class Feed:
    """Walks through the market's days in order of time, then symbol, quotes before prints."""

    def __init__(self, market: Market, calendar: SessionCalendar) -> None:
        self._market = market
        self._calendar = calendar
        self.symbols = [asset.symbol for asset in market.assets]
        self._line: _Line | None = None
        self._prepared: _Line | None = None

    def seek(self, ns: int) -> None:
        """Continue after `ns`: ticks up to and including it have been handed out."""
        session = self._session(ns)
        if session is None:
            self._line = None
            return
        self._line = self._line_of(session)
        self._line.cursor = int(np.searchsorted(self._line.columns[0], ns, side="right"))

    def past_prints(self) -> list[tuple[int, str, int, int, int]]:
        """Return the day's prints that were handed out: (ts, symbol, price, size, number)."""
        line = self._line
        if line is None or line.cursor == 0:
            return []
        part = [column[: line.cursor] for column in line.columns]
        is_print = part[2] == TRADE
        rows = zip(*(part[i][is_print].tolist() for i in (0, 1, 3, 4, 5)), strict=True)
        return [(ts, self.symbols[index], a, b, c) for ts, index, a, b, c in rows]

    def take(self, until_ns: int) -> list[Tick]:
        """Return the ticks after the last call with `ts < until_ns`, all of one day."""
        line = self._line_at(until_ns)
        if line is None:
            return []
        end = int(np.searchsorted(line.columns[0], until_ns, side="left"))
        if end <= line.cursor:
            return []
        part = [column[line.cursor : end].tolist() for column in line.columns]
        line.cursor = end
        return list(zip(*part, strict=True))

    def prepare_next(self, ns: int) -> None:
        """Expand the next day ahead of time, so that its first ticks come without delay."""
        session = self._session(ns)
        if session is None:
            return
        if self._line is not None and self._line.session == session:
            try:
                session = self._calendar.session_offset(session.date, 1)
            except OutsideCalendarError:
                return
        if self._prepared is None or self._prepared.session != session:
            self._prepared = self._line_of(session)

    def _line_at(self, ns: int) -> _Line | None:
        session = self._session(ns - 1)
        if session is None:
            return None
        if self._line is None or self._line.session.date != session.date:
            prepared = self._prepared
            if prepared is not None and prepared.session.date == session.date:
                self._line, self._prepared = prepared, None
            else:
                self._line = self._line_of(session)
        return self._line

    def _session(self, ns: int) -> Session | None:
        try:
            session = self._calendar.session_at(from_ns(ns))
        except OutsideCalendarError:
            return None
        return session if self._market.first <= session.date <= self._market.last else None

    def _line_of(self, session: Session) -> _Line:
        blocks: list[Ints] = []
        for index, symbol in enumerate(self.symbols):
            tape = self._market.day(symbol, session)
            blocks.append(_quote_block(tape, index))
            blocks.append(_trade_block(tape, index))
        rows = np.concatenate(blocks, axis=1) if blocks else np.empty((7, 0), dtype=np.int64)
        order = np.argsort(rows[0], kind="stable")
        return _Line(session, tuple(np.ascontiguousarray(row[order]) for row in rows), 0)


def _quote_block(tape: DayTape, index: int) -> Ints:
    q = tape.quotes
    fixed = np.full((2, q.ts.size), [[index], [QUOTE]], dtype=np.int64)
    return np.vstack([q.ts, fixed, q.bid, q.ask, q.bid_size, q.ask_size])


def _trade_block(tape: DayTape, index: int) -> Ints:
    t = tape.trades
    fixed = np.full((2, t.ts.size), [[index], [TRADE]], dtype=np.int64)
    numbers = np.arange(1, t.ts.size + 1, dtype=np.int64)
    return np.vstack([t.ts, fixed, t.price, t.size, numbers, np.zeros_like(numbers)])
