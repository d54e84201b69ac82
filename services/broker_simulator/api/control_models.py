"""The bodies that `/sim/…` takes."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SIZE_MAX = 2**31 - 1


class ClockChange(BaseModel):
    """A step (`step_s` market seconds, or `to` a time, `next_open` or `next_close`), a factor."""

    model_config = ConfigDict(extra="forbid")

    step_s: Annotated[float | None, Field(ge=0, le=400 * 86_400)] = None
    to: str | None = None
    factor: Annotated[float | None, Field(ge=0, lt=1e7)] = None


class QuoteIn(BaseModel):
    """A best bid and offer that happens now."""

    model_config = ConfigDict(extra="forbid")

    symbol: str
    bid: Annotated[Decimal, Field(gt=0, lt=10**9)]
    ask: Annotated[Decimal, Field(gt=0, lt=10**9)]
    bid_size: Annotated[int, Field(ge=0, le=SIZE_MAX)] = 100_000
    ask_size: Annotated[int, Field(ge=0, le=SIZE_MAX)] = 100_000


class TradeIn(BaseModel):
    """A print that happens now, or, with `ts` in the past, arrives late."""

    model_config = ConfigDict(extra="forbid")

    symbol: str
    price: Annotated[Decimal, Field(gt=0, lt=10**9)]
    size: Annotated[int, Field(ge=1, le=SIZE_MAX)] = 100
    ts: str | None = None


class JumpIn(BaseModel):
    """A price that leaps: quote and print, `percent` away from where they are."""

    model_config = ConfigDict(extra="forbid")

    symbol: str
    percent: Annotated[Decimal, Field(gt=-100, le=1000)]


class HaltIn(BaseModel):
    """A halt or a resumption; with `suspend_orders` live orders become `suspended` meanwhile."""

    model_config = ConfigDict(extra="forbid")

    symbol: str
    halted: bool
    reason: str = ""
    suspend_orders: bool = False


class ActionIn(BaseModel):
    """A corporate action that takes effect now: `ratio` new shares for one, or cash a share.

    A split pays fractions out with `cash_in_lieu` (as a rule when `ratio` is below 1), and ends
    resting orders with `cancel_orders`, in place of restating them.
    """

    model_config = ConfigDict(extra="forbid")

    symbol: str
    kind: Literal["split", "dividend"]
    ratio: Annotated[Decimal | None, Field(gt=0, le=1000)] = None
    cash: Annotated[Decimal | None, Field(gt=0, le=10**6)] = None
    cash_in_lieu: bool | None = None
    cancel_orders: bool = False


class MarketChange(BaseModel):
    """What shall happen in the market, in this order: quotes, trades, jumps, halts, actions."""

    model_config = ConfigDict(extra="forbid")

    quotes: list[QuoteIn] = []
    trades: list[TradeIn] = []
    jumps: list[JumpIn] = []
    halts: list[HaltIn] = []
    actions: list[ActionIn] = []


class NewAccount(BaseModel):
    """A further account."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(min_length=1, max_length=128)]
    secret: Annotated[str, Field(min_length=1, max_length=128)]
    cash: Annotated[Decimal, Field(ge=0, lt=10**12)] = Decimal(1_000_000)
    multiplier: Annotated[Decimal, Field(ge=1, le=4)] = Decimal(2)
