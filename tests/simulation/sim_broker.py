"""The executor's way to the venue: requests that are refused, lost, late, or whose answer is."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, TypeVar

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Reversal
from libs.common.kernel.ids import BrokerOrderId, ClientOrderId, Symbol
from services.trade_executor.model import BrokerOrder, BrokerPosition, Change
from services.trade_executor.ports import Gap, NotSentError, OutcomeUnknownError, StreamItem
from tests.simulation.dice import Dice, Weather
from tests.simulation.loop import LIFE
from tests.simulation.streams import Connection
from tests.simulation.trace import Trace
from tests.simulation.venue import NAME, Venue

T = TypeVar("T")

_TIMEOUT_S = 5.0
# A request that is under way arrives within this, so that a look-up over the settle time sees it.
_LATE_S_MAX = 4.0


class SimBroker:
    """Implements `Broker`."""

    name = NAME

    def __init__(
        self, loop: asyncio.AbstractEventLoop, dice: Dice, weather: Weather, trace: Trace,
        venue: Venue, context: Any,
    ) -> None:  # fmt: skip
        self._loop = loop
        self._dice = dice
        self._weather = weather
        self._trace = trace
        self._venue = venue
        self._context = context
        self._slots = asyncio.Semaphore(16)
        self._connection: Connection | None = None

    def check(self, spec: OrderSpec) -> str | None:
        """Everything can be said."""
        del spec

    @asynccontextmanager
    async def slot(self, *, first: bool = False) -> AsyncIterator[None]:
        """Wait for a place."""
        async with self._slots:
            yield

    async def submit(self, client_order_id: ClientOrderId, spec: OrderSpec) -> BrokerOrder:
        """Send one order, once."""
        self._trace.note("broker.submit", client_order_id)
        return await self._call(
            "submit", lambda: self._venue.submit(client_order_id, spec), sends=True
        )

    async def replace(
        self, broker_order_id: BrokerOrderId, client_order_id: ClientOrderId, change: Change
    ) -> BrokerOrder:
        """Ask for a replacement, once."""
        self._trace.note("broker.replace", broker_order_id, client_order_id)
        return await self._call(
            "replace",
            lambda: self._venue.replace(broker_order_id, client_order_id, change),
            sends=True,
        )

    async def find(self, client_order_id: ClientOrderId) -> BrokerOrder | None:
        """Return the order known by our id."""
        return await self._call("find", lambda: self._venue.find(client_order_id))

    async def order(self, broker_order_id: BrokerOrderId) -> BrokerOrder | None:
        """Return an order by the broker's id."""
        return await self._call("order", lambda: self._venue.order(broker_order_id))

    async def open_orders(self) -> Sequence[BrokerOrder]:
        """Return all open orders."""
        return await self._call("open_orders", self._venue.open_orders)

    async def orders_since(
        self, since: dt.datetime, symbol: Symbol | None = None
    ) -> Sequence[BrokerOrder]:
        """Return all orders submitted after `since`."""
        return await self._call("orders_since", lambda: self._venue.orders_since(since, symbol))

    async def cancel(self, broker_order_id: BrokerOrderId) -> None:
        """Ask for a cancel."""
        self._trace.note("broker.cancel", broker_order_id)
        await self._call("cancel", lambda: self._venue.cancel(broker_order_id), sends=True)

    async def positions(self) -> Sequence[BrokerPosition]:
        """Return all open positions."""
        return await self._call("positions", self._venue.positions)

    async def cash(self) -> Decimal:
        """Return the account's cash."""
        return await self._call("cash", lambda: self._venue.money)

    async def executions_since(self, since: dt.datetime) -> Sequence[Execution]:
        """Return all executions at or after `since`."""
        return await self._call("executions", lambda: self._venue.executions_since(since))

    async def reversals_since(self, since: dt.datetime) -> Sequence[Reversal]:
        """Return all executions taken back or corrected at or after `since`."""
        return await self._call("reversals", lambda: self._venue.reversals_since(since))

    async def cash_activities_since(self, since: dt.datetime) -> Sequence[Activity]:
        """Return what moved cash without a trade."""
        return await self._call("activities", lambda: self._venue.activities_since(since))

    async def stream(self) -> AsyncIterator[StreamItem]:
        """Yield order events for ever."""
        life = LIFE.get()
        assert life is not None
        while True:
            await asyncio.sleep(self._dice.latency())
            await asyncio.sleep(max(0.0, self._venue.down_until - self._loop.time()))
            self._connection = mine = self._venue.streams.connect(life)
            yield Gap("connected")
            while not mine.cut:
                item = await mine.letters.take()
                if item is not None:
                    yield item
            await asyncio.sleep(self._dice.between(0.01, 2.0))

    def distrust_stream(self) -> None:
        """Drop the stream's connection."""
        mine = self._connection
        if mine is not None and not mine.cut:
            self._venue.streams.close(mine)

    async def close(self) -> None:
        """Nothing is open."""

    async def _call(self, what: str, work: Callable[[], T], *, sends: bool = False) -> T:
        """Make one request. Raises NotSentError, OutcomeUnknownError, BrokerRefusedError."""
        dice, weather, loop = self._dice, self._weather, self._loop
        if dice.chance(weather.broker_refused) or loop.time() < self._venue.down_until:
            await asyncio.sleep(dice.latency())
            self._trace.note("broker.refused", what)
            raise NotSentError("connection refused by the simulation")
        slow = dice.chance(weather.broker_slow)
        there, back = dice.latency(), dice.latency() + (dice.between(0.0, 3.0) if slow else 0.0)
        request_lost = dice.chance(weather.broker_request_lost)
        answer_lost = dice.chance(weather.broker_answer_lost)
        late = sends and dice.chance(weather.broker_arrives_late)
        if late:
            there, answer_lost, request_lost = dice.between(0.05, _LATE_S_MAX), True, False
        ghost = sends and dice.chance(weather.broker_ghost)
        if ghost:
            # Longer than any look-up waits: it may come beside the attempt that followed it.
            late, there = True, dice.between(8.0, 40.0)
            answer_lost, request_lost = True, False
        answer: asyncio.Future[T] = loop.create_future()

        def settle(error: BaseException | None, value: Any) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(value)

        def arrive() -> None:
            value, error = None, None
            try:
                self._venue.ghostly = ghost
                value = work()
            except Exception as refused:  # noqa: BLE001 - it is the asker's
                error = refused
            if not answer_lost:
                loop.call_later(back, settle, error, value, context=self._context)

        if not request_lost:
            loop.call_later(there, arrive, context=self._context)
        if request_lost or answer_lost:
            self._trace.note("broker.lost", what, "late" if late else "")
            # Either the connection breaks at once or nothing comes until the time-out.
            gone = there + dice.latency() if not late and dice.chance(0.5) else _TIMEOUT_S
            if late and dice.chance(0.5):
                gone = dice.between(0.01, min(there, _TIMEOUT_S))
            lost = OutcomeUnknownError(f"{what}: no answer, by the simulation")
            loop.call_later(gone, settle, lost, None, context=self._context)
        return await answer
