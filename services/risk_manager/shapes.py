"""What the risk manager's routes answer with, as OpenAPI tells it."""

from __future__ import annotations

import datetime as dt
from typing import TypedDict
from uuid import UUID

from libs.common.domain.vocabulary import Side
from services.risk_manager.limits import Scope


class LimitShape(TypedDict):
    """A limit with its meaning."""

    scope: Scope
    scope_key: str
    name: str
    value: str
    meaning: str
    set_by: str
    set_at: dt.datetime


class LimitSetShape(TypedDict):
    """A limit that was set, with its value before; null is no limit."""

    scope: Scope
    scope_key: str
    name: str
    old_value: str | None
    value: str | None
    set_by: str
    set_at: dt.datetime


class LimitChangeShape(TypedDict):
    """A change of a limit."""

    id: int
    scope: Scope
    scope_key: str
    name: str
    old_value: str | None
    new_value: str | None
    set_by: str
    reason: str
    set_at: dt.datetime


class HeldShape(TypedDict):
    """A position of the book."""

    symbol: str
    quantity: str


class PendingShape(TypedDict):
    """An order that may still trade."""

    order_id: UUID
    symbol: str
    side: Side
    remaining: str
    held: str
    reserved: bool


class ExposureShape(TypedDict):
    """The book that judgements are made from."""

    account_id: str
    cash: str
    equity: str
    gross: str
    net: str
    held: str
    loss_today: str | None
    drawdown: str | None
    complete: bool
    reservations: int
    positions: list[HeldShape]
    pending: list[PendingShape]
