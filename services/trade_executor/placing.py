"""A person's order: judged by the risk manager, then on the same way as every other."""

from __future__ import annotations

from uuid import UUID

from libs.common.contracts.messages import OrderSpec
from libs.common.contracts.risk_api import OrderFields
from libs.common.domain.vocabulary import Verdict
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, Refusal, UnavailableError
from libs.common.kernel.ids import OrderId, client_order_id, derived_id
from services.trade_executor import logic
from services.trade_executor.model import Order
from services.trade_executor.ports import Books, RiskDesk
from services.trade_executor.submission import Submission


def spec_of(fields: OrderFields) -> OrderSpec:
    """Return what is asked for, in the words of the contract."""
    stop_loss, take_profit = fields.stop_loss, fields.take_profit
    return OrderSpec(
        symbol=fields.symbol,
        side=fields.side,
        order_type=fields.order_type,
        time_in_force=fields.time_in_force,
        order_class=fields.order_class,
        quantity=fields.quantity,
        notional=fields.notional,
        limit_price=fields.limit_price,
        stop_price=fields.stop_price,
        trail_price=fields.trail_price,
        trail_percent=fields.trail_percent,
        extended_hours=fields.extended_hours,
        take_profit_limit_price=take_profit.limit_price if take_profit else None,
        stop_loss_stop_price=stop_loss.stop_price if stop_loss else None,
        stop_loss_limit_price=stop_loss.limit_price if stop_loss else None,
    )


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
        spec = spec_of(fields)
        known = await self._books.order(order_id)
        if known is not None:
            return _same(known, spec, key)
        try:
            reply = await self._risk.assess(order_id, fields, correlation_id=correlation_id)
        except UnavailableError as error:
            refusal = Refusal(logic.RISK_UNAVAILABLE, {"why": str(error)})
            return await self._deny(order_id, spec, refusal, key, correlation_id)
        if reply.verdict is not Verdict.APPROVED or reply.order is None:
            refusal = Refusal(reply.code, {"why": reply.detail})
            return await self._deny(order_id, spec, refusal, key, correlation_id)
        return await self._submission.take(
            reply.order, correlation_id=correlation_id, idempotency_key=key
        )

    async def _deny(
        self, order_id: OrderId, spec: OrderSpec, refusal: Refusal, key: str, correlation_id: UUID
    ) -> Order:
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
        )
        return await self._submission.record_denied(order, refusal)


def _same(known: Order, spec: OrderSpec, key: str) -> Order:
    """Return the order of a key used again, for the same wish only.

    The judged quantity may be smaller than the wished one, so sizes are not compared for
    approved orders beyond which of both was given.
    """
    ours = known.spec
    same = (ours.symbol, ours.side, ours.order_type, ours.limit_price, ours.stop_price) == (
        spec.symbol, spec.side, spec.order_type, spec.limit_price, spec.stop_price,
    )  # fmt: skip
    if not same:
        raise ConflictError(f"Idempotency-Key {key!r} was used for another order, {known.id}")
    return known
