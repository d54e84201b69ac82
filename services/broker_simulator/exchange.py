"""The running exchange: tape, sessions and engine moved forward together, in order of time."""

from __future__ import annotations

from typing import Protocol

from libs.common.domain.sessions import OutsideCalendarError, SessionCalendar
from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.clock import from_ns, to_ns
from services.broker_simulator.bars import LiveBars
from services.broker_simulator.engine.engine import Engine
from services.broker_simulator.market.feed import QUOTE, Feed, Tick
from services.broker_simulator.market.tape import MINUTE_NS, Candle


class DataSink(Protocol):
    """Who is told what happens in the market."""

    def quote(self, symbol: str, ns: int, bid: int, ask: int, bid_size: int, ask_size: int) -> None:
        """Take a quote."""
        ...

    def trade(self, symbol: str, ns: int, price: int, size: int, number: int) -> None:
        """Take a print."""
        ...

    def bar(self, kind: str, symbol: str, candle: Candle) -> None:
        """Take a minute bar (`b`), its correction (`u`) or the running day (`d`)."""
        ...

    def status(self, symbol: str, ns: int, halted: bool, reason: str) -> None:
        """Take a halt or a resumption."""
        ...


class Exchange:
    """Market and engine at one instant, `now_ns`; `advance` moves both.

    Within one instant the order is: ticks before it, delayed steps due at it, the minute's bars,
    the change of session. Nothing happens between two calls.
    """

    def __init__(
        self,
        engine: Engine,
        feed: Feed,
        calendar: SessionCalendar,
        sink: DataSink,
        start_ns: int,
    ) -> None:
        self.engine = engine
        self.calendar = calendar
        self.now_ns = start_ns
        self.bars = LiveBars()
        self.last_trades: dict[str, tuple[int, int, int, int]] = {}
        self.ticks = 0
        self.stale = False
        self._feed = feed
        self._sink = sink
        self._numbers: dict[str, int] = {}
        feed.seek(start_ns)
        engine.set_session(calendar.state_at_ns(start_ns), start_ns)
        self._recall()

    def advance(self, to_ns_: int, *, steps_max: int | None = None) -> bool:
        """Move forward to `to_ns_`; with `steps_max` perhaps less far. Tells whether it arrived."""
        steps = 0
        while self.now_ns < to_ns_:
            if steps_max is not None and steps >= steps_max:
                return False
            steps += 1
            self._step(min(self._next_stop(), to_ns_))
        return True

    def quote(self, symbol: str, ns: int, bid: int, ask: int, bid_size: int, ask_size: int) -> None:
        """Let a quote happen."""
        self.engine.on_quote(symbol, ns, bid, ask, bid_size, ask_size)
        if not self.stale:
            self._sink.quote(symbol, ns, bid, ask, bid_size, ask_size)

    def trade(self, symbol: str, ns: int, price: int, size: int, number: int = 0) -> None:
        """Let a print happen; one of the past only corrects bars, nobody trades on it."""
        number = number or self._numbers.get(symbol, 0) + 1
        self._numbers[symbol] = number
        if ns >= self.now_ns:
            self.last_trades[symbol] = (ns, price, size, number)
            self.engine.on_trade(symbol, ns, price, size)
        regular = self.engine.session is SessionState.REGULAR
        corrected = self.bars.add(symbol, ns, price, size, regular=regular)
        if self.stale:
            return
        self._sink.trade(symbol, ns, price, size, number)
        if corrected is not None:
            self._sink.bar("u", symbol, corrected)

    def halt(self, symbol: str, halted: bool, reason: str, *, suspend: bool = False) -> None:
        """Halt or resume a symbol."""
        self.engine.halt(symbol, halted, self.now_ns, suspend=suspend)
        self._sink.status(symbol, self.now_ns, halted, reason)

    def prepare(self) -> None:
        """Do ahead of time what the next session's first minute would wait for."""
        self._feed.prepare_next(self.now_ns)

    def _recall(self) -> None:
        """Take up the bars and prints of a day that is under way, as after a restart."""
        minute = self.now_ns // MINUTE_NS * MINUTE_NS
        for ns, symbol, price, size, number in self._feed.past_prints():
            regular = self.calendar.state_at_ns(ns) is SessionState.REGULAR
            self.bars.recall(symbol, ns, price, size, regular=regular, in_minute=ns >= minute)
            self._numbers[symbol] = number
            self.last_trades[symbol] = (ns, price, size, number)

    def _next_stop(self) -> int:
        stop = (self.now_ns // MINUTE_NS + 1) * MINUTE_NS
        if self.engine.session is SessionState.CLOSED:
            stop = max(stop, self._next_session_start())
        timer = self.engine.next_timer
        return stop if timer is None or timer <= self.now_ns else min(stop, timer)

    def _next_session_start(self) -> int:
        try:
            session = self.calendar.session_at(from_ns(self.now_ns))
        except OutsideCalendarError:
            return self.now_ns
        return to_ns(session.pre_open)

    def _step(self, stop: int) -> None:
        for tick in self._feed.take(stop):
            self._tick(tick)
        self.now_ns = stop
        self.engine.run_timers(stop)
        if stop % MINUTE_NS == 0:
            self._minute(stop)

    def _tick(self, tick: Tick) -> None:
        self.ticks += 1
        ns, index, kind, a, b, c, d = tick
        symbol = self._feed.symbols[index]
        if kind == QUOTE:
            self.quote(symbol, ns, a, b, c, d)
        else:
            self.trade(symbol, ns, a, b, c)

    def _minute(self, ns: int) -> None:
        closed = self.bars.close_minute()
        state = self.calendar.state_at_ns(ns)
        if not self.stale:
            for symbol, candle in closed.items():
                self._sink.bar("b", symbol, candle)
            for symbol, candle in self.bars.days().items():
                if symbol in closed:
                    self._sink.bar("d", symbol, candle)
        if state is not self.engine.session:
            if state is SessionState.PRE:
                self.bars.start_day()
                self._numbers.clear()
            self.engine.set_session(state, ns)
