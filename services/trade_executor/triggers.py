"""Triggers: kept durably, watched against the market, sent as orders exactly once.

A trigger whose price is met is marked `firing` before anything else; the id of its order follows
from its own id and the number of the firing, so whatever is begun again after a crash meets the
same judgement and the same order. A firing that did not become an order while its price was fresh
goes back to waiting: the price must be met anew.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID

from libs.common.contracts.envelope import Envelope
from libs.common.contracts.messages import MarketData
from libs.common.domain.vocabulary import TradingState
from libs.common.kernel.clock import NS_PER_SECOND, Clock
from libs.common.kernel.errors import ConflictError, InvalidInputError
from libs.common.kernel.money import ZERO
from libs.common.runtime.clocks import MarketClock
from libs.common.runtime.logging import get_logger
from services.trade_executor.gate import TradingGate
from services.trade_executor.metrics import TRIGGERS
from services.trade_executor.open_hours import OpenHours
from services.trade_executor.placing import Placing
from services.trade_executor.ports import Books
from services.trade_executor.requests import request_of, require_same
from services.trade_executor.tasks import Tasks
from services.trade_executor.trigger import (
    Trigger,
    TriggerFields,
    TriggerStatus,
    met,
    trigger_id,
)

_log = get_logger(__name__)

_EXPIRY_S: Final = 1.0
_STRANDED_LOOKS: Final = 5


class TriggerBook(Protocol):
    """Triggers, durable."""

    async def add(self, trigger: Trigger) -> Trigger:
        """Keep a new trigger; return the one that its id stands for already, if there is one."""
        ...

    async def get(self, trigger_id: UUID) -> Trigger:
        """Return a trigger. Raises NotFoundError."""
        ...

    async def standing(self) -> Sequence[Trigger]:
        """Return those that have not come to an end."""
        ...

    async def move(
        self, trigger: Trigger, to: TriggerStatus, reason: str | None = None, **facts: Any
    ) -> Trigger | None:
        """Change a trigger's status; None if it no longer stands as `trigger` says."""
        ...

    async def last_quotes(self, symbols: Collection[str]) -> Sequence[MarketData]:
        """Return the last stored quote of each symbol."""
        ...


class Triggers:
    """Keeps, watches and fires."""

    def __init__(
        self,
        *,
        book: TriggerBook,
        books: Books,
        placing: Placing,
        gate: TradingGate,
        hours: OpenHours,
        clock: Clock,
        market_clock: MarketClock,
        tasks: Tasks,
        account_id: str,
        price_age_s_max: float,
    ) -> None:
        self._book = book
        self._books = books
        self._placing = placing
        self._gate = gate
        self._hours = hours
        self._clock = clock
        self._market_clock = market_clock
        self._tasks = tasks
        self._account_id = account_id
        self._price_age_s_max = price_age_s_max
        self._standing: dict[UUID, Trigger] = {}
        self.changed = asyncio.Event()

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols that somebody waits for."""
        return frozenset(one.symbol for one in self._standing.values())

    # Asked for --------------------------------------------------------------------------------

    async def keep(self, fields: TriggerFields, key: str, correlation_id: UUID) -> Trigger:
        """Keep an order until its price is met. Raises ConflictError if the key was used for
        another one, InvalidInputError where its time is over already."""
        if fields.valid_until is not None and fields.valid_until <= self._market_clock.now():
            raise InvalidInputError(
                f"valid_until: {fields.valid_until.isoformat()} is over; the market's time is "
                f"{self._market_clock.now().isoformat()}"
            )
        request = request_of("trigger", fields)
        trigger = await self._book.add(
            Trigger(
                id=trigger_id(self._account_id, key),
                account_id=self._account_id,
                idempotency_key=key,
                request=request,
                order=fields.order,
                correlation_id=correlation_id,
                created_at=self._clock.now(),
                above=fields.above,
                below=fields.below,
                valid_until=fields.valid_until,
            )
        )
        require_same(key, trigger.request, request, f"trigger {trigger.id}")
        if trigger.status is TriggerStatus.WAITING and trigger.id not in self._standing:
            await self._hours.prepare()
            TRIGGERS.labels(trigger.status).inc()
            self._remember(trigger)
        return trigger

    async def cancel(self, identity: UUID, reason: str) -> Trigger:
        """Cancel one. Raises NotFoundError, ConflictError where it has ended or is firing."""
        trigger = await self._book.get(identity)
        ended = None
        if trigger.status is TriggerStatus.WAITING:
            ended = await self._end(trigger, TriggerStatus.CANCELED, reason)
        if ended is None:
            now = await self._book.get(identity)
            raise ConflictError(f"trigger {identity} is {now.status}: nothing waits to be canceled")
        return ended

    async def cancel_all(
        self, reason: str, *, spare_protective: bool = False, symbol: str | None = None
    ) -> list[Trigger]:
        """Cancel those that wait; `spare_protective` leaves those whose order would only close."""
        held = await self._books.positions() if spare_protective else {}
        canceled = []
        for trigger in list(self._standing.values()):
            position = held.get(trigger.symbol, ZERO)  # type: ignore[call-overload]
            order = trigger.order
            closes = position * order.side.sign < 0 and (
                order.quantity is not None and order.quantity <= abs(position)
            )
            wanted = trigger.status is TriggerStatus.WAITING and symbol in {None, trigger.symbol}
            if wanted and not (spare_protective and closes):
                ended = await self._end(trigger, TriggerStatus.CANCELED, reason)
                canceled += [ended] if ended is not None else []
        return canceled

    # Watched ----------------------------------------------------------------------------------

    async def load(self) -> None:
        """Take up what was kept, as at every start."""
        for trigger in await self._book.standing():
            self._remember(trigger)
        if self._standing:
            await self._hours.prepare()

    async def begin(self) -> None:
        """Go on with what was firing, and look at the last known prices."""
        for trigger in list(self._standing.values()):
            if trigger.status is TriggerStatus.FIRING:
                self._spawn(trigger)
        if self._standing:
            for data in await self._book.last_quotes(self.symbols):
                self.see(data)

    async def hear(self, envelope: Envelope[MarketData]) -> None:
        """Take what the market tells."""
        self.see(envelope.payload)

    def see(self, data: MarketData) -> None:
        """Fire what this data meets."""
        waiting = [
            one
            for one in self._standing.values()
            if one.symbol == data.symbol and one.status is TriggerStatus.WAITING
        ]
        if not waiting:
            return
        now_ns = self._market_clock.now_ns()
        age_ns = self._price_age_s_max * NS_PER_SECOND * max(1.0, self._market_clock.factor)
        for trigger in waiting:
            if not (trigger.order.extended_hours or self._hours.regular(now_ns)):
                continue
            price = met(trigger, data, round(now_ns - age_ns))
            if price is not None:
                seen_ns = self._clock.monotonic_ns()
                work = partial(self._fire, trigger.id, price, seen_ns)
                self._tasks.spawn(f"trigger {trigger.id}", work)

    async def expire(self) -> None:
        """End what is past its time, and take up what nobody works on, for ever."""
        looks = 0
        while True:
            now = self._market_clock.now()
            for trigger in list(self._standing.values()):
                over = trigger.valid_until is not None and trigger.valid_until <= now
                if over and trigger.status is TriggerStatus.WAITING:
                    await self._end(trigger, TriggerStatus.EXPIRED, "valid_until is over")
                elif trigger.status is TriggerStatus.FIRING:
                    self._spawn(trigger)
            if looks % _STRANDED_LOOKS == 0:
                await self._take_up()
            looks += 1
            await asyncio.sleep(_EXPIRY_S)

    async def _take_up(self) -> None:
        """Read anew what stands otherwise on record than in memory: an answer was lost."""
        known = dict(self._standing)
        kept = {one.id: one for one in await self._book.standing()}
        for identity in kept.keys() | known.keys():
            ours, theirs = known.get(identity), kept.get(identity)
            same = ours and theirs and (ours.status, ours.firing) == (theirs.status, theirs.firing)
            if not same and not self._tasks.working_on(f"trigger {identity}"):
                _log.warning("trigger_taken_up", trigger=str(identity))
                await self._recall(identity)
        if self._standing:
            await self._hours.prepare()

    # Fired ------------------------------------------------------------------------------------

    def _spawn(self, trigger: Trigger) -> None:
        self._tasks.spawn(f"trigger {trigger.id}", partial(self._fire, trigger.id))

    async def _fire(
        self, identity: UUID, price: Decimal | None = None, seen_ns: int | None = None
    ) -> None:
        """Bring a trigger to its end, from wherever it stands; one that waits, if `price`, seen
        at monotonic time `seen_ns`, is still fresh."""
        trigger = self._standing.get(identity)
        if trigger is None:
            return
        if trigger.status is TriggerStatus.WAITING:
            expired = trigger.valid_until is not None and (
                trigger.valid_until <= self._market_clock.now()
            )
            gate = await self._gate.current()
            halted = gate is None or gate.state is TradingState.HALTED
            age_s = (self._clock.monotonic_ns() - (seen_ns or 0)) / 1e9
            if price is None or expired or halted or age_s > self._price_age_s_max:
                return  # it waits on: for the market, for its end, or for the halt to be over
            marked = await self._book.move(
                trigger,
                TriggerStatus.FIRING,
                firing=trigger.firing + 1,
                met_at=self._clock.now(),
                met_price=price,
            )
            if marked is None:
                # Somebody was before us, or we ourselves, with an answer that was lost.
                await self._recall(identity)
                recalled = self._standing.get(identity)
                if recalled is not None and recalled.status is TriggerStatus.FIRING:
                    await self._send(recalled)
                return
            trigger = self._remember(marked)
            _log.info("trigger_met", trigger=str(identity), price=str(trigger.met_price))
        await self._send(trigger)

    async def _send(self, trigger: Trigger) -> None:
        order = await self._books.order(trigger.order_id)
        if order is None:
            assert trigger.met_at is not None
            if self._clock.now() - trigger.met_at > dt.timedelta(seconds=self._price_age_s_max):
                waits = await self._book.move(
                    trigger, TriggerStatus.WAITING, "met, but not sent while the price was fresh"
                )
                _log.warning("trigger_waits_again", trigger=str(trigger.id))
                if waits is not None:
                    self._remember(waits)
                return
            order = await self._placing.trigger(
                trigger.order_id, trigger.order, trigger.request, trigger.correlation_id
            )
        await self._end(trigger, TriggerStatus.FIRED, order.reject_reason)

    async def _end(
        self, trigger: Trigger, status: TriggerStatus, reason: str | None
    ) -> Trigger | None:
        ended = await self._book.move(trigger, status, reason)
        if ended is None:
            await self._recall(trigger.id)
            return None
        TRIGGERS.labels(status).inc()
        _log.info("trigger_ended", trigger=str(trigger.id), status=status, reason=reason)
        self._standing.pop(trigger.id, None)
        self.changed.set()
        return ended

    async def _recall(self, identity: UUID) -> None:
        """Memory was behind the books: read anew. Raises UnavailableError."""
        trigger = await self._book.get(identity)
        self._standing.pop(identity, None)
        if trigger.status in {TriggerStatus.WAITING, TriggerStatus.FIRING}:
            self._remember(trigger)

    def _remember(self, trigger: Trigger) -> Trigger:
        self._standing[trigger.id] = trigger
        self.changed.set()
        return trigger
