"""What the tape says about the past: quotes, prints and bars up to now, for REST."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from libs.common.domain.sessions import NEW_YORK, Session, SessionCalendar
from libs.common.kernel.clock import from_ns, to_ns
from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.market.tape import (
    MINUTE_NS,
    Candle,
    DayTape,
    Market,
    between,
    candles,
    merge,
)

_FORM = re.compile(r"(\d+)(Min|T|Hour|H|Day|D|Week|W|Month|M)\Z")
_HOUR_NS = 60 * MINUTE_NS
_CACHED_DAYS = 4096


@dataclass(frozen=True, slots=True)
class Timeframe:
    """A bar's length: so many minutes within a day, or so many days, weeks or months."""

    amount: int
    unit: str

    @property
    def is_intraday(self) -> bool:
        """Tell whether bars are shorter than a day."""
        return self.unit in ("Min", "Hour")

    @property
    def step_ns(self) -> int:
        """Return the length of an intraday bar."""
        return self.amount * (MINUTE_NS if self.unit == "Min" else _HOUR_NS)


def read_timeframe(text: str) -> Timeframe:
    """Read `1Min`, `15Min`, `1Hour`, `1Day`, `1Week`, `1Month`. Raises InvalidInputError."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidInputError(f"timeframe: {text!r} is not understood")
    amount = int(match[1])
    short = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
    unit = short.get(match[2], match[2])
    limits = {"Min": range(1, 60), "Hour": range(1, 24), "Day": range(1, 2), "Week": range(1, 2)}
    allowed = limits.get(unit)
    if (allowed is not None and amount not in allowed) or (
        unit == "Month" and amount not in (1, 2, 3, 4, 6, 12)
    ):
        raise InvalidInputError(f"timeframe: {text!r} has an amount that its unit does not allow")
    return Timeframe(amount, unit)


class Archive:
    """Reads the market's past; never what lies after the time it is asked at."""

    def __init__(self, market: Market, calendar: SessionCalendar) -> None:
        self._market = market
        self._calendar = calendar
        self._minutes: OrderedDict[tuple[str, date], list[Candle]] = OrderedDict()

    def sessions(self, start_ns: int, end_ns: int) -> tuple[Session, ...]:
        """Return the sessions that touch the period and have a tape."""
        first = max((from_ns(start_ns) - timedelta(days=1)).date(), self._market.first)
        last = min((from_ns(end_ns) + timedelta(days=1)).date(), self._market.last)
        return self._calendar.sessions_between(first, last)

    def bars(
        self, symbol: str, frame: Timeframe, start_ns: int, end_ns: int, now_ns: int
    ) -> Iterator[Candle]:
        """Yield the bars that begin within `[start_ns, end_ns]`, oldest first.

        A bar that is not over at `now_ns` shows what has happened of it; a minute only when over.
        """
        made = (
            self._intraday(symbol, frame, start_ns, end_ns, now_ns)
            if frame.is_intraday
            else self._daily(symbol, frame, start_ns, end_ns, now_ns)
        )
        for candle in made:
            if candle.ts > end_ns:
                return
            if candle.ts >= start_ns:
                yield candle

    def tapes(self, symbol: str, start_ns: int, end_ns: int) -> Iterator[tuple[Session, DayTape]]:
        """Yield the tapes of the days that touch the period."""
        for session in self.sessions(start_ns, end_ns):
            yield session, self._market.day(symbol, session)

    def previous_close(self, symbol: str, now_ns: int) -> int:
        """Return the last regular close before the session at `now_ns`, 0 where there is none."""
        session = self._calendar.session_at(from_ns(now_ns))
        for earlier in reversed(
            self._calendar.sessions_between(
                session.date - timedelta(days=14), session.date - timedelta(days=1)
            )
        ):
            candle = self._market.daily(symbol, earlier)
            if candle is not None:
                return candle.close
        return 0

    def _intraday(
        self, symbol: str, frame: Timeframe, start_ns: int, end_ns: int, now_ns: int
    ) -> Iterator[Candle]:
        for session in self.sessions(start_ns - _HOUR_NS, end_ns):
            minutes = self._session_minutes(symbol, session, now_ns)
            if frame == Timeframe(1, "Min"):
                yield from minutes
                continue
            step = frame.step_ns
            yield from _grouped(minutes, lambda candle, step=step: candle.ts // step * step)

    def _daily(
        self, symbol: str, frame: Timeframe, start_ns: int, end_ns: int, now_ns: int
    ) -> Iterator[Candle]:
        margin = {"Day": 0, "Week": 7}.get(frame.unit, 366)
        days: list[Candle] = []
        for session in self.sessions(start_ns - margin * 24 * _HOUR_NS, end_ns):
            candle = self._day(symbol, session, now_ns)
            if candle is not None:
                days.append(candle)
        if frame.unit == "Day":
            yield from days
            return
        yield from _grouped(days, lambda candle: _period_start(candle.ts, frame))

    def _day(self, symbol: str, session: Session, now_ns: int) -> Candle | None:
        """Return the day's bar, stamped midnight New York as Alpaca does."""
        opened, closed = to_ns(session.open), to_ns(session.close)
        stamp = to_ns(datetime.combine(session.date, datetime.min.time(), NEW_YORK))
        if now_ns < opened:
            return None
        if now_ns >= closed:
            whole = self._market.daily(symbol, session)
            return None if whole is None else merge([whole], stamp)
        trades = between(self._market.day(symbol, session).trades, opened, now_ns)
        parts = candles(trades, 24 * _HOUR_NS)
        return merge(parts, stamp) if parts else None

    def _session_minutes(self, symbol: str, session: Session, now_ns: int) -> list[Candle]:
        key = (symbol, session.date)
        found = self._minutes.get(key)
        if found is None:
            if to_ns(session.pre_open) >= now_ns:
                return []
            found = candles(self._market.day(symbol, session).trades, MINUTE_NS)
            if to_ns(session.post_close) <= now_ns:
                self._minutes[key] = found
                if len(self._minutes) > _CACHED_DAYS:
                    self._minutes.popitem(last=False)
        return [candle for candle in found if candle.ts + MINUTE_NS <= now_ns]


def _grouped(parts: list[Candle], key: object) -> Iterator[Candle]:
    assert callable(key)
    group: list[Candle] = []
    at = 0
    for part in parts:
        stamp = key(part)
        if group and stamp != at:
            yield merge(group, at)
            group = []
        at = stamp
        group.append(part)
    if group:
        yield merge(group, at)


def _period_start(ts: int, frame: Timeframe) -> int:
    day = from_ns(ts).astimezone(NEW_YORK).date()
    if frame.unit == "Week":
        first = day - timedelta(days=day.weekday())
    else:
        first = day.replace(month=(day.month - 1) // frame.amount * frame.amount + 1, day=1)
    return to_ns(datetime.combine(first, datetime.min.time(), NEW_YORK))
