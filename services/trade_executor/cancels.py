"""Asking for cancels. A venue's yes is only a promise; the stream or a look-up tells the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from libs.common.domain.orders import OrderEvent, statuses_allowing
from libs.common.domain.vocabulary import OrderStatus
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import OrderId
from libs.common.runtime.logging import get_logger
from services.trade_executor.desk import Desk
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.logic import news_of
from services.trade_executor.model import Order
from services.trade_executor.ports import Broker, BrokerRefusedError

_log = get_logger(__name__)


class Also(Protocol):
    """Cancels what waits elsewhere."""

    async def __call__(
        self, reason: str, *, spare_protective: bool, symbol: str | None
    ) -> Sequence[object]: ...


_ENDS = frozenset({OrderEvent.FILLED, OrderEvent.CANCELED, OrderEvent.EXPIRED, OrderEvent.REPLACED})
_CANCELLABLE = statuses_allowing(OrderEvent.ASK_CANCEL)


class Cancels:
    """Cancels one order or many."""

    def __init__(self, broker: Broker, desk: Desk, lifecycle: Lifecycle) -> None:
        self._broker = broker
        self._desk = desk
        self._lifecycle = lifecycle
        # Orders kept back, which are cancelled with those that are open.
        self.also: list[Also] = []

    async def cancel(self, order_id: OrderId, reason: str) -> Order:
        """Ask for one order's cancel. Raises NotFoundError, ConflictError where its status does
        not allow it, UnavailableError where the broker did not answer (the wish is on record
        and is repeated until the order has ended)."""
        order = await self._lifecycle.happen(order_id, OrderEvent.ASK_CANCEL, reason=reason)
        if order.status is OrderStatus.PENDING_CANCEL:
            return await self.ask(order)
        return order

    async def ask(self, order: Order) -> Order:
        """Ask the broker to cancel an order that is marked so."""
        if order.broker_order_id is None:
            return order
        try:
            await self._broker.cancel(order.broker_order_id)
        except BrokerRefusedError as error:
            _log.info("cancel_refused", order=str(order.id), error=str(error))
            return await self._after_refusal(order, str(error))
        return await self._lifecycle.find(order.id)

    async def _after_refusal(self, order: Order, why: str) -> Order:
        """The broker will not cancel: most often it has ended already. Look."""
        assert order.broker_order_id is not None
        found = await self._broker.order(order.broker_order_id)
        if found is not None and found.event is OrderEvent.PENDING_REPLACE:
            # The wish stands: asked again, or handed to the order that takes its place.
            return await self._lifecycle.find(order.id)
        event = OrderEvent.CANCEL_REFUSED if found is None else news_of(found, order)
        if event not in _ENDS:
            event = OrderEvent.CANCEL_REFUSED
        return await self._lifecycle.happen(order.id, event, reason=why)

    async def cancel_open(
        self,
        reason: str,
        *,
        spare_protective: bool,
        symbol: str | None = None,
        again: bool = False,
    ) -> Sequence[Order]:
        """Ask for the cancel of every open order, of `symbol` alone where it is given; return
        those that were asked for.

        `again`: it was asked for before; orders that others have made at the broker since, which
        may be somebody's way out, and cancels under way are left alone.

        One failure does not stop the others; what could not be asked is on record as
        `pending_cancel` and asked again by the watch.
        """
        for cancel in () if again else self.also:
            await cancel(reason, spare_protective=spare_protective, symbol=symbol)
        wanted = [
            order
            for order in self._desk.open_orders()
            if order.status in _CANCELLABLE
            and not (spare_protective and order.protects)
            and symbol in {None, order.symbol}
            and not (again and (order.external or order.status is OrderStatus.PENDING_CANCEL))
        ]
        results = await asyncio.gather(
            *(self.cancel(order.id, reason) for order in wanted), return_exceptions=True
        )
        asked = []
        for order, result in zip(wanted, results, strict=True):
            if isinstance(result, UnavailableError):
                _log.warning("cancel_waits", order=str(order.id), error=str(result))
            elif isinstance(result, Exception):
                _log.info("cancel_not_needed", order=str(order.id), error=str(result))
            elif isinstance(result, BaseException):
                raise result
            else:
                asked.append(result)
        return asked
