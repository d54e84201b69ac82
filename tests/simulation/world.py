"""One session: everything in one loop, by one seed."""

from __future__ import annotations

import asyncio
import contextvars
import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from libs.common.contracts.channels import MARKET_DATA
from libs.common.contracts.envelope import seal
from libs.common.contracts.messages import MarketData, Quote
from libs.common.kernel.ids import SequentialIds
from libs.common.runtime.resilience import jitter
from services.risk_manager.ports import Quoted
from services.trade_executor.ports import Books, Broker
from tests.simulation.dice import Dice, Weather
from tests.simulation.loop import LIFE, Life, VirtualLoop
from tests.simulation.processes import ExecutorProcess, RiskProcess
from tests.simulation.sim_bus import SimBus
from tests.simulation.sim_clock import SimClock
from tests.simulation.trace import Trace
from tests.simulation.vault import Server
from tests.simulation.venue import Venue

SYMBOLS = ("AAPL", "KO", "MSFT")
_HALF_SPREAD = Decimal("0.01")


class World:
    """The surroundings of both services, and both services. `guarded`: whether the executor looks
    after protections."""

    def __init__(
        self,
        seed: int,
        weather: Weather | None = None,
        make_books: Callable[[Any], Books] = lambda books: books,
        make_broker: Callable[[Any], Broker] = lambda broker: broker,
        *,
        triggers: bool = True,
        guarded: bool = False,
    ) -> None:
        self.seed = seed
        self.guarded = guarded
        self.loop = VirtualLoop()
        self.dice = Dice(seed)
        jitter.seed(f"jitter {seed}")
        self.weather = weather or Weather.drawn(self.dice)
        self.trace = Trace(self.loop.time)
        self.clock = SimClock(self.loop)
        self.ids = SequentialIds()
        # What happens outside of every process happens in this context.
        self.context = contextvars.Context()
        self.symbols = SYMBOLS
        self.server = Server(
            self.loop, self.dice, self.weather, self.trace, self.clock, self.ids, self.context
        )
        self.server.tables.triggers = triggers
        self.bus = SimBus(self.loop, self.dice, self.weather, self.trace, self.server, self.context)
        self.venue = Venue(
            self.loop, self.dice, self.weather, self.trace, self.clock, self.context, SYMBOLS
        )
        self.make_books = make_books
        self.make_broker = make_broker
        self.executor = ExecutorProcess(self)
        self.risk = RiskProcess(self)
        self.loop.on_fuse = self._burnt
        self.loop.set_exception_handler(self._unhandled)
        self.restarts = True

    @staticmethod
    def seconds(number: float) -> dt.timedelta:
        """Return a duration."""
        return dt.timedelta(seconds=number)

    def id(self) -> UUID:
        """Return a fresh id."""
        return self.ids.new()

    def _burnt(self, life: Life) -> None:
        for process in (self.executor, self.risk):
            if process.life is life:
                self.crash(process, "at an await")

    def crash(self, process: Any, why: str) -> None:
        """Kill a process now and start it again a little later."""
        if not process.alive:
            return
        process.kill(why)
        delay = self.dice.between(0.05, 6.0)
        self.loop.call_later(delay, self._restart, process, context=self.context)

    def _restart(self, process: Any) -> None:
        if not process.alive:
            process.start()
            if self.dice.chance(self.weather.crash):
                # Dead again while it starts: the hardest moment.
                process.life.fuse = self.dice.whole(0, 400)

    def _unhandled(self, loop: Any, context: dict[str, Any]) -> None:
        if "handle" in context:
            self.trace.bugs.append(f"callback failed: {context.get('exception')!r}")

    # Prices -----------------------------------------------------------------------------------

    def quoted(self) -> Sequence[Quoted]:
        """Return the prices as the risk manager reads them at its start."""
        now_ns = self.clock.now_ns()
        return [
            Quoted(symbol, float(price - _HALF_SPREAD), float(price + _HALF_SPREAD), now_ns)
            for symbol, price in self.venue.prices.items()
        ]

    async def quote(self) -> None:
        """Let prices move and tell them, for ever."""
        while True:
            for symbol in SYMBOLS:
                self.venue.move_price(symbol)
                price, now_ns = self.venue.prices[symbol], self.clock.now_ns() // 1000 * 1000
                quote = Quote(
                    ts_event=now_ns,
                    bid=float(price - _HALF_SPREAD),
                    ask=float(price + _HALF_SPREAD),
                )
                data = MarketData(symbol=symbol, provider="sim", ts_init=now_ns, quotes=(quote,))
                letter = seal(
                    data, message_id=self.id(), ts_ns=now_ns, source="sim",
                    correlation_id=self.id(),
                )  # fmt: skip
                self.bus.call_out(MARKET_DATA, letter)
            await asyncio.sleep(1.0)

    def end(self) -> None:
        """Take the session apart."""
        for process in (self.executor, self.risk):
            if process.life is not None:
                process.life.dead = True
        self.loop.bury()
        self.loop.close()


__all__ = ["LIFE", "SYMBOLS", "World"]
