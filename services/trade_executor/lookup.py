"""Finding out what became of an order whose answer was lost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from libs.common.domain.vocabulary import OrderStatus
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from libs.common.runtime.resilience import pauses
from services.trade_executor.desk import Desk
from services.trade_executor.metrics import OUTCOMES_PENDING
from services.trade_executor.model import BrokerOrder, Order
from services.trade_executor.ports import Broker, BrokerRefusedError

_log = get_logger(__name__)


class Lookups:
    """Proves an order live or absent at the venue.

    Absent means: every look-up by our id said "not found" over the settle time, and after that
    the list of orders since before it was sent does not hold it either. One look proves nothing,
    for a venue may take an order in long after it has dropped the connection.
    """

    def __init__(
        self,
        broker: Broker,
        desk: Desk,
        clock: Clock,
        *,
        first_s: float,
        max_s: float,
        settle_s: float,
        list_from: Callable[[], dt.datetime],
    ) -> None:
        self._broker = broker
        self._desk = desk
        self._clock = clock
        self._first_s = first_s
        self._max_s = max_s
        self._settle_s = settle_s
        self._list_from = list_from

    async def prove(self, order: Order) -> BrokerOrder | None:
        """Return the order as the venue shows it, None if it is proven absent.

        Asks until one of both is certain; returns early, with None, when the order has been
        heard of by the stream meanwhile (look at its status).
        """
        absent_since: float | None = None
        list_from = self._list_from()
        with OUTCOMES_PENDING.track_inprogress():
            async for _ in pauses(self._first_s, self._max_s):
                known = self._desk.get(order.id)
                if known is not None and known.status is not OrderStatus.OUTCOME_UNKNOWN:
                    return None
                try:
                    found = await self._broker.find(order.client_order_id)
                    now_s = self._clock.monotonic_ns() / 1e9
                    if found is not None:
                        return found
                    absent_since = now_s if absent_since is None else absent_since
                    if now_s - absent_since < self._settle_s:
                        continue
                    listed = await self._listed(order, list_from)
                except (UnavailableError, BrokerRefusedError) as error:
                    _log.warning("lookup_failed", order=str(order.id), error=str(error))
                    continue
                if listed is not None:
                    return listed
                _log.warning("order_proven_absent", order=str(order.id), attempt=order.attempt)
                return None
        raise AssertionError("pauses never end")

    async def _listed(self, order: Order, since: dt.datetime) -> BrokerOrder | None:
        orders = await self._broker.orders_since(since, order.symbol)
        matching = (one for one in orders if one.client_order_id == order.client_order_id)
        return next(matching, None)
