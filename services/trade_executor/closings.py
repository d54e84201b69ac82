"""Closing positions: cancel what reserves the shares, wait, close, restore what was cancelled if
the close failed.

The intent is on record before anything is asked of the broker, with the exits before they are
cancelled and the order before it is judged; its id follows from the record, so whatever is begun
again after a crash meets the same orders. While a symbol is being closed it is claimed (`Claims`,
holder `closing`): whoever guards positions must not put exits back meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID

from libs.common.contracts.risk_api import OrderFields
from libs.common.domain.orders import OrderEvent, statuses_allowing
from libs.common.domain.vocabulary import Level, OrderStatus, OrderType, Side, TimeInForce
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, NotFoundError, UnavailableError
from libs.common.kernel.ids import IdSource, OrderId, Symbol, derived_id
from libs.common.kernel.money import ZERO, plain
from libs.common.runtime.logging import get_logger
from services.trade_executor.cancels import Cancels
from services.trade_executor.claims import Claims
from services.trade_executor.closing import (
    CloseFields,
    Closing,
    ClosingStatus,
    closing_id,
    in_the_way,
    order_id_of_closing,
    quantity_to_close,
    restorations,
)
from services.trade_executor.desk import Desk
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.model import Order
from services.trade_executor.placing import Placing
from services.trade_executor.ports import Books, Broker
from services.trade_executor.requests import request_of, require_same
from services.trade_executor.tasks import Tasks

_log = get_logger(__name__)

CLAIM: Final = "closing"
FLATTEN: Final = "flatten"
_CANCELLABLE: Final = statuses_allowing(OrderEvent.ASK_CANCEL)
_POLL_S: Final = 0.02
_ASK_S_MAX: Final = 1.0
_LOOK_S: Final = 0.2
_STRANDED_S: Final = 5.0
_ATTEMPTS_MAX: Final = 3


class ClosingBook(Protocol):
    """Closings, durable."""

    async def add(self, closing: Closing) -> Closing:
        """Keep a new closing; return the one that its id stands for already, if there is one."""
        ...

    async def get(self, closing_id: UUID) -> Closing:
        """Return a closing. Raises NotFoundError."""
        ...

    async def open(self) -> Sequence[Closing]:
        """Return those that have not come to an end, oldest first."""
        ...

    async def note(self, closing: Closing, **facts: Any) -> Closing:
        """Write facts of an open closing; return it as it then stands."""
        ...

    async def quantity_step(self, symbol: str) -> Decimal | None:
        """Return the finest step of quantity that the venue takes; None for a symbol not known."""
        ...


class Closings:
    """Closes positions, one hand on a symbol at a time."""

    def __init__(
        self,
        *,
        book: ClosingBook,
        books: Books,
        broker: Broker,
        desk: Desk,
        lifecycle: Lifecycle,
        cancels: Cancels,
        placing: Placing,
        claims: Claims,
        clock: Clock,
        ids: IdSource,
        tasks: Tasks,
        account_id: str,
        cancel_s_max: float,
        settle_s: float,
    ) -> None:
        self._book = book
        self._books = books
        self._broker = broker
        self._desk = desk
        self._lifecycle = lifecycle
        self._cancels = cancels
        self._placing = placing
        self._claims = claims
        self._clock = clock
        self._ids = ids
        self._tasks = tasks
        self._account_id = account_id
        self._cancel_s_max = cancel_s_max
        self._settle_s = settle_s

    # Asked for --------------------------------------------------------------------------------

    async def close(
        self, symbol: Symbol, fields: CloseFields, key: str, correlation_id: UUID,
        cause: str = "request",
    ) -> Closing:  # fmt: skip
        """Begin to close a position; returns once the intent is durable. Raises NotFoundError
        where nothing is held, ConflictError if the key was used for another wish."""
        identity = closing_id(self._account_id, symbol, key)
        request = request_of("close", fields, symbol=symbol)
        try:
            closing = await self._book.get(identity)
        except NotFoundError:
            if not (await self._books.positions()).get(symbol):
                raise NotFoundError(f"no position in {symbol} is held") from None
            closing = await self._book.add(
                Closing(
                    id=identity,
                    account_id=self._account_id,
                    idempotency_key=key,
                    request=request,
                    symbol=symbol,
                    cause=cause,
                    correlation_id=correlation_id,
                    created_at=self._clock.now(),
                    quantity=fields.quantity,
                    percent=fields.percent,
                )
            )
        require_same(key, closing.request, request, f"closing {closing.id}")
        self._go_on(closing)
        return closing

    async def close_all(self, key: str, cause: str = "request") -> list[Closing]:
        """Begin to close every position, the largest cost first; the same key begins none anew."""
        costs = {one.symbol: one.avg_cost for one in await self._broker.positions()}
        held = await self._books.positions()
        symbols = sorted(held, key=lambda s: (s in costs, -abs(held[s] * costs.get(s, ZERO)), s))
        begun = []
        for symbol in symbols:
            try:
                begun.append(await self.close(symbol, CloseFields(), key, self._ids.new(), cause))
            except NotFoundError:
                _log.info("closed_meanwhile", symbol=symbol)
        return begun

    async def flatten(self, generation: int) -> None:
        """Close everything, as a halt of this generation orders. To be told again while it lasts:
        what traded only after it is closed in a further round, a few at most."""
        for number in range(_ATTEMPTS_MAX):
            begun = await self.close_all(f"{FLATTEN}:{generation}:{number}", cause=FLATTEN)
            if any(one.status is ClosingStatus.OPEN for one in begun) or not begun:
                return

    async def resume(self) -> None:
        """Go on with what was begun before we were started."""
        for closing in await self._book.open():
            self._go_on(closing)

    async def follow(self) -> None:
        """Take up for ever what is on record and nobody works on: the answer was lost when it was
        put there, or the work on it failed."""
        while True:
            await asyncio.sleep(_STRANDED_S)
            await self.resume()

    def _go_on(self, closing: Closing) -> None:
        if closing.status is ClosingStatus.OPEN:
            self._tasks.spawn(f"closing {closing.id}", partial(self._bring, closing.id))

    # Done -------------------------------------------------------------------------------------

    async def _bring(self, identity: UUID) -> None:
        symbol = (await self._book.get(identity)).symbol
        async with self._claims.hold(symbol, CLAIM):
            closing = await self._book.get(identity)
            while closing.status is ClosingStatus.OPEN:
                closing = await self._step(closing)

    async def _step(self, closing: Closing) -> Closing:
        """Carry out one closing order, from wherever it stands."""
        if closing.order_id is None:
            closing = await self._prepare(closing)
            if closing.order_id is None:
                return closing
        order = await self._ended(await self._sent(closing))
        if order.status is OrderStatus.FILLED:
            return await self._book.note(closing, status=ClosingStatus.CLOSED)
        why = f"order {order.id} {order.status}: {order.reject_reason or 'no reason given'}"
        _log.warning("close_failed", closing=str(closing.id), why=why, attempt=closing.attempt)
        if closing.attempt < _ATTEMPTS_MAX and order.status in {
            OrderStatus.DENIED, OrderStatus.REJECTED
        }:  # fmt: skip
            # The risk manager or the venue may not have heard yet of what freed the shares.
            await asyncio.sleep(_LOOK_S * closing.attempt)
            return await self._book.note(closing, order_id=None, order_quantity=None)
        return await self._fail(closing, why)

    async def _prepare(self, closing: Closing) -> Closing:
        """Free the shares and put the closing order on record."""
        held = (await self._books.positions()).get(Symbol(closing.symbol), ZERO)
        if not held:
            return await self._book.note(
                closing, status=ClosingStatus.CLOSED, reason="nothing is held any more"
            )
        side = Side.SELL if held > 0 else Side.BUY
        if not await self._free(closing, side):
            return await self._fail(await self._book.get(closing.id), "its orders did not end")
        closing = await self._book.get(closing.id)
        traded = await self._traded(closing)
        ours, theirs = await self._agreed(Symbol(closing.symbol))
        step = await self._book.quantity_step(closing.symbol)
        quantity = quantity_to_close(closing, ours, theirs, traded, step)
        exact = quantity_to_close(closing, ours, theirs, traded)
        if step is not None and exact > 0 and not quantity:
            return await self._fail(
                closing, f"{plain(exact)} is less than one step of {plain(step)}"
            )
        if quantity <= 0 or (ours > 0) is not (side is Side.SELL):
            return await self._book.note(
                closing, status=ClosingStatus.CLOSED, reason="nothing is left to close"
            )
        attempt = closing.attempt + 1
        return await self._book.note(
            closing,
            attempt=attempt,
            order_id=order_id_of_closing(closing.id, attempt),
            order_quantity=quantity if side is Side.SELL else -quantity,
        )

    async def _traded(self, closing: Closing) -> Decimal:
        """Return what earlier attempts have closed."""
        traded = ZERO
        for attempt in range(1, closing.attempt + 1):
            order = await self._books.order(OrderId(order_id_of_closing(closing.id, attempt)))
            traded += order.filled_quantity if order else ZERO
        return traded

    async def _free(self, closing: Closing, side: Side) -> bool:
        """Cancel what stands in the way and wait for its end; False if that takes too long.

        A cancel that the venue refuses is asked again after growing pauses: most often the order
        has ended there, and its last executions are on their way to us."""
        deadline = self._clock.monotonic_ns() + round(self._cancel_s_max * 1e9)
        turns: dict[OrderId, tuple[int, float]] = {}
        while orders := in_the_way(closing, self._desk.open_orders(), side):
            fresh = [one.id for one in orders if one.id not in closing.exits]
            if fresh:
                closing = await self._book.note(closing, exits=(*closing.exits, *fresh))
            now_ns = self._clock.monotonic_ns()
            due = [
                one
                for one in orders
                if one.status in _CANCELLABLE and turns.get(one.id, (0, 0.0))[0] <= now_ns
            ]
            for one in due:
                pause_s = min(2 * turns.get(one.id, (0, _POLL_S / 2))[1], _ASK_S_MAX)
                turns[one.id] = now_ns + round(pause_s * 1e9), pause_s
            asked = await asyncio.gather(
                *(self._cancels.cancel(one.id, f"closing {closing.symbol}") for one in due),
                return_exceptions=True,
            )
            for one, answer in zip(due, asked, strict=True):
                # Unavailable: the wish is on record and repeated. Conflict: it has just ended.
                if isinstance(answer, BaseException) and not isinstance(
                    answer, UnavailableError | ConflictError | NotFoundError
                ):
                    raise answer
                if isinstance(answer, Exception):
                    _log.info("cancel_waits", order=str(one.id), error=str(answer))
            if self._clock.monotonic_ns() > deadline:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    async def _agreed(self, symbol: Symbol) -> tuple[Decimal, Decimal]:
        """Return our position and the broker's, once they agree or a settle time has passed: an
        execution of what was cancelled may still be on its way to us."""
        deadline = self._clock.monotonic_ns() + round(self._settle_s * 1e9)
        while True:
            theirs = {one.symbol: one.quantity for one in await self._broker.positions()}
            ours = await self._books.positions()
            found = ours.get(symbol, ZERO), theirs.get(symbol, ZERO)
            if found[0] == found[1] or self._clock.monotonic_ns() > deadline:
                return found
            await asyncio.sleep(_LOOK_S)

    async def _sent(self, closing: Closing) -> Order:
        """Return the closing order, judged and on its way; raises UnavailableError where nobody
        judges: it is then asked again."""
        assert closing.order_id is not None
        order = await self._books.order(OrderId(closing.order_id))
        if order is not None:
            return order
        assert closing.order_quantity is not None
        fields = OrderFields(
            symbol=closing.symbol,
            side=Side.SELL if closing.order_quantity > 0 else Side.BUY,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.DAY,
            quantity=abs(closing.order_quantity),
        )
        request = request_of("closing", fields, closing=str(closing.id))
        return await self._placing.trigger(
            OrderId(closing.order_id), fields, request, closing.correlation_id
        )

    async def _ended(self, order: Order) -> Order:
        """Wait for the end of an order: an execution may end it, a cancel, or the close."""
        while not order.status.is_terminal:
            await asyncio.sleep(_POLL_S)
            order = await self._lifecycle.find(order.id)
        return order

    async def _fail(self, closing: Closing, why: str) -> Closing:
        """Put the exits back that were cancelled, tell, and end."""
        exits = [await self._lifecycle.find(OrderId(one)) for one in closing.exits]
        ended = [one for one in exits if one.status is OrderStatus.CANCELED]
        held = (await self._books.positions()).get(Symbol(closing.symbol), ZERO)
        side = Side.SELL if held > 0 else Side.BUY
        restored = []
        for name, fields in restorations(ended, side, abs(held)):
            order = await self._restored(closing, name, fields)
            restored.append(f"{order.id} {order.status}")
        await self._books.notify(
            Level.CRITICAL,
            f"Position not closed: {closing.symbol}",
            f"{why}. Held: {plain(held)}. Exits placed again: {', '.join(restored) or 'none'}.",
            f"closing:{closing.id}",
            {"closing_id": str(closing.id), "symbol": closing.symbol},
        )
        return await self._book.note(closing, status=ClosingStatus.FAILED, reason=why[:500])

    async def _restored(self, closing: Closing, name: UUID, fields: OrderFields) -> Order:
        """Return the exit that stands for one that was cancelled, placed once. What was judged
        before we were cut down, for another position than there is now, is left: the next number.
        """
        stem = f"{closing.id}:{name}"
        stems = [stem, *(f"{stem}:{number}" for number in range(1, _ATTEMPTS_MAX))]
        ids = [OrderId(derived_id("restored_exit", one)) for one in stems]
        for identity in ids:
            order = await self._books.order(identity)
            if order is not None:
                return order
        request = request_of("restore", fields, closing=str(closing.id))
        for identity in ids[:-1]:
            try:
                return await self._placing.trigger(
                    identity, fields, request, closing.correlation_id
                )
            except ConflictError as error:
                _log.info("restoring_counts_on", closing=str(closing.id), why=str(error))
        return await self._placing.trigger(ids[-1], fields, request, closing.correlation_id)
