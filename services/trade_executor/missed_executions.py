"""Executions that the stream did not tell of: booked from the broker's activity list."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from libs.common.domain.executions import Execution
from libs.common.domain.orders import OrderEvent
from libs.common.kernel.ids import BrokerOrderId, ExecutionId
from services.trade_executor.findings import Findings
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.ports import Books, Broker


class MissedExecutions:
    """Books what the activity list names and our books do not hold.

    The list is read before the orders that it speaks of, so an order's own sum is never older
    than what is listed. What the sum leaves no room for is booked already by another name (see
    `agreement.Names`), or the two views of the broker disagree: then it is looked at again. A list
    that is late is read again as long as the order's sum says that something is missing.
    """

    def __init__(
        self, books: Books, broker: Broker, lifecycle: Lifecycle, identifier: Identifier
    ) -> None:
        self._books = books
        self._broker = broker
        self._lifecycle = lifecycle
        self._identifier = identifier
        self._aliases: set[ExecutionId] = set()

    async def book(self, since: dt.datetime, findings: Findings) -> None:
        """Book what was missed since `since` (market time)."""
        executions = await self._broker.executions_since(since)
        booked = await self._books.execution_ids([one.execution_id for one in executions])
        opening = await self._books.opening()
        named = {one.execution_id for one in executions}
        missing: dict[BrokerOrderId, list[Execution]] = {}
        for one in executions:
            known = one.execution_id in booked or one.execution_id in self._aliases
            if not known and (opening is None or one.executed_at >= opening.at):
                missing.setdefault(one.broker_order_id, []).append(one)
        for broker_order_id, of_order in missing.items():
            await self._of_order(broker_order_id, of_order, named, findings)

    async def _of_order(
        self,
        broker_order_id: BrokerOrderId,
        executions: Sequence[Execution],
        named: Collection[ExecutionId],
        findings: Findings,
    ) -> None:
        found = await self._broker.order(broker_order_id)
        if found is None:
            findings.doubts = True
            findings.details.append(f"executions of unknown broker order {broker_order_id}")
            return
        known = await self._identifier.known(found)
        order = known or await self._identifier.family(found)
        findings.orders_adopted += known is None
        if order.broker_order_id is None:
            # It traded before its answer was seen, or instead of it.
            order = await self._lifecycle.happen(
                order.id, OrderEvent.ACKNOWLEDGED, broker_order_id=found.broker_order_id
            )
        aliases = []
        for one in executions:
            written = await self._lifecycle.executed(
                order.id, one, source="activities", sum_there=found.filled_quantity, named=named
            )
            order = written.order
            if written.outcome == "booked":
                findings.executions_booked += 1
                findings.details.append(f"execution {one.execution_id} of {one.symbol} was missed")
            elif written.outcome == "alias":
                aliases.append(one.execution_id)
                findings.executions_aliased += 1
                findings.details.append(f"execution {one.execution_id} is booked by another name")
            elif written.outcome == "no_room":
                findings.doubts = True
                findings.details.append(
                    f"execution {one.execution_id} is more than order {order.id} says it had"
                )
        if order.status.is_terminal and order.filled_quantity == found.filled_quantity:
            self._aliases.update(aliases)  # all is told of it: need not be asked again
