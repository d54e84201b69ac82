"""A person's order: judged by the risk manager, then on the same way as every other."""

from __future__ import annotations

from uuid import UUID

from msgspec import structs

from libs.common.contracts.messages import OrderSpec
from libs.common.contracts.risk_api import OrderFields
from libs.common.domain.vocabulary import Verdict
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, Refusal, UnavailableError
from libs.common.kernel.ids import OrderId, client_order_id, derived_id
from services.trade_executor import logic
from services.trade_executor.model import Order
from services.trade_executor.ports import Books, RiskDesk
from services.trade_executor.requests import Request, request_of, require_same
from services.trade_executor.submission import Submission


class Placing:
    """Takes orders over HTTP."""

    def __init__(
        self, books: Books, risk: RiskDesk, submission: Submission, clock: Clock, *,
        account_id: str, broker: str,
    ) -> None:  # fmt: skip
        self._books = books
        self._risk = risk
        self._submission = submission
        self._clock = clock
        self._account_id = account_id
        self._broker = broker

    async def place(self, fields: OrderFields, key: str, correlation_id: UUID) -> Order:
        """Return the one order that the idempotency key stands for.

        A denial is an order too, with status `denied` and the reason. Raises ConflictError if
        the key was used for another request, UnavailableError if the books cannot be reached.
        """
        order_id = OrderId(derived_id("manual_order", self._account_id, key))
        request = request_of("place", fields)
        order = await self._books.order(order_id)
        if order is None:
            order = await self._judge(order_id, fields, key, request, correlation_id)
        # Also of an order just made: two requests may have come at the same time.
        require_same(key, order.request, request, f"order {order.id}")
        return order

    async def trigger(
        self, order_id: OrderId, fields: OrderFields, request: Request, correlation_id: UUID
    ) -> Order:
        """Return the order that a trigger sends. Raises UnavailableError where it could not be
        judged: it is to be asked for again while its price is fresh."""
        return await self._judge(order_id, fields, None, request, correlation_id, patient=True)

    async def _judge(
        self,
        order_id: OrderId,
        fields: OrderFields,
        key: str | None,
        request: Request,
        correlation_id: UUID,
        *,
        patient: bool = False,
    ) -> Order:
        spec = fields.to_spec()
        try:
            reply = await self._risk.assess(order_id, fields, correlation_id=correlation_id)
        except UnavailableError as error:
            if patient:
                raise
            refusal = Refusal(logic.RISK_UNAVAILABLE, {"why": str(error)})
        else:
            if reply.verdict is Verdict.APPROVED and reply.order is not None:
                if not _answers(reply.order.spec, spec):
                    raise ConflictError(
                        f"Idempotency-Key {key!r} was used for another request, which was judged "
                        "and did not become an order"
                    )
                return await self._submission.take(
                    reply.order, correlation_id=correlation_id, idempotency_key=key, request=request
                )
            refusal = Refusal(reply.code, {"why": reply.detail})
        order = Order(
            id=order_id,
            client_order_id=client_order_id(order_id, 1),
            broker=self._broker,
            account_id=self._account_id,
            spec=spec,
            correlation_id=correlation_id,
            created_at=self._clock.now(),
            request_id=order_id,
            idempotency_key=key,
            request=request,
        )
        return await self._submission.record_denied(order, refusal)


def _answers(approved: OrderSpec, asked: OrderSpec) -> bool:
    """Tell whether an approval is of this very request: an amount of money may have become a
    quantity, all else is as it was asked."""
    if asked.notional is not None and approved.notional is None:
        asked = structs.replace(asked, notional=None, quantity=approved.quantity)
    return approved == asked
