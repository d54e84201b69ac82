"""Executions that the venue takes back or corrects: told by the stream, or found in its list."""

from __future__ import annotations

import datetime as dt

from libs.common.domain.executions import ExecutionKey, Reversal
from libs.common.domain.orders import OrderEvent
from libs.common.kernel.errors import NotFoundError
from libs.common.runtime.logging import get_logger
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.model import Order, Update
from services.trade_executor.opening import held_before_us
from services.trade_executor.ports import Books, Broker

_log = get_logger(__name__)


class Reversals:
    """Brings the books to where the venue's executions stand."""

    def __init__(
        self, books: Books, broker: Broker, lifecycle: Lifecycle, identifier: Identifier
    ) -> None:
        self._books = books
        self._broker = broker
        self._lifecycle = lifecycle
        self._identifier = identifier
        self._done: set[ExecutionKey] = set()

    async def told(self, order: Order, update: Update) -> bool:
        """Apply what the stream says; False where it does not say which execution it means, or
        means one that we have not heard of: that may itself have taken the place of another, or
        be in the opening balance, which the venue's list tells."""
        reversal = reversal_of(update, self._broker.name)
        if reversal is None or not await self._books.execution_ids([reversal.original]):
            return False
        await self._lifecycle.taken_back(order.id, reversal)
        return True

    async def catch_up(self, since: dt.datetime) -> int:
        """Apply what the venue lists since `since` (market time); return how many were new.

        What the opening balance holds was in it as it stood then: what was reversed before is in
        it reversed, what is reversed afterwards is taken out of it.
        """
        found = await self._broker.reversals_since(since)
        opening = await self._books.opening()
        new = 0
        for one in found:
            if one.key in self._done or (opening is not None and one.reversed_at < opening.at):
                continue
            theirs = await self._broker.order(one.broker_order_id)
            if theirs is None:
                _log.warning("reversal_of_unknown_order", execution=one.original)
                continue
            order = await self._identifier.identify(theirs)
            try:
                held = await held_before_us(self._broker, theirs, one, opening)
            except NotFoundError as error:
                _log.warning("reversal_not_followed", execution=one.original, error=str(error))
                continue
            written = await self._lifecycle.taken_back(order.id, one, held)
            self._done.add(one.key)
            new += written.outcome != "duplicate"
        return new


def reversal_of(update: Update, broker: str) -> Reversal | None:
    """Return the reversal that an update tells of; None where it names no execution."""
    if update.amends is None or update.ts is None:
        return None
    replacement = update.execution if update.event is OrderEvent.CORRECTED else None
    if update.event is OrderEvent.CORRECTED and replacement is None:
        return None
    return Reversal(
        broker=broker,
        original=update.amends,
        broker_order_id=update.order.broker_order_id,
        symbol=update.order.symbol,
        reversed_at=update.ts,
        record_id=replacement.execution_id if replacement else "",
        replacement=replacement,
    )
