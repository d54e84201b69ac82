"""What callers send to the risk manager over HTTP, and what they get back.

Requests are pydantic models, so a malformed body lists every bad field. The reply is a
msgspec struct that carries the very `ApprovedOrder` and `RiskAssessment` messages which
travel on the log channels: a caller that gets a reply joins the path of a signal.
Decode a reply with `decode_reply(body)`.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self
from uuid import UUID

import msgspec
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from libs.common.contracts.messages import ApprovedOrder, OrderSpec, RiskAssessment
from libs.common.domain.vocabulary import (
    OrderClass,
    OrderType,
    Side,
    TimeInForce,
    TradingState,
    Verdict,
)


def _written_plainly(value: object) -> object:
    """Refuse 1_000 and other scripts' digits, which Decimal() would take."""
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError("not a decimal number")
    return value


written_plainly = BeforeValidator(_written_plainly)

Amount = Annotated[Decimal, Field(gt=0, max_digits=20, decimal_places=8), written_plainly]
"""A positive finite quantity, price or money amount; a string in JSON."""

Cents = Annotated[Decimal, Field(ge=1, max_digits=18, decimal_places=2), written_plainly]
"""An amount of money to trade for: at least 1, in whole cents."""

Name = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/\-]*$")
]
"""A symbol, strategy or account as we write it."""

RESTING = frozenset({TimeInForce.DAY, TimeInForce.GTC})
PRICED_BY_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
PRICED_BY_STOP = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TakeProfitFields(_Request):
    """The profit-taking leg of a bracket, OCO or OTO."""

    limit_price: Amount


class StopLossFields(_Request):
    """The loss-stopping leg of a bracket, OCO or OTO; with a limit it is a stop-limit."""

    stop_price: Amount
    limit_price: Amount | None = None


class OrderFields(_Request):
    """An order as a person, a webhook or an algorithm asks for it: exactly one of
    `quantity` and `notional`, and the prices that its type needs."""

    symbol: Name
    side: Side
    order_type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce = TimeInForce.DAY
    quantity: Amount | None = None
    notional: Cents | None = None
    limit_price: Amount | None = None
    stop_price: Amount | None = None
    trail_price: Amount | None = None
    trail_percent: (
        Annotated[Decimal, Field(gt=0, lt=100, decimal_places=4), written_plainly] | None
    ) = None
    extended_hours: bool = False
    order_class: OrderClass = OrderClass.SIMPLE
    take_profit: TakeProfitFields | None = None
    stop_loss: StopLossFields | None = None

    @model_validator(mode="after")
    def _one_size_and_its_prices(self) -> Self:
        if (self.quantity is None) == (self.notional is None):
            raise ValueError("exactly one of quantity and notional is needed")
        kind = self.order_type
        exits_only = self.order_class is OrderClass.OCO
        if (self.limit_price is not None) != (kind in PRICED_BY_LIMIT) and not exits_only:
            raise ValueError(f"limit_price does not fit order_type {kind.value}")
        if (self.stop_price is not None) != (kind in PRICED_BY_STOP):
            raise ValueError(f"stop_price does not fit order_type {kind.value}")
        trails = (self.trail_price is not None) + (self.trail_percent is not None)
        if trails != (1 if kind is OrderType.TRAILING_STOP else 0):
            raise ValueError(
                f"trail_price or trail_percent (one of them) does not fit order_type {kind.value}"
            )
        return self

    @model_validator(mode="after")
    def _time_of_its_type(self) -> Self:
        kind, tif = self.order_type, self.time_in_force
        plain_type = kind in {OrderType.MARKET, OrderType.LIMIT}
        if self.extended_hours and (kind is not OrderType.LIMIT or tif not in RESTING):
            raise ValueError("extended_hours is for limit orders with time_in_force day or gtc")
        if tif not in RESTING and not plain_type:
            raise ValueError(f"time_in_force {tif.value} does not fit order_type {kind.value}")
        if self.order_class is not OrderClass.SIMPLE:
            if tif not in RESTING:
                raise ValueError(f"time_in_force {tif.value} does not fit {self.order_class.value}")
            if self.extended_hours:
                raise ValueError(f"extended_hours does not fit order_class {self.order_class}")
        if self.order_class is OrderClass.OCO and kind is not OrderType.LIMIT:
            raise ValueError("order_type of an oco order is limit: its take_profit's")
        profit = None if self.take_profit is None else self.take_profit.limit_price
        if self.order_class is OrderClass.OCO and self.limit_price not in {None, profit}:
            raise ValueError("limit_price does not fit order_class oco: it is take_profit's")
        return self

    @model_validator(mode="after")
    def _legs_of_its_class(self) -> Self:
        legs = (self.take_profit is not None) + (self.stop_loss is not None)
        wanted = {OrderClass.SIMPLE: 0, OrderClass.OTO: 1, OrderClass.OCO: 2, OrderClass.BRACKET: 2}
        if legs != wanted[self.order_class]:
            raise ValueError(
                f"order_class {self.order_class.value} takes {wanted[self.order_class]} of "
                f"take_profit and stop_loss, got {legs}"
            )
        return self

    def to_spec(self) -> OrderSpec:
        """The same order as it travels on the channels."""
        profit, loss = self.take_profit, self.stop_loss
        return OrderSpec(
            symbol=self.symbol,
            side=self.side,
            order_type=self.order_type,
            time_in_force=self.time_in_force,
            order_class=self.order_class,
            quantity=self.quantity,
            notional=self.notional,
            limit_price=self.limit_price,
            stop_price=self.stop_price,
            trail_price=self.trail_price,
            trail_percent=self.trail_percent,
            extended_hours=self.extended_hours,
            take_profit_limit_price=profit.limit_price if profit else None,
            stop_loss_stop_price=loss.stop_price if loss else None,
            stop_loss_limit_price=loss.limit_price if loss else None,
        )


CLOSING = "closing"
"""The `source` of an order that closes a position. Whoever asks has cancelled what was open in its
symbol, and asks for no more than is held: it is judged against the position alone, and passes a
halt if it only reduces that."""


class AssessmentRequest(_Request):
    """Ask for a binding judgement: an approval reserves its headroom until `expires_at`
    of the reply. `request_id` is the caller's order id; the same id gives the same verdict.
    `replaces` is the order that this one amends: `order` is then what would be left to trade, and
    is judged as if that order were not there. `deadline` is wall time; a judgement that cannot be
    given before it is refused."""

    request_id: UUID
    account_id: Name
    order: OrderFields
    source: Annotated[str, Field(min_length=1, max_length=64)] = "manual"
    strategy_id: Name | None = None
    signal_id: UUID | None = None
    replaces: UUID | None = None
    correlation_id: UUID | None = None
    deadline: AwareDatetime


class PreviewRequest(_Request):
    """Ask what the judgement would be; nothing is reserved or stored."""

    account_id: Name
    order: OrderFields
    strategy_id: Name | None = None


class AssessmentReply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to both requests: `order` is there if and only if the verdict is approved
    (always absent in a preview). `replayed` tells that the request id was judged before."""

    verdict: Verdict
    code: str
    detail: str
    assessment: RiskAssessment
    order: ApprovedOrder | None = None
    replayed: bool = False


class RiskState(msgspec.Struct, frozen=True, kw_only=True):
    """The kill switch of one account as `GET /api/v1/risk/state` shows it."""

    account_id: str
    state: TradingState
    generation: int
    reason: str
    set_by: str
    set_at: datetime
    flatten: bool = False


_REPLIES = msgspec.json.Decoder(AssessmentReply)


def decode_reply(body: bytes) -> AssessmentReply:
    """The reply in a response body of status 200; raises `msgspec.ValidationError` else."""
    return _REPLIES.decode(body)
