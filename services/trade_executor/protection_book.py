"""What looking after protections needs of their table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from services.trade_executor.model import Order
from services.trade_executor.protection_store import Protection, SplitSince


class ProtectionBook(Protocol):
    """Protections, durable, and the orders that belong to them."""

    async def add(self, one: Protection) -> bool:
        """Write a protection; False if it is there."""
        ...

    async def open(self) -> list[Protection]:
        """Return what is to be guarded, oldest first."""
        ...

    async def lately_ended(self, span: dt.timedelta) -> list[Protection]:
        """Return what was ended within `span`."""
        ...

    async def unguarded_entries(self, span: dt.timedelta) -> list[Order]:
        """Return entries with a stop that have traded within `span` and have no protection."""
        ...

    async def exits(self, one: Protection) -> list[Order]:
        """Return every exit of a protection, oldest first."""
        ...

    async def withdrawn(self, exits: Sequence[Order]) -> bool:
        """Tell whether a person has cancelled one of these exits."""
        ...

    async def corporate_end(self, one: Protection, exits: Sequence[Order]) -> bool:
        """Tell whether the venue ended one of those that have the present terms for a corporate
        action."""
        ...

    async def split_since(self, one: Protection) -> SplitSince | None:
        """Return what splits have made of the position since the protection's prices were set."""
        ...

    async def restated_since(self, one: Protection, order: Order) -> frozenset[str]:
        """Return the terms of an exit that the venue has changed since the protection's were."""
        ...

    async def advance(self, one: Protection) -> int:
        """Return the number of the next exit, durably counted."""
        ...

    async def reprice(
        self,
        one: Protection,
        stop_price: Decimal,
        quantity: Decimal | None,
        take_profit_price: Decimal | None,
        *,
        terms_at: dt.datetime | None = None,
        priced_at: dt.datetime | None = None,
    ) -> Protection:
        """Write what is to be guarded from then on, by the market's time `priced_at`; from now on
        where they are None. Return it."""
        ...

    async def end(self, one: Protection, reason: str) -> None:
        """End a protection."""
        ...
