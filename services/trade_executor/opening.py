"""The broker's account as it is looked at before our books begin with it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Reversal
from libs.common.kernel.errors import NotFoundError
from libs.common.kernel.ids import BrokerOrderId
from libs.common.kernel.money import ZERO, plain
from services.trade_executor.model import BrokerOrder, BrokerPosition
from services.trade_executor.ports import Books, Broker, Opening
from services.trade_executor.tie_out import standing

# Lists begin after the moment that is named; an order may trade in the very moment it is taken.
_BEFORE = dt.timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class SeenAccount:
    """The account at one look."""

    executions: tuple[Execution, ...]
    reversals: tuple[Reversal, ...]
    activities: tuple[Activity, ...]
    cash: Decimal
    positions: tuple[BrokerPosition, ...]
    open_orders: tuple[BrokerOrderId, ...]

    @property
    def in_use(self) -> bool:
        """Whether somebody trades or has traded here, so that lists may lag behind balances."""
        return bool(self.executions or self.activities or self.positions or self.open_orders)

    @property
    def last(self) -> dt.datetime | None:
        """The last that befell an execution: it traded, was taken back or corrected."""
        traded = [one.executed_at for one in self.executions]
        return max([*traded, *(one.reversed_at for one in self.reversals)], default=None)

    def shown(self) -> dict[str, Any]:
        """Return what the opening balance holds, for the record."""
        return {
            "cash": plain(self.cash),
            "positions": len(self.positions),
            "activities": [one.id for one in self.activities],
        }


async def account_seen(broker: Broker, since: dt.datetime) -> SeenAccount:
    """Look at the account, its lists from `since` (market time) on."""
    return SeenAccount(
        tuple(await broker.executions_since(since)),
        tuple(await broker.reversals_since(since)),
        tuple(await broker.cash_activities_since(since)),
        await broker.cash(),
        tuple(await broker.positions()),
        tuple(one.broker_order_id for one in await broker.open_orders()),
    )


async def traded_before_us(
    books: Books, broker: Broker, found: BrokerOrder
) -> tuple[Decimal, Decimal]:
    """Return the quantity and value of an order that the opening balance holds already: they are
    never booked, yet without them the order would never be complete."""
    opening, submitted = await books.opening(), found.submitted_at
    if opening is None or submitted is None or submitted >= opening.at:
        return ZERO, ZERO
    executed = await broker.executions_since(submitted - _BEFORE)
    reversals = await broker.reversals_since(submitted - _BEFORE)
    held = standing(
        [
            one
            for one in executed
            if one.broker_order_id == found.broker_order_id and one.executed_at < opening.at
        ],
        [
            one
            for one in reversals
            if one.broker_order_id == found.broker_order_id and one.reversed_at < opening.at
        ],
    )
    return sum((one.quantity for one in held), ZERO), sum((one.amount for one in held), ZERO)


async def held_before_us(
    broker: Broker, found: BrokerOrder, reversal: Reversal, opening: Opening | None
) -> Execution | None:
    """Return the execution that `reversal` takes back where the opening balance holds it, None
    where it does not. Raises NotFoundError where the broker does not list it, so that nobody can
    tell."""
    submitted = found.submitted_at
    if opening is None or submitted is None or submitted >= opening.at:
        return None
    told = {one.execution_id: (one, one.executed_at)
            for one in await broker.executions_since(submitted - _BEFORE)}  # fmt: skip
    for one in await broker.reversals_since(submitted - _BEFORE):
        if one.replacement is not None:
            told[one.replacement.execution_id] = one.replacement, one.reversed_at
    if reversal.original not in told:
        raise NotFoundError(f"the broker does not list execution {reversal.original}")
    execution, counted_from = told[reversal.original]
    return execution if counted_from < opening.at else None
