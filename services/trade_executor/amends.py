"""Amending an order at the venue: judged, written, sent once, looked up when the answer is lost.

An amendment is an order of its own that names the one it replaces. Until the venue says that it
has taken its place the old order stands, and the new one holds only what exceeds the old one's
hold; in the commit that ends the old order the whole hold passes over.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Final
from uuid import UUID

from libs.common.contracts.messages import ApprovedOrder
from libs.common.domain.ledger import OverdraftError, Transfer
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderStatus, Side, Verdict
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, Refusal, UnavailableError
from libs.common.kernel.ids import OrderId, client_order_id, derived_id
from libs.common.kernel.money import ZERO
from libs.common.runtime.logging import get_logger
from libs.common.runtime.resilience import pauses
from services.trade_executor import logic
from services.trade_executor.amending import (
    AmendFields,
    amended,
    fields_of,
    is_leg,
    require_replaceable,
)
from services.trade_executor.cancels import Cancels
from services.trade_executor.desk import Desk
from services.trade_executor.gate import Blocks, TradingGate
from services.trade_executor.identify import Identifier
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.lookup import Lookups
from services.trade_executor.metrics import OUTCOMES_UNKNOWN
from services.trade_executor.model import BrokerOrder, Change, Order, Succession, order_of
from services.trade_executor.ports import (
    Books,
    Broker,
    BrokerRefusedError,
    NotSentError,
    OutcomeUnknownError,
    Recorded,
    RiskDesk,
)
from services.trade_executor.requests import Request, request_of, require_same
from services.trade_executor.submission import Submission
from services.trade_executor.tasks import Tasks

_log = get_logger(__name__)

_WRITTEN: Final = (
    Recorded("created", None, OrderStatus.CREATED),
    Recorded(OrderEvent.SEND, OrderStatus.CREATED, OrderStatus.SUBMITTING),
)
_UNANSWERED: Final = frozenset({OrderStatus.CREATED, OrderStatus.SUBMITTING})
_REFUSED: Final = frozenset({OrderStatus.DENIED, OrderStatus.REJECTED})


class Amends:
    """Amends orders."""

    def __init__(
        self,
        *,
        books: Books,
        broker: Broker,
        desk: Desk,
        lifecycle: Lifecycle,
        submission: Submission,
        cancels: Cancels,
        gate: TradingGate,
        blocks: Blocks,
        risk: RiskDesk,
        clock: Clock,
        tasks: Tasks,
        lookups: Lookups,
        identifier: Identifier,
        account_id: str,
        collar: Decimal,
        answer_s: float,
    ) -> None:
        self._books = books
        self._broker = broker
        self._desk = desk
        self._lifecycle = lifecycle
        self._submission = submission
        self._cancels = cancels
        self._gate = gate
        self._blocks = blocks
        self._risk = risk
        self._clock = clock
        self._tasks = tasks
        self._lookups = lookups
        self._identifier = identifier
        self._account_id = account_id
        self._collar = collar
        self._answer_s = answer_s
        self._sent: set[OrderId] = set()  # until what became of them is written
        lifecycle.hearers.append(self._hear)

    # Asked for --------------------------------------------------------------------------------

    async def amend(
        self, order_id: OrderId, fields: AmendFields, key: str, correlation_id: UUID
    ) -> Order:
        """Return the order that is to take the place of `order_id`, once the venue has answered
        or is late to; denied by the risk manager it has the status `denied`.

        Raises NotFoundError, InvalidInputError where nothing would change or a field does not
        fit, ConflictError where the order or the venue does not allow it or the key was used for
        another request.
        """
        amendment_id = OrderId(derived_id("manual_order", self._account_id, key))
        request = request_of("amend", fields, order_id=str(order_id))
        known = await self._books.order(amendment_id)
        if known is None:
            known = await self._begin(order_id, amendment_id, fields, key, request, correlation_id)
        require_same(key, known.request, request, f"order {known.id}")
        known = await self._answered(known.id)
        if known.status in _REFUSED and known.succession is not None:
            raise ConflictError(
                f"order {order_id} was not amended: {known.reject_reason} (amendment {known.id})"
            )
        return known

    async def _begin(
        self,
        order_id: OrderId,
        amendment_id: OrderId,
        fields: AmendFields,
        key: str,
        request: Request,
        correlation_id: UUID,
    ) -> Order:
        self._desk.require_opened()
        old = await self._lifecycle.find(order_id)
        require_replaceable(old)
        spec, total, change = amended(old, fields)
        wished = fields_of(spec, leg=is_leg(old))
        blank = Order(
            id=amendment_id,
            client_order_id=client_order_id(amendment_id, 1),
            broker=old.broker,
            account_id=old.account_id,
            spec=spec,
            correlation_id=correlation_id,
            created_at=self._clock.now(),
            parent_id=old.parent_id,
            replaces_id=old.id,
            protective=old.protective,
            strategy_id=old.strategy_id,
            signal_id=old.signal_id,
            request_id=amendment_id,
            idempotency_key=key,
            request=request,
        )
        try:
            reply = await self._risk.assess(
                amendment_id, wished, correlation_id=correlation_id, replaces=old.id
            )
        except UnavailableError as error:
            refusal = Refusal(logic.RISK_UNAVAILABLE, {"why": str(error)})
            return await self._submission.record_denied(blank, refusal)
        if reply.verdict is not Verdict.APPROVED or reply.order is None:
            refusal = Refusal(reply.code, {"why": reply.detail})
            return await self._submission.record_denied(blank, refusal)
        return await self._write(old, blank, reply.order, total, change)

    async def _write(
        self, old: Order, blank: Order, approved: ApprovedOrder, total: Decimal, change: Change
    ) -> Order:
        """Write the amendment with what it holds beyond the old order, then send it."""
        judged = order_of(
            approved,
            broker=old.broker,
            correlation_id=blank.correlation_id,
            now=blank.created_at,
        )
        child = replace(
            blank,
            status=OrderStatus.SUBMITTING,
            reducing=judged.reducing,
            risk_assessment_id=judged.risk_assessment_id,
            generation=judged.generation,
            expires_at=judged.expires_at,
        )
        whole = None
        if not is_leg(old):
            price = approved.assessment.reference_price
            whole = logic.hold_for(child, price, self._collar)
            if whole is None and child.adds_risk:
                refusal = Refusal(logic.PRICE_UNKNOWN)
                return await self._submission.record_denied(blank, refusal)
        child = replace(child, succession=Succession(total, whole.amount if whole else None))
        refused = self._broker.check(child.spec)
        if refused is not None:
            refusal = Refusal(logic.NOT_EXPRESSIBLE, {"why": refused})
            return await self._submission.record_denied(blank, refusal)
        self._gate.foresee()
        try:
            written = await self._books.create(child, _WRITTEN, _excess(whole, old))
        except OverdraftError:
            if child.adds_risk:
                buying = child.spec.side is Side.BUY
                code = logic.CASH_INSUFFICIENT if buying else logic.SHARES_INSUFFICIENT
                return await self._submission.record_denied(blank, Refusal(code))
            written = await self._books.create(child, _WRITTEN, None)
        if written.outcome != "created":
            return await self._lifecycle.find(child.id)
        self._desk.put(written.order)
        self._tasks.spawn(f"order {child.id}", partial(self.bring, child.id, change))
        return written.order

    async def _answered(self, amendment_id: OrderId) -> Order:
        """Wait until the venue has answered, at most `answer_s`."""
        order = await self._lifecycle.find(amendment_id)
        deadline = self._clock.monotonic_ns() + self._answer_s * 1e9
        async for _ in pauses(0.005, 0.1):
            if order.status not in _UNANSWERED or self._clock.monotonic_ns() > deadline:
                return order
            order = await self._lifecycle.find(amendment_id)
        raise AssertionError("pauses never end")

    # Sent -------------------------------------------------------------------------------------

    async def bring(self, amendment_id: OrderId, change: Change | None = None) -> None:
        """Bring an amendment to the venue, from wherever it stands, until its fate is known.

        Without `change` (after a restart) nothing is sent: it is only looked up.
        """
        child = await self._lifecycle.find(amendment_id)
        if child.status is OrderStatus.SUBMITTING and child.id in self._sent:
            # It went out while what came of it could not be written: never again, look it up.
            await self._lifecycle.happen(
                child.id, OrderEvent.LOSE_OUTCOME, reason="interrupted after sending"
            )
        elif child.status is OrderStatus.SUBMITTING and change is not None:
            await self._send(child, change)
        self._sent.discard(child.id)
        child = await self._lifecycle.find(amendment_id)
        if child.status is OrderStatus.OUTCOME_UNKNOWN:
            reason = f"outcome_unknown:{child.id}"
            self._blocks.block(child.symbol, reason)
            try:
                await self._resolve(child)
            finally:
                await self._blocks.clear(child.symbol, reason)

    async def _send(self, child: Order, change: Change) -> None:
        assert child.replaces_id is not None
        try:
            old = await self._lifecycle.happen(
                child.replaces_id, OrderEvent.ASK_REPLACE, reason=f"amended by {child.id}"
            )
        except ConflictError as error:
            await self._deny(child, Refusal(logic.NOT_REPLACEABLE, {"why": str(error)}))
            return
        assert old.broker_order_id is not None
        if child.adds_risk:
            await self._gate.listen()
        async with self._broker.slot(first=not child.adds_risk):
            refusal = self._blocked(child) or await self._gate.refusal(child, self._clock.now())
            old = await self._lifecycle.find(old.id)
            if refusal is None and old.status is not OrderStatus.PENDING_REPLACE:
                refusal = Refusal(logic.NOT_REPLACEABLE, {"why": f"it is {old.status}"})
            if refusal is not None:
                await self._deny(child, refusal)
                return
            assert old.broker_order_id is not None
            self._sent.add(child.id)
            try:
                answer = await self._broker.replace(
                    old.broker_order_id, child.client_order_id, change
                )
            except NotSentError as error:
                await self._deny(child, Refusal(logic.BROKER_UNAVAILABLE, {"why": str(error)}))
                return
            except OutcomeUnknownError as error:
                OUTCOMES_UNKNOWN.inc()
                await self._lifecycle.happen(child.id, OrderEvent.LOSE_OUTCOME, reason=str(error))
                return
            except BrokerRefusedError as error:
                await self._lifecycle.happen(
                    child.id, OrderEvent.REJECTED, reason=str(error), reject_reason=str(error)
                )
                return
        await self._acknowledge(child, answer)

    async def _acknowledge(self, child: Order, answer: BrokerOrder) -> None:
        event = logic.news_of(answer, child)
        reason = answer.reason if event is OrderEvent.REJECTED else None
        child = await self._lifecycle.happen(
            child.id,
            event,
            reason=reason,
            reject_reason=reason,
            broker_order_id=answer.broker_order_id,
        )
        await self._identifier.legs(child, answer)

    async def _resolve(self, child: Order) -> None:
        """Find out what became of an amendment whose answer was lost. It is not sent again: a
        price that was right then need not be so now."""
        found = await self._lookups.prove(child)
        child = await self._lifecycle.find(child.id)
        if child.status is not OrderStatus.OUTCOME_UNKNOWN:
            return  # the stream knew it first
        assert child.replaces_id is not None
        old = await self._lifecycle.find(child.replaces_id)
        if found is None and old.broker_order_id is not None:
            # The old order is the witness: who took its place?
            seen = await self._broker.order(old.broker_order_id)
            if seen is not None and seen.replaced_by is not None:
                successor = await self._broker.order(seen.replaced_by)
                if successor is not None and successor.client_order_id == child.client_order_id:
                    found = successor
        if found is not None:
            await self._acknowledge(child, found)
            return
        reason = str(Refusal(logic.NEVER_ARRIVED, {"attempts": "1"}))
        await self._lifecycle.happen(
            child.id, OrderEvent.GIVE_UP, reason=reason, reject_reason=reason
        )

    def _blocked(self, child: Order) -> Refusal | None:
        reasons = self._blocks.reasons(child.symbol)
        if not (child.adds_risk and reasons):
            return None
        return Refusal(logic.SYMBOL_BLOCKED, {"by": ", ".join(sorted(reasons))})

    async def _deny(self, child: Order, refusal: Refusal) -> None:
        _log.warning("amendment_denied", order=str(child.id), reason=str(refusal))
        await self._lifecycle.happen(
            child.id, OrderEvent.DENY, reason=str(refusal), reject_reason=str(refusal)
        )

    # Heard ------------------------------------------------------------------------------------

    async def _hear(self, before: Order, after: Order) -> None:
        """Follow what an amendment or its forerunner comes to."""
        if after.replaces_id is not None and after.status in _REFUSED:
            await self._reopen(after.replaces_id, f"amendment {after.id} is {after.status}")
        if after.status is OrderStatus.REPLACED and before.status is not OrderStatus.REPLACED:
            await self._hand_over(before, after)

    async def _reopen(self, order_id: OrderId, why: str) -> None:
        old = await self._lifecycle.find(order_id)
        if old.status is OrderStatus.PENDING_REPLACE and self._desk.heir_of(old.id) is None:
            await self._lifecycle.happen(old.id, OrderEvent.REPLACE_REFUSED, reason=why)

    async def _hand_over(self, before: Order, old: Order) -> None:
        """Give the heir the legs of its forerunner, and the cancel that was wished for it."""
        heir = self._desk.heir_of(old.id)
        if heir is None:
            return
        for leg in self._desk.open_orders():
            if leg.parent_id == old.id and leg.id != heir.id:
                await self._lifecycle.happen(
                    leg.id,
                    OrderEvent.UNRECOGNISED,
                    reason=f"leg of {heir.id}, which replaced {old.id}",
                    parent_id=heir.id,
                )
        if before.status is OrderStatus.PENDING_CANCEL:
            self._tasks.spawn(f"cancel {heir.id}", partial(self._cancel_heir, heir.id))

    async def _cancel_heir(self, heir_id: OrderId) -> None:
        async for _ in pauses(0.05, 1.0):
            heir = await self._lifecycle.find(heir_id)
            if heir.status.is_terminal or heir.status is OrderStatus.PENDING_CANCEL:
                return
            if heir.status not in {OrderStatus.SUBMITTING, OrderStatus.OUTCOME_UNKNOWN}:
                try:
                    await self._cancels.cancel(
                        heir_id, "a cancel was asked for before its replacement"
                    )
                except ConflictError as error:
                    _log.info("heir_moved_on", order=str(heir_id), error=str(error))
                    continue  # it ended, or is being amended, since we looked
                return

    async def repair(self, older_than: dt.datetime) -> None:
        """Set free what waits for a replacement that nobody is making: its amendment ended and
        the end of the wait was not written."""
        for old in self._desk.open_orders():
            waits = old.status is OrderStatus.PENDING_REPLACE and old.broker_order_id is not None
            if not waits or self._desk.heir_of(old.id) is not None:
                continue
            if (old.updated_at or old.created_at) > older_than:
                continue
            assert old.broker_order_id is not None
            found = await self._broker.order(old.broker_order_id)
            if found is None or found.event is OrderEvent.PENDING_REPLACE:
                continue
            ended = found.event in {OrderEvent.REPLACED, OrderEvent.FILLED, OrderEvent.CANCELED}
            if not ended:
                await self._reopen(old.id, "no replacement is under way")


def _excess(whole: Transfer | None, old: Order) -> Transfer | None:
    """Return the hold for what an amendment needs beyond what its forerunner holds."""
    if whole is None:
        return None
    more = whole.amount - (old.hold_amount or ZERO)
    return replace(whole, amount=more) if more > 0 else None
