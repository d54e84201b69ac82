"""Write, then send: the way of an approved order to the venue.

1. One transaction writes the row, its history, its ledger hold and the message; where nothing
   has to be waited for it is marked `submitting` in the same commit, so the mark is durable
   before the wire and the order is at the venue one commit after it was approved.
2. At the last step before the wire the kill switch and the approval's life are looked at.
3. It is sent once. An answer, a proof of refusal, or `outcome_unknown`: nothing is sent again
   until a look-up has proven that nothing arrived.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from libs.common.contracts.messages import ApprovedOrder
from libs.common.domain.ledger import OverdraftError, Transfer
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderStatus, Side
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, Refusal
from libs.common.kernel.ids import ClientOrderId, OrderId, client_order_id
from libs.common.runtime.logging import get_logger
from libs.common.runtime.resilience import pauses
from services.trade_executor import logic
from services.trade_executor.desk import Desk
from services.trade_executor.gate import Blocks, TradingGate
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.lookup import Lookups
from services.trade_executor.metrics import LEG, ORDERS, OUTCOMES_UNKNOWN
from services.trade_executor.model import BrokerOrder, Order, order_of
from services.trade_executor.ports import (
    Books,
    Broker,
    BrokerRefusedError,
    NotSentError,
    OutcomeUnknownError,
    Recorded,
)
from services.trade_executor.tasks import Tasks

_log = get_logger(__name__)

_CREATED = Recorded("created", None, OrderStatus.CREATED)
_SENT = Recorded(OrderEvent.SEND, OrderStatus.CREATED, OrderStatus.SUBMITTING)


class Submission:
    """Takes approvals, sends orders."""

    def __init__(
        self,
        *,
        books: Books,
        broker: Broker,
        desk: Desk,
        lifecycle: Lifecycle,
        gate: TradingGate,
        blocks: Blocks,
        clock: Clock,
        tasks: Tasks,
        lookups: Lookups,
        identifier: Identifier,
        collar: Decimal,
        attempts_max: int,
    ) -> None:
        self._books = books
        self._broker = broker
        self._desk = desk
        self._lifecycle = lifecycle
        self._gate = gate
        self._blocks = blocks
        self._clock = clock
        self._tasks = tasks
        self._lookups = lookups
        self._identifier = identifier
        self._collar = collar
        self._attempts_max = attempts_max
        # Names that went out, until what became of them is written.
        self._sent: set[ClientOrderId] = set()

    async def take(
        self,
        approved: ApprovedOrder,
        *,
        correlation_id: UUID,
        causation_id: UUID | None = None,
        idempotency_key: str | None = None,
        request: Mapping[str, Any] | None = None,
    ) -> Order:
        """Make an approval an order; returns once it is durable, sending goes on by itself.

        The same approval again returns the order that is there and sends nothing.
        """
        known = self._desk.get(OrderId(approved.order_id))
        if known is not None:
            return known
        self._desk.require_opened()
        started = self._clock.monotonic_ns()
        order = order_of(
            approved,
            broker=self._broker.name,
            correlation_id=correlation_id,
            now=self._clock.now(),
            idempotency_key=idempotency_key,
            request=request,
        )
        hold = logic.hold_for(order, approved.assessment.reference_price, self._collar)
        refusal = self._refusal_at_hand(order, hold)
        if refusal is not None:
            return await self.record_denied(order, refusal, causation_id)
        self._gate.foresee()
        at_once = not (order.adds_risk and self._blocks.reasons(order.symbol))
        if at_once:
            order = replace(order, status=OrderStatus.SUBMITTING)
        order, created = await self._create(order, hold, causation_id, at_once=at_once)
        LEG.labels("approved_to_durable").observe((self._clock.monotonic_ns() - started) / 1e9)
        if created and not order.status.is_terminal:
            self._tasks.spawn(f"order {order.id}", partial(self.bring, order.id))
            # To the wire first; what our caller has yet to do, no order waits for.
            await asyncio.sleep(0)
        return order

    async def _create(
        self, order: Order, hold: Transfer | None, causation_id: UUID | None, *, at_once: bool
    ) -> tuple[Order, bool]:
        recorded = [_CREATED, _SENT] if at_once else [_CREATED]
        try:
            written = await self._books.create(order, recorded, hold, causation_id)
        except OverdraftError:
            if order.adds_risk:
                short = order.spec.side is Side.BUY
                code = logic.CASH_INSUFFICIENT if short else logic.SHARES_INSUFFICIENT
                held = {"hold": str(hold.amount)} if hold else {}
                return await self.record_denied(order, Refusal(code, held), causation_id), False
            # An order that lowers risk is not stopped by what it would hold.
            written = await self._books.create(order, recorded, None, causation_id)
        created = written.outcome == "created"
        if created:
            ORDERS.labels(written.order.status).inc()
            return self._desk.put(written.order), True
        return await self._lifecycle.find(order.id), False

    def _refusal_at_hand(self, order: Order, hold: Transfer | None) -> Refusal | None:
        if order.expires_at is not None and self._clock.now() >= order.expires_at:
            return Refusal(logic.APPROVAL_EXPIRED, {"expires_at": order.expires_at.isoformat()})
        inexpressible = self._broker.check(order.spec)
        if inexpressible is not None:
            return Refusal(logic.NOT_EXPRESSIBLE, {"why": inexpressible})
        if hold is None and order.adds_risk:
            return Refusal(logic.PRICE_UNKNOWN)
        return None

    async def record_denied(
        self, order: Order, refusal: Refusal, causation_id: UUID | None = None
    ) -> Order:
        """Write an order that is refused before it could be sent, so that it can be seen."""
        status = OrderStatus.CREATED
        denied = Recorded(OrderEvent.DENY, status, OrderStatus.DENIED, str(refusal))
        order = replace(order, status=OrderStatus.DENIED, reject_reason=str(refusal))
        written = await self._books.create(order, [_CREATED, denied], None, causation_id)
        if written.outcome == "exists":
            return await self._lifecycle.find(order.id)
        ORDERS.labels(OrderStatus.DENIED).inc()
        _log.warning("order_denied", order=str(order.id), reason=str(refusal))
        return self._desk.put(written.order)

    async def bring(self, order_id: OrderId) -> None:
        """Bring an order to the venue, from wherever it stands, until its fate is known."""
        order = await self._lifecycle.find(order_id)
        if order.status is OrderStatus.CREATED:
            order = await self._release(order)
        if order.client_order_id in self._sent:
            order = await self._interrupted(order)
        send = order.status is OrderStatus.SUBMITTING
        try:
            while send or order.status is OrderStatus.OUTCOME_UNKNOWN:
                if send:
                    if order.adds_risk:
                        await self._gate.listen()
                    await self._send(order)
                    self._sent.discard(order.client_order_id)
                    send = False
                else:
                    # At once: after a restart nothing else may pass it by on its symbol.
                    self._blocks.block(order.symbol, _unknown(order))
                    send = await self._resolve(order)
                order = await self._lifecycle.find(order_id)
        finally:
            known = self._desk.get(order_id)
            if known is None or known.status is not OrderStatus.OUTCOME_UNKNOWN:
                await self._blocks.clear(order.symbol, _unknown(order))

    async def _interrupted(self, order: Order) -> Order:
        """Take up an order that went out while what came of it could not be written: it must not
        go out again, so it is looked up like any other lost answer."""
        if order.status is OrderStatus.SUBMITTING:
            order = await self._lifecycle.happen(
                order.id, OrderEvent.LOSE_OUTCOME, reason="interrupted after sending"
            )
        self._sent.discard(order.client_order_id)
        return order

    async def _release(self, order: Order) -> Order:
        """Mark a waiting order as being sent, once nothing blocks its symbol."""
        left_s = _left_s(order, self._clock.now())
        if order.adds_risk and not await self._blocks.wait_clear(order.symbol, left_s):
            blocked = ", ".join(sorted(self._blocks.reasons(order.symbol)))
            await self._deny(order, Refusal(logic.APPROVAL_EXPIRED, {"blocked": blocked}))
            return await self._lifecycle.find(order.id)
        try:
            return await self._lifecycle.happen(order.id, OrderEvent.SEND)
        except ConflictError:
            return await self._lifecycle.find(order.id)  # ended while it waited

    async def _send(self, order: Order) -> None:
        """Send one attempt. What provably never left is tried again while the approval lives."""
        async for _ in pauses(0.1, 2.0):
            async with self._broker.slot(first=not order.adds_risk):
                refusal = await self._gate.refusal(order, self._clock.now())
                if refusal is not None:
                    await self._deny(order, refusal)
                    return
                started = self._clock.monotonic_ns()
                self._sent.add(order.client_order_id)
                try:
                    answer = await self._broker.submit(order.client_order_id, order.spec)
                except NotSentError as error:
                    self._sent.discard(order.client_order_id)
                    _log.warning("order_not_sent", order=str(order.id), error=str(error))
                    continue
                except OutcomeUnknownError as error:
                    OUTCOMES_UNKNOWN.inc()
                    self._blocks.block(order.symbol, _unknown(order))
                    await self._lifecycle.happen(
                        order.id, OrderEvent.LOSE_OUTCOME, reason=str(error)
                    )
                    return
                except BrokerRefusedError as error:
                    await self._lifecycle.happen(
                        order.id, OrderEvent.REJECTED, reason=str(error), reject_reason=str(error)
                    )
                    return
                finally:
                    LEG.labels("wire").observe((self._clock.monotonic_ns() - started) / 1e9)
            await self.acknowledge(order, answer)
            return

    async def acknowledge(self, order: Order, answer: BrokerOrder) -> Order:
        """Note the venue's answer and its ids; its executions come by their own way.

        Its legs first: while the order counts as being sent, what the stream tells of them waits.
        """
        await self._identifier.legs(order, answer)
        event = logic.news_of(answer, order)
        reason = answer.reason if event is OrderEvent.REJECTED else None
        order = await self._lifecycle.happen(
            order.id,
            event,
            reason=reason,
            reject_reason=reason,
            broker_order_id=answer.broker_order_id,
        )
        LEG.labels("created_to_acknowledged").observe(
            max(0.0, (self._clock.now() - order.created_at).total_seconds())
        )
        return order

    async def _deny(self, order: Order, refusal: Refusal) -> None:
        _log.warning("order_denied", order=str(order.id), reason=str(refusal))
        try:
            await self._lifecycle.happen(
                order.id, OrderEvent.DENY, reason=str(refusal), reject_reason=str(refusal)
            )
        except ConflictError as error:
            _log.info("order_ended_before_denial", order=str(order.id), error=str(error))

    async def _resolve(self, order: Order) -> bool:
        """Look an `outcome_unknown` order up until its fate is proven, then act on it: take what
        was found, give up and say why, or tell that the next attempt is to be sent."""
        found = await self._lookups.prove(order)
        order = await self._lifecycle.find(order.id)
        if order.status is not OrderStatus.OUTCOME_UNKNOWN:
            return False  # the stream knew it first
        if found is not None:
            await self.acknowledge(order, found)
            return False
        if order.adds_risk:
            await self._gate.listen()
        refusal = await self._gate.refusal(order, self._clock.now())
        if refusal is None and order.attempt >= self._attempts_max:
            refusal = Refusal(logic.NEVER_ARRIVED, {"attempts": str(order.attempt)})
        if refusal is not None:
            await self._lifecycle.happen(
                order.id, OrderEvent.GIVE_UP, reason=str(refusal), reject_reason=str(refusal)
            )
            return False
        attempt = order.attempt + 1
        await self._lifecycle.happen(
            order.id,
            OrderEvent.RESEND,
            attempt=attempt,
            client_order_id=client_order_id(order.id, attempt),
        )
        return True


def _unknown(order: Order) -> str:
    return f"outcome_unknown:{order.id}"


def _left_s(order: Order, now: dt.datetime) -> float:
    if order.expires_at is None:
        return float("inf")
    return max(0.0, (order.expires_at - now).total_seconds())
